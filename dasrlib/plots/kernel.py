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


def own_kernels(pictures: Tensor, kernels: Tensor, out: Tensor) -> Figure:
    """Pictures (B, H, W) above, each one's own kernel (B, k, k) below it, what comes out last."""
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


def machine() -> Figure:
    """A chip and its memory: what computes is fast, what is far away is slow."""
    figure, ax = plt.subplots(figsize=(8, 2.4))
    places = (
        (0.0, 1.5, "arithmetic\nunits", PALETTE[2]),
        (3.0, 1.7, "cache\na few MB", PALETTE[5]),
        (6.3, 2.6, "memory\na thousand times\nas much", "0.85"),
    )
    for x, width, text, colour in places:
        ax.add_patch(Rectangle((x, 0), width, 1.6, facecolor=colour, alpha=0.55, edgecolor="0.3"))
        ax.text(x + width / 2, 0.8, text, ha="center", va="center")
    for x, width, text in ((1.5, 14, "fast"), (4.7, 4, "the bus:\nslow")):
        ends = {"arrowstyle": "<->", "lw": width / 3, "color": "0.3", "shrinkA": 2, "shrinkB": 2}
        ax.annotate("", (x + (1.5 if x < 4 else 1.6), 0.55), (x, 0.55), arrowprops=ends)
        ax.text(x + 0.78, 0.85, text, ha="center", va="bottom", fontsize=9)
    ax.add_patch(Rectangle((-0.25, -0.25), 5.2, 2.1, fill=False, edgecolor="0.3", linestyle="--"))
    ax.text(2.35, 1.95, "the chip", ha="center", fontsize=9)
    ax.set(xlim=(-0.4, 9.1), ylim=(-0.4, 2.3))
    ax.set_axis_off()
    return figure


def staircase(sizes: Sequence[int], speeds: Sequence[float], name: str) -> Figure:
    """Copying arrays of `sizes` bytes on the machine `name`: how many bytes a second move."""
    figure, ax = plt.subplots(figsize=(6.5, 2.8))
    ax.plot([size / 2**10 for size in sizes], [speed / 1e9 for speed in speeds], marker="o")
    ax.set(xscale="log", yscale="log", xlabel="size of the array", title=name)
    ax.set_ylabel("GB/s, read + written")
    reached = [step * 10**power for power in range(-3, 6) for step in (1, 2, 5)]
    low, high = (pick(speeds) / 1e9 for pick in (min, max))
    marks = [mark for mark in reached if low / 2 <= mark <= high * 2]
    ax.set_yticks(marks, [f"{mark:g}" for mark in marks])
    places = [2**power for power in range(4, 22, 3) if 2**power <= max(sizes) / 2**10]
    labels = [f"{kib} KiB" if kib < 1024 else f"{kib // 1024} MiB" for kib in places]
    ax.set_xticks(places, labels)
    ax.minorticks_off()
    ax.grid(alpha=0.25, lw=0.5)
    return figure


def windows(counts: Tensor) -> Figure:
    """One pixel and the nine results that read it, beside how often each pixel is read (H, W)."""
    h, w = counts.shape
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.3))
    blank = torch.zeros(h, w)
    for ax, shown, title in (
        (axes[0], blank, "three of the nine windows over one pixel"),
        (axes[1], counts, "how many windows read each pixel"),
    ):
        ax.imshow(shown.numpy(), cmap="Blues", vmin=0, vmax=2 * float(counts.max()))
        ax.set_autoscale_on(False)
        ax.spines[:].set_visible(False)
        ax.set_title(title, fontsize=10)
        ax.set_xticks(np.arange(w + 1) - 0.5, [])
        ax.set_yticks(np.arange(h + 1) - 0.5, [])
        ax.grid(color="0.75", lw=0.6)
        ax.tick_params(length=0)
    row, column = h // 2, w // 2
    axes[0].plot(column, row, "s", color="black", ms=12)
    for i, (dy, dx) in enumerate(((-1, -1), (0, 0), (1, 1))):
        corner = (column + dx - 1.5 + 0.06 * (i - 1), row + dy - 1.5 + 0.06 * (i - 1))
        axes[0].add_patch(
            Rectangle(corner, 3, 3, facecolor=PALETTE[i], edgecolor=PALETTE[i], alpha=0.18)
        )
        axes[0].add_patch(Rectangle(corner, 3, 3, fill=False, edgecolor=PALETTE[i], lw=2))
    for y in range(h):
        for x in range(w):
            axes[1].text(x, y, f"{int(counts[y, x])}", ha="center", va="center", fontsize=9)
    return figure


