"""The ablation explorer's first frame (§4.2), and how a method looks in each of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dasrlib.plots.ablation import CHANGED
from dasrlib.plots.style import image_axes
from dasrlib.systems import MODELS, SYSTEMS, short

SYMBOLS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "x": "✕"}


@dataclass(frozen=True)
class Style:
    """A method's colour, marker and dashes: three ways to know it, of which one is enough.

    colour: None for the colour of the text, whatever the theme.
    """

    colour: str | None
    marker: str
    dashes: tuple[float, ...]

    @property
    def symbol(self) -> str:
        """The marker as a letter, to write before the method's name."""
        return SYMBOLS[self.marker]


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """A style for each method, by name: a system of the table looks as in every figure (§4.2).

    Another network takes the look of a model that is not among the methods.
    """
    free = cycle([model for model in MODELS if model not in methods] or MODELS)
    rows = {m: SYSTEMS[m if m in SYSTEMS else next(free)] for m in methods}
    return {m: Style(row.colour, row.marker, row.dashes) for m, row in rows.items()}


def _curves(ax: Axes, panel: dict[str, Any], data: dict[str, Any], looks: dict[str, Style]) -> None:
    """One panel of PSNR over σ, with a line where the slider stands."""
    ax.axvspan(data["trained"], data["high"], color=CHANGED, alpha=0.7)
    ax.text(data["trained"] + 0.05, 0.98, "never seen\nin training", va="top", fontsize=8,
            transform=ax.get_xaxis_transform())  # fmt: skip
    for method, points in panel["curves"].items():
        look = looks[method]
        ax.plot(
            *zip(*points, strict=True), color=look.colour or "0.3", marker=look.marker, ms=5,
            ls=(0, look.dashes) if look.dashes else "-", label=short(method),
        )  # fmt: skip
    ax.axvline(data["sigma"], color="0.2", lw=1)
    ax.set(xlabel="kernel width σ, HR pixels", ylabel="PSNR-Y, dB", title=panel["title"])
    ax.set_xlim(0, data["high"])


def explorer(data: dict[str, Any]) -> Figure:
    """Curves of PSNR over σ above, the same crop from each method below (§4.2).

    data: panels, each a title and curves, by method a list of (σ, dB); sigma, trained (the widest
    kernel of the training) and high, HR pixels; crops, a list of (title, (3, h, w) in [0, 1],
    note).
    """
    looks = styles(list(dict.fromkeys(m for panel in data["panels"] for m in panel["curves"])))
    figure = plt.figure(figsize=(13, 6.6))
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.5, 1))
    above, below = halves
    panels = above.subplots(1, len(data["panels"]), squeeze=False)[0]
    for ax, panel in zip(panels, data["panels"], strict=True):
        _curves(ax, panel, data, looks)
    if panels[0].lines[:-1]:  # more than the slider's own line
        panels[0].legend(frameon=False, fontsize=8, loc="lower left", ncols=2)
    crops = below.subplots(1, len(data["crops"]), squeeze=False)[0]
    for ax, (name, image, note) in zip(crops, data["crops"], strict=True):
        image_axes(ax, image, name, note)
    below.suptitle(f"the same crop, σ = {data['sigma']:.1f}", fontsize=10)
    return figure
