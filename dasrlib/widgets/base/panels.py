"""Pictures on a page, each with a title, a note and an alt text. `row_html` shows them where a
kernel runs, and `first_frame` draws the same ones for a page where none does."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dasrlib.plots.style import image_axes

CHART_DPI = 150  # pixels of a chart to 100 CSS pixels, so that its letters are sharp


class Panel(NamedTuple):
    """A picture with its words.

    image: (3, H, W) or (H, W) in [0, 1]. width: on the page, in CSS pixels; a smaller picture shows
    its pixels as squares. note: below it. pale: whether it is an old picture that waits for a new
    one.
    """

    title: str
    image: Tensor
    alt: str
    width: int
    note: str = ""
    pale: bool = False

    def html(self) -> str:
        data = base64.b64encode(png(self.image)).decode()
        squares = "image-rendering:pixelated" if self.image.shape[-1] <= self.width else ""
        return (
            f'<figure style="margin:4px;width:{self.width}px;max-width:calc(100% - 8px);'
            f'opacity:{0.45 if self.pale else 1}">'
            f'<figcaption style="font-weight:600">{html.escape(self.title)}</figcaption>'
            f'<img src="data:image/png;base64,{data}" alt="{html.escape(self.alt, quote=True)}" '
            f'style="width:100%;{squares}"><figcaption style="opacity:.75;line-height:1.3">'
            f"{html.escape(self.note)}</figcaption></figure>"
        )


def png(image: Tensor) -> bytes:
    """A picture (3, H, W) or (H, W) in [0, 1] as the bytes of a png."""
    array = (image.detach().float().cpu().clamp(0, 1) * 255).round().byte().numpy()
    shown = Image.fromarray(array.transpose(1, 2, 0) if array.ndim == 3 else array)
    file = io.BytesIO()
    # Sent over a loopback address: quick to write matters more than small.
    shown.save(file, format="png", compress_level=1)
    return file.getvalue()


def row_html(panels: Sequence[Panel]) -> str:
    """Panels beside each other, wrapping where the page is narrow."""
    row = "".join(panel.html() for panel in panels)
    return f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start">{row}</div>'


def first_frame(rows: Sequence[Sequence[Panel]], heading: str = "") -> Figure:
    """The panels as one figure, for a page that runs no kernel."""
    figure = plt.figure(figsize=(13, 3.3 * len(rows)))
    parts: Any = figure.subfigures(len(rows), 1, squeeze=False)
    for part, panels in zip(parts[:, 0], rows, strict=True):
        ratios = [panel.image.shape[-1] / panel.image.shape[-2] for panel in panels]
        axes = part.subplots(1, len(panels), width_ratios=ratios, squeeze=False)[0]
        for ax, panel in zip(axes, panels, strict=True):
            image_axes(ax, panel.image, panel.title, panel.note)
    figure.suptitle(heading)
    return figure


def chart_axes(width: int, height: int) -> Axes:
    """Axes for `chart`, in CSS pixels, made without pyplot: a chart can be drawn in a thread."""
    ax = Figure((width / 100, height / 100), dpi=CHART_DPI, layout="constrained").subplots()
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def chart(ax: Axes, title: str, alt: str, note: str = "") -> Panel:
    """What was drawn on `chart_axes`, as a panel."""
    canvas = FigureCanvasAgg(ax.get_figure(root=True))
    canvas.draw()
    image = torch.tensor(np.asarray(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1) / 255
    return Panel(title, image, alt, round(image.shape[-1] * 100 / CHART_DPI), note)
