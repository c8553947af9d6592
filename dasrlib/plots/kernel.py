"""The kernel in pictures: memory, passes over it, tiles, and the roof over all of them (§3.2.2)."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dasrlib.plots import bench
from dasrlib.plots.panels import number_axes, signed
from dasrlib.plots.style import PALETTE, image_axes, leave_room

READ, WRITTEN = PALETTE[0], PALETTE[4]


class Pass(NamedTuple):
    """What one pass over memory moves, in bytes, and the operations it makes of it."""

    name: str
    read: float
    written: float
    flops: float = 0.0

    @property
    def bytes(self) -> float:
        """Read and written together."""
        return self.read + self.written


def source(module: str, name: str) -> str:
    """The lines of a function of dasrlib.grouped_conv, as inspect.getsource gives them: but from
    the file, so that a GPU kernel can be read where Triton is missing and its module cannot be
    imported. Raises ValueError where there is no such module or function."""
    spec = importlib.util.find_spec(f"dasrlib.grouped_conv.{module}")
    if spec is None or spec.origin is None:
        raise ValueError(f"dasrlib.grouped_conv has no module {module!r}")
    text = Path(spec.origin).read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno]) + "\n"
    raise ValueError(f"dasrlib.grouped_conv.{module} has no function {name!r}")


def kernel_per_picture(pictures: Tensor, kernels: Tensor, out: Tensor) -> Figure:
    """Pictures (B, H, W) above, each one's own kernel (B, k, k) below it, the results last."""
    count = len(pictures)
    figure, axes = plt.subplots(
        3, count, figsize=(2.1 * count, 5.4), squeeze=False, height_ratios=[1, 0.8, 1]
    )
    for i, (top, middle, bottom) in enumerate(axes.T):
        image_axes(top, pictures[i], f"sample {i}")
        number_axes(middle, kernels[i], colour=PALETTE[i])
        image_axes(bottom, out[i])
    for ax, name in zip(axes[:, 0], ("x", "its own kernel", "out"), strict=True):
        ax.set_ylabel(name)
    return figure


def memory_hierarchy() -> Figure:
    """A chip and its memory: arithmetic is fast, memory is slow."""
    figure, ax = plt.subplots(figsize=(8, 2.4))
    places = (
        (0.0, 1.5, "arithmetic\nunits", PALETTE[2]),
        (3.0, 1.7, "cache\na few MB", PALETTE[5]),
        (6.3, 2.6, "memory\na thousand times\nas much", "0.85"),
    )
    for x, width, text, colour in places:
        ax.add_patch(Rectangle((x, 0), width, 1.6, facecolor=colour, alpha=0.55, edgecolor="0.3"))
        ax.text(x + width / 2, 0.8, text, ha="center", va="center")
    for x, end, width, text in ((1.5, 3.0, 5, "fast"), (4.7, 6.3, 1.3, "the bus:\nslow")):
        arrow = {"arrowstyle": "<->", "lw": width, "color": "0.3", "shrinkA": 2, "shrinkB": 2}
        ax.annotate("", (end, 0.55), (x, 0.55), arrowprops=arrow)
        ax.text(x + 0.78, 0.85, text, ha="center", va="bottom", fontsize=9)
    ax.add_patch(Rectangle((-0.25, -0.25), 5.2, 2.1, fill=False, edgecolor="0.3", linestyle="--"))
    ax.text(2.35, 1.95, "the chip", ha="center", fontsize=9)
    ax.set(xlim=(-0.4, 9.1), ylim=(-0.4, 2.3))
    ax.set_axis_off()
    return figure


def copy_bandwidth(sizes: Sequence[int], speeds: Sequence[float], name: str) -> Figure:
    """Copying arrays of `sizes` bytes on the machine `name`: bytes a second."""
    figure, ax = plt.subplots(figsize=(6.5, 2.8))
    ax.plot(sizes, [speed / 1e9 for speed in speeds], marker="o")
    ax.set(xlabel="size of the array", ylabel="GB/s, read + written", title=name)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", subs=(1, 2, 5))
    ax.xaxis.set_major_formatter(
        lambda x, _: f"{x / 2**10:g} KiB" if x < 2**20 else f"{x / 2**20:g} MiB"
    )
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(alpha=0.25, lw=0.5)
    return figure


def _blank_axes(ax: Axes, title: str = "") -> None:
    ax.set_title(title, fontsize=10)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def reads_per_pixel(counts: Tensor) -> Figure:
    """Three of the windows over one pixel, beside how many windows read each pixel (H, W)."""
    h, w = counts.shape
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.3))
    for ax, shown, title in (
        (left, torch.zeros(h, w), "three of the nine windows over one pixel"),
        (right, counts, "how many windows read each pixel"),
    ):
        edges = {"edgecolors": "0.75", "lw": 0.6}
        ax.pcolormesh(shown.numpy(), cmap="Blues", vmin=0, vmax=2 * float(counts.max()), **edges)
        ax.set(aspect="equal", ylim=(h, 0))
        _blank_axes(ax, title)
    row, column = h // 2, w // 2
    left.plot(column + 0.5, row + 0.5, "s", color="black", ms=12)
    for i, shift in enumerate((-1, 0, 1)):
        corner = (column + shift * 1.06 - 1, row + shift * 1.06 - 1)
        for look in ({"alpha": 0.18}, {"fill": False, "lw": 2}):
            left.add_patch(Rectangle(corner, 3, 3, color=PALETTE[i], **look))
    for y, x in np.ndindex(h, w):
        right.text(x + 0.5, y + 0.5, f"{int(counts[y, x])}", ha="center", va="center", fontsize=9)
    return figure


