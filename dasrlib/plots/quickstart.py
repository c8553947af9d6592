"""The quickstart in pictures: before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib.plots.packed_images import unpacked
from dasrlib.plots.panels import picture_grid
from dasrlib.plots.style import image_axes, leave_room


def true_sizes(row: Mapping[str, Tensor], pixels_per_inch: float = 90) -> Figure:
    """Pictures (3, H, W) by title, each pixel of each as large as any other's."""
    widths = [picture.shape[-1] for picture in row.values()]
    height = max(picture.shape[-2] for picture in row.values())
    size = (1.1 * sum(widths) / pixels_per_inch, height / pixels_per_inch + 0.5)
    figure, axes = plt.subplots(1, len(row), figsize=size, width_ratios=widths, squeeze=False)
    for ax, (title, picture) in zip(axes[0], row.items(), strict=True):
        image_axes(ax, picture, title)
    return figure


def before_and_after(data: dict[str, Any]) -> Figure:
    """The same detail under several degradations: LR, bicubic, DASR, and HR.

    data: "original", a packed picture; "rows", each with "label", packed "lr", "bicubic" and
    "dasr", and "psnr_y", dB of the whole picture by method.
    """
    hr, rows = unpacked(data["original"]), data["rows"]
    grid = {
        row["label"]: [*(unpacked(row[name]) for name in ("lr", "bicubic", "dasr")), hr]
        for row in rows
    }
    figure, axes = picture_grid(grid, ("LR", "bicubic", "DASR, blind", "HR"), height=2.35)
    for line, row in zip(axes, rows, strict=True):
        for ax, method in zip(line[1:3], ("bicubic", "dasr"), strict=True):
            ax.set_xlabel(f"{row['psnr_y'][method]:.2f} dB")
    return leave_room(figure)