def bars(values: Mapping[str, float], what: str, log: bool = False) -> Figure:
    """Numbers of something, by label, as bars; log: on a logarithmic axis."""
    figure, ax = plt.subplots(figsize=(8, 0.42 * len(values) + 0.9))
    drawn = ax.barh(list(values), list(values.values()), color=PALETTE[0], log=log)
    labels = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values.values()]
    ax.bar_label(drawn, labels, padding=4)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.set_xlabel(what)
    return figure


def _roof_axes(ax: Axes, copy: float, product: float, low: float, high: float) -> None:
    intensity = np.geomspace(low, high, 300)
    ax.plot(intensity, np.minimum(copy * intensity, product) / 1e9, color="0.25")
    ridge = product / copy
    ax.plot(ridge, product / 1e9, "o", color="0.25", ms=5)
    ax.annotate(
        f"ridge point\n{ridge:.3g} flop per byte",
        (ridge, product / 1e9),
        (0, 6),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )
    ax.fill_between(intensity, 1e-9, copy * intensity / 1e9, where=intensity < ridge, alpha=0.07)
    ax.fill_between(
        intensity, 1e-9, product / 1e9, where=intensity >= ridge, alpha=0.07, color=PALETTE[1]
    )
    ax.set(xscale="log", yscale="log", xlim=(low, high))
    ax.set(xlabel="arithmetic intensity, flop per byte", ylabel="Gflop per second, at most")


def roof(passes: Sequence[Pass], copy: float, product: float) -> Figure:
    """Each pass under the roof that a machine's ceilings make: the speed that it cannot exceed.

    copy: bytes a second. product: flop a second. Nothing of the passes is measured here.
    """
    points = {p.name: p.flops / p.bytes for p in passes}
    low = min(points.values()) / 2.5
    high = max(*points.values(), product / copy) * 4
    figure, ax = plt.subplots(figsize=(8, 3.7))
    _roof_axes(ax, copy, product, low, high)
    for i, (name, x) in enumerate(points.items()):
        y = min(copy * x, product) / 1e9
        colour = PALETTE[i % 6]
        ax.plot([x, x], [1e-9, y], color=colour, lw=1, linestyle=":")
        ax.plot(x, y, "o", color=colour, label=f"{name}: {x:.3g}")
    least = copy * min(points.values()) / 1e9
    ax.set_ylim(least / 3, product / 1e9 * 5)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.text(0.02, 0.95, "bound by memory", transform=ax.transAxes, color=PALETTE[0], va="top")
    ax.text(
        0.98, 0.05, "bound by\narithmetic", transform=ax.transAxes, color=PALETTE[1], ha="right"
    )
    return figure


def _passes_axes(ax: Axes, ways: Mapping[str, Sequence[Pass]], scale: float, unit: str) -> None:
    longest = max(sum(p.bytes for p in way) for way in ways.values()) / scale
    for row, way in enumerate(ways.values()):
        left = 0.0
        for p in way:
            read, written = p.read / scale, p.written / scale
            ax.barh(row, read, left=left, height=0.5, color=READ)
            ax.barh(row, written, left=left + read, height=0.5, color=WRITTEN)
            ax.plot([left, left], [row - 0.3, row + 0.3], color="white", lw=3)
            middle = left + (read + written) / 2
            ax.text(middle, row - 0.29, p.name, ha="center", va="bottom", fontsize=8)
            left += read + written
        ax.text(left + longest * 0.01, row, f"{left:.3g} {unit}", va="center", fontsize=9)
    ax.set_yticks(range(len(ways)), list(ways))
    ax.set(ylim=(len(ways) - 0.6, -0.6), xlim=(0, longest * 1.14))
    ax.set_xlabel(f"{unit} across the memory bus")
    for colour, name in ((READ, "read"), (WRITTEN, "written")):
        ax.barh(0, 0, color=colour, label=name)
    ax.legend(frameon=False, ncols=2, fontsize=8, loc="lower right")


