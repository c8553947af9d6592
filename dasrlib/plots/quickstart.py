"""The quickstart in pictures: before and after, and the map of the series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib.plots.degradation import flow, leave_room, unpacked
from dasrlib.plots.style import image_axes


def true_sizes(row: Mapping[str, Tensor], pixels_per_inch: float = 90) -> Figure:
    """Pictures (3, H, W) by title, each pixel of each as large as any other's."""
    width = sum(picture.shape[-1] for picture in row.values())
    height = max(picture.shape[-2] for picture in row.values())
    gap = 0.08 * width
    figure = plt.figure(
        figsize=((width + gap * len(row)) / pixels_per_inch, height / pixels_per_inch + 0.4),
        layout="none",
    )
    x = 0.0
    total, tall = width + gap * len(row), height + 0.4 * pixels_per_inch
    for title, picture in row.items():
        h, w = picture.shape[-2:]
        image_axes(figure.add_axes((x / total, 0, w / total, h / tall)), picture, title)
        x += w + gap
    return figure


def before_and_after(data: dict[str, Any]) -> Figure:
    """The same detail under several degradations: given, bicubic, DASR, and the original.

    data: "original", a packed picture; "rows", each with "label", packed "lr", "bicubic" and
    "dasr", and "psnr_y", dB of the whole picture by method.
    """
    original, rows = unpacked(data["original"]), data["rows"]
    figure, axes = plt.subplots(len(rows), 4, figsize=(9, 2.35 * len(rows) + 0.3), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        image_axes(line[0], unpacked(row["lr"]))
        line[0].set_ylabel(row["label"])
        for ax, method in zip(line[1:3], ("bicubic", "dasr"), strict=True):
            image_axes(ax, unpacked(row[method]), note=f"{row['psnr_y'][method]:.2f} dB")
        image_axes(line[3], original)
    for ax, title in zip(axes[0], ("given", "bicubic", "DASR, blind", "original"), strict=True):
        ax.set_title(title)
    return leave_room(figure)


def series() -> Figure:
    """The map of the series: the whole method as a flow, each part with its notebook's number."""
    boxes = (
        (0.0, 1.0, "HR picture", ""),
        (1.5, 1.0, "degrade:\nblur, reduce, noise", "01"),
        (3.0, 1.0, "LR picture", ""),
        (4.6, 0.0, "encoder:\nwhat happened to it?", "02"),
        (4.6, 1.0, "SR network of\nDA convolutions", "03"),
        (6.2, 1.0, "SR picture", ""),
        (4.6, 2.0, "training:\nSR against HR", "04"),
        (6.2, 2.0, "ablation: which\npart is worth what?", "05"),
    )
    arrows = ((0, 1), (1, 2), (2, 4), (2, 3), (3, 4), (4, 5), (6, 4), (5, 7))
    return flow(boxes, arrows, (10, 3.6))
