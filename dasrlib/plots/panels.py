"""The few shapes that most figures are made of: rows of pictures, heat maps, bars, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from torch import Tensor

from dasrlib.plots.style import BESIDE, PALETTE, image_axes


def picture_grid(
    rows: Mapping[str, Sequence[Tensor] | Tensor],
    titles: Sequence[str] = (),
    height: float = 1.6,
    figure: FigureBase | None = None,
) -> tuple[Any, np.ndarray]:
    """Rows of pictures, (3, H, W) or (H, W) in [0, 1], by label, with a title above each column.

    height: inches of a row. figure: where to draw, a new figure for None. Returns figure and axes.
    """
    ratios = [picture.shape[-1] / picture.shape[-2] for picture in next(iter(rows.values()))]
    size = (height * sum(ratios), height * len(rows) + 0.4)
    figure = figure or plt.figure(figsize=size)
    axes = figure.subplots(len(rows), len(ratios), squeeze=False, width_ratios=ratios)
    for line, (label, row) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(line, row, strict=True):
            image_axes(ax, picture)
        line[0].set_ylabel(label)
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title)
    return figure, axes


def pictures(row: Mapping[str, Tensor], notes: Sequence[str] = (), height: float = 2.4) -> Figure:
    """A row of pictures by title, all at one height, so that a small LR picture shows its pixels.

    notes: a line below each. height: inches.
    """
    figure, axes = picture_grid({"": list(row.values())}, list(row), height)
    for ax, note in zip(axes[0], notes, strict=False):
        ax.set_xlabel(note)
    return figure


def curves(
    lines: Mapping[str, Sequence[float]],
    x: Sequence[float] = (),
    marks: Mapping[str, float] | None = None,
    **axes: Any,
) -> Figure:
    """Curves by label, each in its own style, over x, or over 1, 2, 3 and so on.

    marks: vertical lines at an x by label. axes: arguments of Axes.set.
    """
    figure, ax = plt.subplots(figsize=(8, 3.4))
    for (label, values), style in zip(lines.items(), cycle(("-", "--", ":", "-.")), strict=False):
        ax.plot(x or range(1, len(values) + 1), values, style, label=label)
    ax.set(**axes)
    for label, where in (marks or {}).items():
        mark(ax, where, label)
    ax.legend(**BESIDE)
    return figure


def bars(
    values: Mapping[str, float],
    what: str,
    log: bool = False,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Numbers of something by label, as bars with the numbers beside them."""
    figure, ax = plt.subplots(figsize=(8, 0.45 * len(values) + 0.9))
    drawn = ax.barh(list(values), list(values.values()), log=log)
    numbers = [f"{v:,.0f}" if v >= 10 else f"{v:.2g}" for v in values.values()]
    ax.bar_label(drawn, numbers, padding=4)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.set_xlabel(what)
    for label, where in (marks or {}).items():
        mark(ax, where, label, above=True)
    return figure


def signed(values: Tensor, limit: float) -> Tensor:
    """Values (H, W) of both signs as a picture: red above 0, blue below, full colour at ±limit."""
    share = (values.detach().float().cpu() / limit + 1) / 2
    return torch.from_numpy(plt.get_cmap("RdBu_r")(share.numpy())[..., :3]).permute(2, 0, 1)


def heat_map(ax: Axes, values: Any, texts: Any = None, **scale: Any) -> None:
    """A matrix as colours, with its numbers in the cells; texts: a format for each number."""
    values = np.asarray(values)
    shown = ax.imshow(values, **{"cmap": "cividis", **scale})
    light = shown.to_rgba(values)[..., :3] @ (0.3, 0.59, 0.11)  # 0 for black, 1 for white
    for (y, x), value in np.ndenumerate(values):
        text = (texts[y][x] if texts else "{:.2f}").format(value)
        ink = "black" if light[y, x] > 0.5 else "white"
        ax.text(x, y, text, ha="center", va="center", color=ink, fontsize=9)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def number_axes(ax: Axes, grid: Tensor, title: str = "", colour: str = PALETTE[0]) -> None:
    """A small matrix (H, W) with its numbers written in the cells, framed in a colour."""
    limit = 2 * max(float(grid.abs().max()), 1e-9)  # pale, so that the numbers can be read
    image_axes(ax, signed(grid, limit))
    for (y, x), value in np.ndenumerate(grid.numpy()):
        ax.text(x, y, f"{round(float(value), 2):g}", ha="center", va="center", fontsize=8)
    ax.set_title(title, fontsize=9)
    ax.spines[:].set(visible=True, edgecolor=colour, linewidth=2)


def level(ax: Axes, y: float, text: str, colour: str = "0.4", style: str = ":") -> None:
    """A horizontal line over the whole panel with a text on its right end."""
    ax.axhline(y, color=colour, ls=style, lw=1)
    ax.annotate(text, (1, y), xycoords=("axes fraction", "data"), color=colour, fontsize=9,
                ha="right", va="bottom")  # fmt: skip


def mark(ax: Axes, x: float, text: str, above: bool = False) -> None:
    """A vertical line over the whole panel with a text along its lower end, or above it."""
    ax.axvline(x, color="0.4", ls=":", lw=1)
    side: dict[str, Any] = {"ha": "center"} if above else {"ha": "right", "rotation": 90}
    ax.annotate(text, (x, 1 if above else 0.02), xycoords=("data", "axes fraction"), color="0.4",
                fontsize=9, va="bottom", **side)  # fmt: skip