def passes(ways: Mapping[str, Sequence[Pass]], scale: float, unit: str) -> Figure:
    """The passes of each way end to end, as long as the bytes they move, in `unit`s of `scale`
    bytes."""
    figure, ax = plt.subplots(figsize=(9, 1.05 * len(ways) + 1.1))
    _passes_axes(ax, ways, scale, unit)
    return figure


def _floors_axes(ax: Axes, names: Sequence[str], data: Mapping[str, Sequence[float]]) -> None:
    places = np.arange(len(names))
    kinds = (
        ("bytes / copy speed", data["by_bytes"], PALETTE[5]),
        ("flops / matmul speed", data["by_flops"], PALETTE[1]),
        ("measured", data["measured"], "0.35"),
    )
    for i, (label, values, colour) in enumerate(kinds):
        shown = [1000 * value for value in values]
        ax.barh(places + 0.26 * (i - 1), shown, height=0.24, color=colour, label=label)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_xlabel("ms")
    ax.legend(frameon=False, fontsize=8)


def floors(names: Sequence[str], data: Mapping[str, Sequence[float]]) -> Figure:
    """For each pass its two floors and what was measured.

    data: seconds "by_bytes", "by_flops" and "measured", a number for each of `names`.
    """
    figure, ax = plt.subplots(figsize=(8, 0.62 * len(names) + 0.9))
    _floors_axes(ax, names, data)
    return figure


