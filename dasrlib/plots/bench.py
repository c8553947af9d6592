"""The roofline: how much arithmetic a byte brings, and how fast that runs on one machine."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dasrlib.plots.style import MARKERS, PALETTE, leave_room

Row = dict[str, Any]
FIRST, FASTEST = PALETTE[1], PALETTE[0]
INTENSITY = (0.5, 1000.0)  # the axis: from an addition a byte to a whole network


def _by_size(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    """The rows with counted bytes and operations, by what they compute and which of its sizes it
    is."""
    found: dict[tuple[str, int], list[Row]] = {}
    for what in dict.fromkeys(row["what"] for row in rows if row["bytes"] and row["flops"]):
        here = [row for row in rows if row["what"] == what]
        for place, size in enumerate(dict.fromkeys(row["size"] for row in here)):
            found[what, place] = [row for row in here if row["size"] == size and row["seconds"]]
    return found


def _draw(ax: Axes, rows: list[Row], marker: str, aside: float) -> None:
    """The first variant, and the fastest of the others, joined by a line."""
    first = [row for row in rows if row["ratio"] == 1][:1]
    others = [row for row in rows if row not in first]
    fastest = sorted(others, key=lambda row: row["seconds"][1])[:1]
    points = [
        (aside * row["flops"] / row["bytes"], row["flops"] / row["seconds"][1])
        for row in (*first, *fastest)
    ]
    if len(points) == 2:
        ax.plot(*zip(*points, strict=True), color="0.75", lw=1, zorder=1)
    fills = [(FIRST, "white")] * len(first) + [(FASTEST, FASTEST)] * len(fastest)
    for (x, y), (colour, fill) in zip(points, fills, strict=True):
        ax.plot(x, y, marker, color=colour, mfc=fill, ms=7, mew=1.5, zorder=2)


def roof_axes(ax: Axes, copy: float, product: float, limits: tuple[float, float]) -> None:
    """The roof of a machine: the most operations a second, by operations a byte."""
    intensity = np.geomspace(*limits, 400)
    ax.plot(intensity, np.minimum(copy * intensity, product), color="0.25", lw=1.5, zorder=1)
    ax.set(xscale="log", yscale="log", xlim=limits)


def roofline(data: dict[str, Any]) -> Figure:
    """Flop per second over flop per byte under this machine's own roof: a column for each dtype
    that the machine has units for, a line for each size.

    data: device, its name; ceilings, copy in bytes a second and matmul by dtype in flop a second;
    rows, as bench.run gives them. Bytes are those of each input and output crossing the memory bus
    once. The first variant is drawn, and the fastest of the others. A case with a backward pass is
    a little to the right of its place, one without a little to the left.
    """
    copy, measured = data["ceilings"]["copy"], data["ceilings"]["matmul"]
    # A dtype that a processor only emulates has no roof: its matrix product, far slower than
    # float32's, is not the best it can do.
    products = {dtype: rate for dtype, rate in measured.items() if rate >= measured["float32"]}
    things = _by_size(data["rows"])
    markers = dict(zip(dict.fromkeys(what for what, _ in things), MARKERS, strict=False))
    lines = 1 + max((place for _, place in things), default=0)
    size = (5.2 * len(products), 2.2 + 3.2 * lines)
    options: dict[str, Any] = {"sharex": True, "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(lines, len(products), figsize=size, **options)
    for column, (dtype, product) in zip(axes.T, products.items(), strict=True):
        for line, ax in enumerate(column):
            roof_axes(ax, copy, product, INTENSITY)
            ax.grid(alpha=0.25, lw=0.5)
            for (what, place), rows in things.items():
                if place == line:
                    aside = 1.1 if "backward" in what or "training" in what else 0.9
                    here = [row for row in rows if row["dtype"] == dtype]
                    _draw(ax, here, markers[what], aside)
        roof = f"copy {copy / 1e9:,.0f} GB/s, matmul {product / 1e12:.3g} TFLOP/s"
        column[0].set_title(f"{data['device']}, {dtype}\n{roof}", fontsize=9)
        column[-1].set_xlabel("flop per byte, each byte counted once")
    for line, ax in enumerate(axes[:, 0]):
        # A batch of maps, of patches, of pictures: each thing has its own name for its size.
        names = [rows[0]["size"] for (_, place), rows in things.items() if place == line and rows]
        ax.set_ylabel("\n".join(["flop per second", *dict.fromkeys(names)]), fontsize=8)
    handles = [
        Line2D([], [], marker=marker, label=what, color="0.3", ls="none", mfc="none", ms=7)
        for what, marker in markers.items()
    ]
    for colour, fill, label in (
        (FIRST, "white", "the first variant, the baseline"),
        (FASTEST, FASTEST, "the fastest of the others"),
    ):
        ring = Line2D([], [], marker="o", ls="none", ms=7, mew=1.5, color=colour, mfc=fill)
        ring.set_label(label)
        handles.append(ring)
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return leave_room(figure)