def _bars_axes(
    ax: Axes, series: Mapping[str, Mapping[str, float]], what: str, stacked: bool = False
) -> None:
    names = list(next(iter(series.values())))
    places, left = np.arange(len(names)), np.zeros(len(names))
    height = 0.8 if stacked else 0.8 / len(series)
    colours = (PALETTE[0],) if len(series) == 1 else (PALETTE[5], PALETTE[1], "0.35")
    for i, (label, values) in enumerate(series.items()):
        lengths = np.array([values[name] for name in names])
        rows = places if stacked else places + height * (i - (len(series) - 1) / 2)
        drawn = ax.barh(rows, lengths, 0.92 * height, left, color=colours[i], label=label)
        texts = [f"{x:,.0f}" if x >= 100 else f"{x:.3g}" for x in lengths]
        ax.bar_label(
            drawn, texts, padding=3, fontsize=8, label_type="center" if stacked else "edge"
        )
        left = left + lengths if stacked else left
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.set_xlabel(what)
    if len(series) > 1:
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def bars(values: Mapping[str, float], what: str, log: bool = False) -> Figure:
    """Numbers of something, by label, as bars; log: on a logarithmic axis."""
    figure, ax = plt.subplots(figsize=(8, 0.42 * len(values) + 0.9))
    if log:
        ax.set_xscale("log")
    _bars_axes(ax, {"": values}, what)
    return figure


def grouped_bars(
    series: Mapping[str, Mapping[str, float]], what: str, stacked: bool = False
) -> Figure:
    """Several numbers for each name, by series: bars below each other, or end to end."""
    count = len(next(iter(series.values())))
    figure, ax = plt.subplots(figsize=(8.5, 0.62 * count + 0.9))
    _bars_axes(ax, series, what, stacked)
    return figure


def roofline_of_passes(passes: Sequence[Pass], copy: float, product: float) -> Figure:
    """Each pass under the roof that a machine's peaks make: the speed that it cannot exceed.

    copy: bytes a second. product: flop a second. Nothing of the passes is measured here.
    """
    points = {p.name: p.flops / p.bytes for p in passes}
    ridge = product / copy
    low, high = min(points.values()) / 2.5, max(*points.values(), ridge) * 4
    bottom, top = copy * min(points.values()) / 3, product * 5
    figure, ax = plt.subplots(figsize=(8, 3.7))
    bench.roof_axes(ax, copy, product, (low, high))
    ax.axvspan(low, ridge, alpha=0.07)
    ax.axvspan(ridge, high, alpha=0.07, color=PALETTE[1])
    ax.plot(ridge, product, "o", color="0.25", ms=5)
    note: dict[str, Any] = {
        "xytext": (0, 6),
        "textcoords": "offset points",
        "ha": "center",
        "fontsize": 8,
    }
    ax.annotate(f"ridge point\n{ridge:.3g} flop per byte", (ridge, product), **note)
    for i, (name, x) in enumerate(points.items()):
        y, colour = min(copy * x, product), PALETTE[i % 6]
        ax.plot([x, x], [bottom, y], color=colour, lw=1, linestyle=":")
        ax.plot(x, y, "o", color=colour, label=f"{name}: {x:.3g}")
    ax.set(ylim=(bottom, top), xlabel="arithmetic intensity, flop per byte")
    ax.set_ylabel("flop per second, at most")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    inside: dict[str, Any] = {"transform": ax.transAxes, "va": "top"}
    ax.text(0.02, 0.95, "bound by memory", color=PALETTE[0], **inside)
    ax.text(0.98, 0.2, "bound by\narithmetic", color=PALETTE[1], ha="right", **inside)
    return figure


def _passes_axes(ax: Axes, ways: Mapping[str, Sequence[Pass]], scale: float, unit: str) -> None:
    for row, way in enumerate(ways.values()):
        left = 0.0
        for p in way:
            for moved, colour in ((p.read, READ), (p.written, WRITTEN)):
                ax.barh(row, moved / scale, left=left, height=0.5, color=colour)
                left += moved / scale
            ax.plot([left, left], [row - 0.3, row + 0.3], color="white", lw=3)
            middle = left - p.bytes / scale / 2
            ax.text(middle, row - 0.29, p.name, ha="center", va="bottom", fontsize=8)
        ax.text(left, row, f" {left:.3g} {unit}", va="center", fontsize=9)
    ax.set_yticks(range(len(ways)), list(ways))
    ax.set(ylim=(len(ways) - 0.6, -0.6), xlabel=f"{unit} across the memory bus")
    ax.margins(x=0.14)
    ax.set_xlim(left=0)
    for colour, name in ((READ, "read"), (WRITTEN, "written")):
        ax.barh(0, 0, color=colour, label=name)
    ax.legend(frameon=False, ncols=2, fontsize=8, loc="lower right")


