"""What all figures share: colours that the colour-blind can tell apart, sizes, pictures without
axes."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

# Okabe and Ito's palette.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P")
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)}  # a legend's place

RC: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.prop_cycle": plt.cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.interpolation": "nearest",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def image_axes(axes: Axes, image: Tensor, title: str = "", note: str = "") -> None:
    """A picture (3, H, W) or (H, W) in [0, 1] on axes without ticks, title above and note below."""
    shown = image.detach().float().cpu().clamp(0, 1)
    if shown.ndim == 3:
        axes.imshow(shown.permute(1, 2, 0).numpy())
    else:
        axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set(title=title, xlabel=note, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def leave_room(figure: Figure) -> Figure:
    """The figure, with a line left free at the bottom for the name of the profile."""
    figure.supxlabel(" ", fontsize=7)
    return figure
