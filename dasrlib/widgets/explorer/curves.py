"""§4.2 PSNR over the kernel width, and how a method looks wherever the explorer shows it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dasrlib.plots.ablation import CHANGED
from dasrlib.systems import MODELS, SYSTEMS, short
from dasrlib.widgets.base.panels import Panel, chart, chart_axes

SYMBOLS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "x": "✕"}


class Style(NamedTuple):
    """A method's colour and marker: two ways to know it, of which one is enough."""

    colour: str
    marker: str

    @property
    def symbol(self) -> str:
        """The marker as a letter, to write before the method's name."""
        return SYMBOLS[self.marker]


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """A style for each method, by name: a system of the table looks as in every figure (§4.2).

    Another network takes the look of a model that is not among the methods.
    """
    free = itertools.cycle([model for model in MODELS if model not in methods] or MODELS)
    rows = {m: SYSTEMS[m if m in SYSTEMS else next(free)] for m in methods}
    return {m: Style(row.colour or "#777777", row.marker) for m, row in rows.items()}


class Curves(NamedTuple):
    """What one chart shows: by method, points (σ in HR pixels, PSNR-Y in dB) in the order of σ."""

    heading: str
    points: Mapping[str, Sequence[tuple[float, float]]]


def curves_panel(curves: Curves, sigma: float, trained: float, high: float) -> Panel:
    """A chart of PSNR over σ, with a line at the current σ and the widths never seen in training.

    trained: the widest kernel of the training. high: where the axis ends, HR pixels.
    """
    ends = ", ".join(
        f"{short(method)} {points[0][1]:.1f} to {points[-1][1]:.1f} dB"
        for method, points in curves.points.items()
    )
    alt = f"PSNR over the kernel width: {curves.heading}; from narrowest to widest {ends}"
    ax, looks = chart_axes(440, 290), styles([*curves.points])
    ax.axvspan(trained, high, color=CHANGED, alpha=0.7)
    ax.text(trained + 0.05, 0.98, "never seen\nin training", va="top", fontsize=8,
            transform=ax.get_xaxis_transform())  # fmt: skip
    for method, points in curves.points.items():
        look = looks[method]
        ax.plot(
            *zip(*points, strict=True), color=look.colour, marker=look.marker, ms=5,
            label=short(method),
        )  # fmt: skip
    if curves.points:
        ax.legend(frameon=False, fontsize=8, loc="lower left", ncols=2)
    ax.axvline(sigma, color="0.2", lw=1)
    ax.set(xlabel="kernel width σ, HR pixels", ylabel="PSNR-Y, dB", xlim=(0, high))
    return chart(ax, curves.heading, alt, f"line at σ = {sigma:.1f}")
