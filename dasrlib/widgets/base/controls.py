"""The controls of all widgets, in one look: a label, the control, and a tip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw

WIDE = "330px"  # three to a row of JupyterLab's width, one below the other on a phone
STYLE = {"description_width": "145px"}  # of a label


def slider(
    text: str, low: float, high: float, step: float, start: float, tip: str
) -> ipw.FloatSlider | ipw.IntSlider:
    """A slider for a number; for a whole number if its step is one."""
    kind, shown = (ipw.IntSlider, "d") if isinstance(step, int) else (ipw.FloatSlider, ".1f")
    return kind(
        start, min=low, max=high, step=step, description=text, tooltip=tip, readout_format=shown,
        style=STYLE, layout=ipw.Layout(width=WIDE),
    )  # fmt: skip


def dropdown(text: str, options: Sequence[str], tip: str) -> ipw.Dropdown:
    """A list of names to choose from."""
    return ipw.Dropdown(
        options=list(options), description=text, tooltip=tip, style=STYLE,
        layout=ipw.Layout(width=WIDE),
    )  # fmt: skip


def buttons(text: str, options: Sequence[Any], tip: str) -> ipw.ToggleButtons:
    """A few choices beside each other."""
    style = {"description_width": "120px", "button_width": f"{180 // len(options)}px"}
    return ipw.ToggleButtons(
        options=options, description=text, tooltip=tip, style=style,
        layout=ipw.Layout(width=WIDE, display="flex", margin="2px"),
    )  # fmt: skip


def show_if(condition: bool, *widgets: ipw.Widget) -> None:
    """Takes widgets off the page, or puts them back."""
    for widget in widgets:
        widget.layout.display = None if condition else "none"