def tiles(h: int, w: int, height: int, width: int, chosen: int, halo: int = 1) -> Figure:
    """A map of h×w pixels cut into tiles, numbered as the programs are; one with its halo."""
    figure, ax = plt.subplots(figsize=(7.2, 7.2 * h / w * 0.75 + 0.6))
    across = -(-w // width)
    for tile in range(across * -(-h // height)):
        top, left = tile // across * height, tile % across * width
        box = (left, top), min(width, w - left), min(height, h - top)
        face = PALETTE[5] if tile == chosen else "none"
        above = 3 if tile == chosen else 1
        ax.add_patch(Rectangle(*box, facecolor=face, edgecolor="0.4", lw=1, zorder=above))
        ax.text(left + box[1] / 2, top + box[2] / 2, str(tile), ha="center", va="center", zorder=4)
    top, left = chosen // across * height, chosen % across * width
    ax.add_patch(
        Rectangle(
            (left - halo, top - halo),
            width + 2 * halo,
            height + 2 * halo,
            facecolor=PALETTE[4],
            alpha=0.6,
            edgecolor=PALETTE[1],
            lw=2,
            zorder=2,
        )
    )
    ax.set(xlim=(-2, w + 2), ylim=(h + 2, -2), aspect="equal")
    ax.set(xlabel=f"{w} pixels", ylabel=f"{h} pixels")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return figure


def owners(owner: Tensor) -> Figure:
    """A map (H, W) of program numbers: each pixel in the colour of the program that owns it."""
    figure, ax = plt.subplots(figsize=(7.2, 7.2 * owner.shape[0] / owner.shape[1] * 0.8 + 0.4))
    count = int(owner.max()) + 1
    shade = owner.long() * 5 % 12  # neighbours far apart on the colour scale
    ax.imshow(shade.numpy(), cmap="tab20", vmin=0, vmax=19, alpha=0.55)
    for program in range(count):
        rows, columns = torch.nonzero(owner == program, as_tuple=True)
        x, y = float(columns.float().mean()), float(rows.float().mean())
        ax.text(x, y, f"program {program}", ha="center", va="center", fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return figure


def loads(parts: Sequence[Tensor], taps: Sequence[float], total: Tensor) -> Figure:
    """What a program loads for each tap of its kernel, tiles (h, w), and their weighted sum."""
    figure, axes = plt.subplots(1, len(parts) + 1, figsize=(13, 1.8))
    for ax, part, tap in zip(axes, parts, taps, strict=False):
        image_axes(ax, part, f"{tap:+.1f} ×")
    image_axes(axes[-1], total, "sum")
    return figure


def kept(maps: Mapping[str, tuple[int, int]]) -> Figure:
    """How many maps are kept for the backward pass, by way: (there anyway, for this alone)."""
    figure, ax = plt.subplots(figsize=(7.5, 0.5 * len(maps) + 0.9))
    names, anyway = list(maps), [pair[0] for pair in maps.values()]
    extra = [pair[1] for pair in maps.values()]
    ax.barh(names, anyway, color="0.75", label="there anyway: x and the result")
    ax.barh(names, extra, left=anyway, color=PALETTE[1], label="kept for this layer alone")
    ax.invert_yaxis()
    ax.set_xlabel("maps kept until the backward pass")
    ax.set_xticks(range(1 + max(sum(pair) for pair in maps.values())))
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def beside(
    counted: Mapping[str, float], measured: Mapping[str, float], what: str, label: str
) -> Figure:
    """Two numbers for each name: what was counted, named `label`, and what was measured."""
    figure, ax = plt.subplots(figsize=(8, 0.62 * len(counted) + 0.9))
    places = np.arange(len(counted))
    for i, (values, name, colour) in enumerate(
        ((counted, label, PALETTE[5]), (measured, "measured", "0.35"))
    ):
        drawn = ax.barh(
            places + 0.36 * (i - 0.5), [values[key] for key in counted], 0.33, color=colour
        )
        drawn.set_label(name)
        ax.bar_label(drawn, [f"{values[key]:.2f}" for key in counted], padding=3, fontsize=8)
    ax.set_yticks(places, list(counted))
    ax.invert_yaxis()
    ax.set_xlabel(what)
    ax.margins(x=0.1)
    ax.legend(frameon=False, fontsize=8)
    return figure


def compared(reference: Tensor, fused: Tensor) -> Figure:
    """A channel (H, W) of the reference's result, of the fused kernel's, and their difference."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.8))
    limit = float(reference.abs().max())
    error = fused - reference
    largest = max(float(error.abs().max()), 1e-12)
    image_axes(axes[0], signed(reference, limit), "reference")
    image_axes(axes[1], signed(fused, limit), "fused kernel")
    image_axes(axes[2], signed(error, largest), f"difference, full colour at ±{largest:.1e}")
    return figure


def roofline(data: dict[str, Any]) -> Figure:
    """The benchmark's roofline, with room for the name of the profile; data: as bench.roofline."""
    figure = bench.roofline(data)
    legend = figure.legends[0]
    handles = [handle for handle in legend.legend_handles if handle is not None]
    labels = [text.get_text() for text in legend.texts]
    legend.remove()  # at the bottom, in one line, it would lie on the name of the profile
    figure.suptitle("")
    first = figure.axes[0]
    first.set_title(f"{data['device']}\n{first.get_title()}", fontsize=9)
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return leave_room(figure)


def summary(data: dict[str, Any]) -> Figure:
    """What fusing saves, counted, and each pass of the unfused way beside its floors.

    data: "ways", by name a list of [pass, bytes read, bytes written]; "names" of the passes
    measured, with their seconds "by_bytes", "by_flops" and "measured"; "device", "size" counted and
    "measured_size".
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.2), width_ratios=[1.5, 1])
    ways = {name: [Pass(*row) for row in rows] for name, rows in data["ways"].items()}
    _passes_axes(left, ways, 2**20, "MiB")
    left.set_title(f"counted: one DA convolution of {data['size']} in float32", fontsize=10)
    _floors_axes(right, data["names"], data)
    right.set_title(f"measured: {data['measured_size']}, {data['device']}", fontsize=10)
    return leave_room(figure)
