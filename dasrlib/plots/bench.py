"""The roofline: how much arithmetic a byte brings, and how fast that runs on one machine."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dasrlib.plots.style import PALETTE

Row = dict[str, Any]
MARKERS = ("o", "s", "^", "D", "v", "P")
FIRST, FASTEST = PALETTE[1], PALETTE[0]
INTENSITY = (0.5, 1000.0)  # the axis: from an addition a byte to a whole network


def _counted(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    """The rows that were timed and counted, by what they compute and which of its sizes it is."""
    sizes: dict[str, list[str]] = {}
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        if row["bytes"] and row["flops"]:
            of_this = sizes.setdefault(row["what"], [])
            if row["size"] not in of_this:
                of_this.append(row["size"])
            timed = found.setdefault((row["what"], of_this.index(row["size"])), [])
            if row["seconds"]:
                timed.append(row)
    return found


def _points(rows: list[Row], dtype: str) -> list[tuple[float, float, str]]:
    """Flop per byte, flop per second and colour of the first way, where it is one of this dtype,
    and of the fastest of the others."""
    here = [row for row in rows if row["dtype"] == dtype]
    first = next((row for row in here if row["ratio"] == 1), None)
    others = [row for row in here if row is not first]
    fastest = min(others, key=lambda row: row["seconds"][1], default=None)
    return [
        (row["flops"] / row["bytes"], row["flops"] / row["seconds"][1], colour)
        for row, colour in ((first, FIRST), (fastest, FASTEST))
        if row is not None
    ]


def _draw(ax: Axes, points: list[tuple[float, float, str]], marker: str, aside: float) -> None:
    if len(points) == 2:  # what was gained
        (x, low, _), (_, high, _) = points
        ax.plot([x * aside] * 2, [low, high], color="0.75", lw=1, zorder=1)
    for x, y, colour in points:
        fill = colour if colour == FASTEST else "white"
        ax.plot(x * aside, y, marker, color=colour, mfc=fill, ms=7, mew=1.5, zorder=2)


def _legend(figure: Figure, markers: dict[str, str], columns: int) -> None:
    grey: dict[str, Any] = {"color": "0.3", "ls": "none", "mfc": "none", "ms": 7}
    ring: dict[str, Any] = {"marker": "o", "ls": "none", "ms": 7, "mew": 1.5}
    handles = [
        Line2D([], [], marker=marker, label=what, **grey) for what, marker in markers.items()
    ]
    handles += [
        Line2D([], [], color=FIRST, mfc="white", label="the framework's, as released", **ring),
        Line2D([], [], color=FASTEST, label="the fastest of the others", **ring),
    ]
    figure.legend(
        handles=handles,
        loc="outside lower left",  # on the right stands the profile
        ncols=columns,
        columnspacing=1.0,
        frameon=False,
        fontsize=8,
    )


def roofline(data: dict[str, Any]) -> Figure:
    """Flop per second over flop per byte under this machine's own roof: a column for each dtype
    that the machine has units for, a line for each size.

    data: device, its name; ceilings, copy in bytes a second and matmul by dtype in flop a second;
    rows, as bench.run gives them. Bytes are those of each input and output crossing the memory bus
    once. The first way is drawn, and the fastest of the others; what has a backward pass stands a
    little to the right of its place, what has none to the left.
    """
    copy, measured = data["ceilings"]["copy"], data["ceilings"]["matmul"]
    # A dtype that a processor only emulates has no roof: its matrix product, far slower than
    # float32's, is not the best it can do.
    products = {dtype: rate for dtype, rate in measured.items() if rate >= measured["float32"]}
    things = _counted(data["rows"])
    markers = dict(zip(dict.fromkeys(what for what, _ in things), MARKERS, strict=False))
    lines = 1 + max((place for _, place in things), default=0)
    figure, axes = plt.subplots(
        lines,
        len(products),
        figsize=(5.2 * len(products), 1.2 + 3.2 * lines),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    intensity = np.geomspace(*INTENSITY, 400)
    for column, (dtype, product) in zip(axes.T, products.items(), strict=True):
        for line, ax in enumerate(column):
            roof = np.minimum(copy * intensity, product)
            ax.plot(intensity, roof, color="0.25", lw=1.5, zorder=1)
            for (what, place), rows in things.items():
                if place == line:
                    aside = 1.1 if "backward" in what or "training" in what else 0.9
                    _draw(ax, _points(rows, dtype), markers[what], aside)
            ax.set(xscale="log", yscale="log", xlim=INTENSITY)
            ax.grid(alpha=0.25, lw=0.5)
        roof = f"copy {copy / 1e9:,.0f} GB/s, matmul {product / 1e12:.3g} TFLOP/s"
        column[0].set_title(f"{dtype}\n{roof}", fontsize=9)
        column[-1].set_xlabel("flop per byte, each byte counted once")
    for line, ax in enumerate(axes[:, 0]):
        # A batch of maps, of patches, of pictures: each thing has its own name for its size.
        here = [rows[0]["size"] for (_, place), rows in things.items() if place == line and rows]
        ax.set_ylabel("\n".join(["flop per second", *dict.fromkeys(here)]), fontsize=8)
    _legend(figure, markers, columns=2 * len(products))
    figure.suptitle(data["device"], fontsize=11)
    return figure
