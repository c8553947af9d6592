"""What is written on a figure, in one line: for those who do not see it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LONGEST = 400  # characters; a screen reader cannot skim


def _words(text: str) -> str:
    return " ".join(text.replace("$", "").split())


def _panel(ax: Axes) -> str:
    """A panel's title, axes and legend; the words inside it where it has none of them."""
    title = _words(ax.get_title())
    x, y = _words(ax.get_xlabel()), _words(ax.get_ylabel())
    # Below and beside a picture stand notes; elsewhere what is drawn against what.
    axes = f"{y} against {x}" if x and y and not ax.images else ", ".join(filter(None, (x, y)))
    parts = [title, axes]
    legend = ax.get_legend()
    if legend is not None:
        parts.append("lines: " + ", ".join(_words(text.get_text()) for text in legend.get_texts()))
    found = ", ".join(part for part in parts if part)
    return found or ", ".join(_words(text.get_text()) for text in ax.texts if text.get_text())


def describe(figure: Figure) -> str:
    """The figure's title, then each panel's title, axes and legend, cut after 400 characters."""
    heading = _words(figure.get_suptitle())
    bars = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    panels = [_panel(ax) for ax in figure.axes if ax not in bars]
    scales = [f"colour: {_words(ax.get_ylabel())}" for ax in bars if ax.get_ylabel()]
    # A row of panels may share a label: it is read once.
    said = list(dict.fromkeys(part for part in [heading, *panels, *scales] if part))
    text = "; ".join(said) or "A figure without words"
    return text if len(text) <= LONGEST else text[: LONGEST - 2].rsplit(" ", 1)[0] + " …"
