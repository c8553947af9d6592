"""Boxes and arrows: the whole method, and one DA convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dasrlib.plots.style import PALETTE


def flow(
    boxes: Sequence[tuple[float, float, str, str]],
    arrows: Sequence[tuple[int, int]],
    size: tuple[float, float],
) -> Figure:
    """Boxes (x, y, text, heading) with arrows between them, given as pairs of places in the list.

    A box with a heading has a coloured frame. size: inches.
    """
    figure, ax = plt.subplots(figsize=size)
    drawn = []
    for x, y, text, heading in boxes:
        frame: dict[str, Any] = {"boxstyle": "round,pad=0.5", "facecolor": "white"}
        frame |= {"ec": PALETTE[0], "lw": 2} if heading else {"ec": "0.5", "lw": 1}
        label = f"{heading}\n{text}" if heading else text
        drawn.append(ax.text(x, y, label, ha="center", va="center", bbox=frame, fontsize=9))
    for start, end in arrows:
        line: dict[str, Any] = {"arrowstyle": "->", "color": "0.3"}
        line |= {"patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
        ax.annotate("", boxes[end][:2], boxes[start][:2], arrowprops=line)
    xs, ys = [box[0] for box in boxes], [box[1] for box in boxes]
    ax.set(xlim=(min(xs) - 0.8, max(xs) + 0.8), ylim=(min(ys) - 0.5, max(ys) + 0.5))
    ax.set_axis_off()
    return figure


def series() -> Figure:
    """The map of the series: the whole method, each part with its notebook's number."""
    boxes = (
        (0.0, 1.0, "HR picture", ""),
        (1.5, 1.0, "degrade: blur,\ndownsample, noise", "01"),
        (3.0, 1.0, "LR picture", ""),
        (4.6, 0.0, "encoder: which\ndegradation?", "02"),
        (4.6, 1.0, "SR network of\nDA convolutions", "03"),
        (6.2, 1.0, "SR picture", ""),
        (4.6, 2.0, "training:\nSR against HR", "04"),
        (6.2, 2.0, "ablation: the\nvalue of each part", "05"),
        (7.9, 2.0, "tilted kernels\nand noise", "07"),
        (7.9, 1.0, "real photographs", "08"),
        (6.2, 0.0, "the convolution,\nmade fast", "09"),
    )
    method = ((0, 1), (1, 2), (2, 4), (2, 3), (3, 4), (4, 5), (6, 4))
    arrows = (*method, (5, 7), (7, 8), (8, 9), (4, 10))
    return flow(boxes, arrows, (12, 3.6))


def da_convolution() -> Figure:
    """A DA convolution: two branches read R and act on F, their results are added (§3.2.2)."""
    boxes = (
        (-1.6, 1.5, "representation R\n(B, 64)", ""),
        (1.7, 3.0, "2 linear layers\n→ (B, 64, 3, 3)", "kernels"),
        (1.7, 2.0, "each channel with\nits own kernel", "depth-wise"),
        (3.4, 2.0, "mixes the channels", "LeakyReLU, 1×1"),
        (0.0, 1.5, "features F\n(B, 64, H, W)", ""),
        (1.7, 0.0, "2 linear layers, sigmoid\n→ (B, 64)", "coefficients"),
        (1.7, 1.0, "each channel times\nits coefficient", "modulation"),
        (3.4, 1.0, "sum (B, 64, H, W)", ""),
    )
    arrows = ((0, 1), (1, 2), (2, 3), (3, 7), (0, 5), (4, 2), (4, 6), (5, 6), (6, 7))
    return flow(boxes, arrows, (8.5, 4.5))