def bytes_of_passes(ways: Mapping[str, Sequence[Pass]], scale: float, unit: str) -> Figure:
    """The passes of each way end to end, as long as the bytes they move, in `unit`s of `scale`
    bytes."""
    figure, ax = plt.subplots(figsize=(9, 1.05 * len(ways) + 1.1))
    _passes_axes(ax, ways, scale, unit)
    return figure


def tile_grid(h: int, w: int, height: int, width: int, chosen: int, halo: int = 1) -> Figure:
    """A map of h×w pixels cut into tiles, numbered as the programs are; one with its halo."""
    figure, ax = plt.subplots(figsize=(7.2, 7.2 * h / w * 0.75 + 0.6))
    corners = [(left, top) for top in range(0, h, height) for left in range(0, w, width)]
    for tile, (left, top) in enumerate(corners):
        box = (left, top), min(width, w - left), min(height, h - top)
        face, above = (PALETTE[5], 3) if tile == chosen else ("none", 1)
        ax.add_patch(Rectangle(*box, facecolor=face, edgecolor="0.4", lw=1, zorder=above))
        middle = left + box[1] / 2, top + box[2] / 2
        ax.text(*middle, str(tile), ha="center", va="center", zorder=4)
    left, top = corners[chosen]
    around = (left - halo, top - halo), width + 2 * halo, height + 2 * halo
    look: dict[str, Any] = {
        "facecolor": PALETTE[4],
        "alpha": 0.6,
        "edgecolor": PALETTE[1],
        "lw": 2,
        "zorder": 2,
    }
    ax.add_patch(Rectangle(*around, **look))
    ax.set(xlim=(-2, w + 2), ylim=(h + 2, -2), aspect="equal")
    ax.set(xlabel=f"{w} pixels", ylabel=f"{h} pixels")
    _blank_axes(ax)
    return figure


def program_of_pixel(owner: Tensor) -> Figure:
    """A map (H, W) of program numbers: each pixel in the colour of its program."""
    figure, ax = plt.subplots(figsize=(7.2, 7.2 * owner.shape[0] / owner.shape[1] * 0.8 + 0.4))
    shade = owner.long() * 5 % 12  # neighbours far apart on the colour scale
    ax.imshow(shade.numpy(), cmap="tab20", vmin=0, vmax=19, alpha=0.55)
    for program in owner.unique():
        y, x = (owner == program).nonzero().float().mean(dim=0).tolist()
        ax.text(x, y, f"program {int(program)}", ha="center", va="center", fontsize=9)
    _blank_axes(ax)
    return figure


def shifted_products(parts: Sequence[Tensor], taps: Sequence[float], total: Tensor) -> Figure:
    """The tiles (h, w) that a program loads for each tap of its kernel, and their weighted sum."""
    figure, axes = plt.subplots(1, len(parts) + 1, figsize=(13, 1.8))
    titles = [*(f"{tap:+.1f} ×" for tap in taps), "sum"]
    for ax, part, title in zip(axes, [*parts, total], titles, strict=True):
        image_axes(ax, part, title)
    return figure


def reference_and_fused(reference: Tensor, fused: Tensor) -> Figure:
    """A channel (H, W) of the reference's result, of the fused kernel's, and their difference."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.8))
    limit = float(reference.abs().max())
    error = fused - reference
    largest = max(float(error.abs().max()), 1e-12)
    image_axes(axes[0], signed(reference, limit), "reference")
    image_axes(axes[1], signed(fused, limit), "fused kernel")
    image_axes(axes[2], signed(error, largest), f"difference, full colour at ±{largest:.1e}")
    return figure


def least_times(data: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Bars for each pass, in ms: the least time of its bytes and of its operations, the measured.

    data: "names", and seconds "by_bytes", "by_flops" and "measured", a number for each name.
    """
    labels = {"by_bytes": "bytes / copy speed", "by_flops": "flops / matmul speed"}
    return {
        label: {name: 1000 * value for name, value in zip(data["names"], data[key], strict=True)}
        for key, label in {**labels, "measured": "measured"}.items()
    }


def bytes_moved(data: dict[str, Any]) -> Figure:
    """The bytes that fusing saves, counted, and each pass of the unfused way beside its least
    times.

    data: as of least_times, and "ways", by name a list of [pass, bytes read, bytes written];
    "device", "size" counted and "measured_size".
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4.2), width_ratios=[1.5, 1])
    ways = {name: [Pass(*row) for row in rows] for name, rows in data["ways"].items()}
    _passes_axes(left, ways, 2**20, "MiB")
    left.set_title(f"counted: one DA convolution of {data['size']} in float32", fontsize=10)
    _bars_axes(right, least_times(data), "ms")
    right.legend(frameon=False, fontsize=8)
    right.set_title(f"measured: {data['measured_size']}, {data['device']}", fontsize=10)
    return leave_room(figure)
