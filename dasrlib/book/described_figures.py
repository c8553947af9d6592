"""An extension of IPython: the plain text of a figure is what is written on it, for the book."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from dasrlib.plots.alt_text import describe


def _described(figure: Figure, printer: Any, cycle: bool) -> None:
    printer.text(describe(figure))


def load_ipython_extension(ipython: Any) -> None:
    """IPython's call in a new kernel."""
    # Not as one of its formatters: choosing the format of the pictures forgets those of figures.
    Figure._repr_pretty_ = _described  # type: ignore[attr-defined]
