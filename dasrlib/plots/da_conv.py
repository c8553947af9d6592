"""§3.2.2 in pictures: one kernel per sample and channel, where it comes from, and a wrong one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from torch import Tensor

from dasrlib.plots.packed_images import unpacked
from dasrlib.plots.panels import heat_map, number_axes, picture_grid, signed
from dasrlib.plots.style import PALETTE, image_axes, leave_room


def worked_example(features: Tensor, kernels: Tensor, out: Tensor) -> Figure:
    """Features (B, C, H, W), kernels (B, C, k, k) and the output, every number written down.

    A row per channel; sample after sample from left to right, each in its own colour.
    """
    b, c = features.shape[:2]
    figure, axes = plt.subplots(c, 3 * b, figsize=(5.4 * b, 2.1 * c), squeeze=False)
    for i in range(b):
        for j in range(c):
            left, middle, right = axes[j, 3 * i : 3 * i + 3]
            number_axes(left, features[i, j], f"F: sample {i}, channel {j}", PALETTE[i])
            number_axes(middle, kernels[i, j], "its kernel", PALETTE[i])
            number_axes(right, out[i, j], "out", PALETTE[i])
    return figure


def folding(features: Tensor, kernels: Tensor, out: Tensor) -> Figure:
    """The batch laid out as one picture of B·C channels: features, kernels and output per group."""
    b, c = features.shape[:2]
    figure, axes = plt.subplots(3, b * c, figsize=(1.6 * b * c, 4.8), squeeze=False)
    for group, (top, middle, bottom) in enumerate(axes.T):
        i, j = divmod(group, c)
        image_axes(top, features[i, j])
        top.set_title(f"group {group}\nsample {i}, channel {j}", fontsize=8, color=PALETTE[i])
        number_axes(middle, kernels[i, j], colour=PALETTE[i])
        image_axes(bottom, out[i, j])
    for ax, name in zip(axes[:, 0], ("F", "kernel", "out"), strict=True):
        ax.set_ylabel(name)
    return figure


def from_representation(r: Tensor, hidden: Tensor, kernels: Tensor, pictures: Tensor) -> Figure:
    """A row each: R (N, d), the hidden vector (N, d), kernels (N, C, 3, 3), a picture (N, H, W)."""
    count, c = kernels.shape[:2]
    figure, axes = plt.subplots(count, c + 3, figsize=(2.0 * (c + 3), 1.9 * count), squeeze=False)
    for i, row in enumerate(axes):
        number_axes(row[0], r[i][:, None], "R")
        number_axes(row[1], hidden[i][:, None], "after LeakyReLU")
        for j in range(c):
            number_axes(row[2 + j], kernels[i, j], f"kernel of channel {j}", PALETTE[1])
        image_axes(row[-1], pictures[i], "after the kernel of channel 0")
    return figure


def modulation(features: Tensor, coefficients: Tensor) -> Figure:
    """Channels (C, H, W) above, and below the same times their coefficients (C,)."""
    limit = float(features.abs().max()) * 0.7
    times = features * coefficients[:, None, None]
    rows = {"F": [signed(f, limit) for f in features], "F · v": [signed(f, limit) for f in times]}
    titles = [f"channel {j}" for j in range(len(features))]
    figure, axes = picture_grid(rows, titles, height=1.9)
    for ax, v in zip(axes[1], coefficients.tolist(), strict=True):
        ax.set_title(f"× {v:.2f}")
    return figure


def predicted_kernels(
    kernels: Tensor,
    labels: Sequence[str],
    channels: Sequence[int],
    figure: FigureBase | None = None,
) -> Figure:
    """Kernels (N, C, k, k) of N representations, a row each; a colour scale per channel.

    channels: the numbers of the C channels. figure: where to draw, a new figure for None.
    """
    limits = kernels.abs().amax(dim=(0, 2, 3)).clamp(min=1e-9).tolist()
    rows = {
        label: [signed(kernel, limit) for kernel, limit in zip(row, limits, strict=True)]
        for label, row in zip(labels, kernels, strict=True)
    }
    return picture_grid(rows, [f"ch {channel}" for channel in channels], 1.1, figure)[0]


def change_by_layer(changes: Mapping[str, Sequence[float]]) -> Figure:
    """One number per DA convolution, first to last, by what was changed."""
    figure, ax = plt.subplots(figsize=(8, 2.6))
    for i, (label, values) in enumerate(changes.items()):
        places = range(1, len(values) + 1)
        ax.bar([place + 0.4 * i - 0.2 for place in places], values, width=0.38, label=label)
    ax.set(xlabel="DA convolution, first to last", ylabel="relative change of kernels")
    ax.set_xticks(places)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(changes))
    return figure


def _matrix(ax: Axes, values: Any, widths: Sequence[float], title: str) -> None:
    """Numbers by true width (rows) and assumed width (columns), written in the cells."""
    heat_map(ax, values)
    names = [f"{width:g}" for width in widths]
    ax.set_xticks(range(len(widths)), names)
    ax.set_yticks(range(len(widths)), names)
    ax.set(title=title, xlabel="assumed σ", ylabel="true σ")


def mismatch_matrices(widths: Sequence[float], psnr: Tensor, sharpness: Tensor) -> Figure:
    """PSNR and sharpness, (N, N) each, over the true width (rows) and the assumed (columns)."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.9))
    _matrix(axes[0], psnr, widths, "PSNR on Y, dB")
    _matrix(axes[1], sharpness, widths, "gradients, SR over HR")
    return figure


def kernel_mismatch(data: dict[str, Any]) -> Figure:
    """Kernels that change with the degradation, and the effect of a wrong representation.

    data: "widths" of "kernels", [width][channel][row][column], of the "channels" shown; "matrix",
    with "widths" and PSNR "psnr_y" by true and assumed width; "crops", four, true by assumed
    width, each with "title", a packed "picture" and "psnr_y" in dB.
    """
    figure = plt.figure(figsize=(11.5, 4.3))
    parts: Any = figure.subfigures(1, 3, width_ratios=[1.15, 1, 1])
    left, middle, right = parts
    labels = [f"σ {width:g}" for width in data["widths"]]
    predicted_kernels(torch.tensor(data["kernels"]), labels, data["channels"], left)
    left.suptitle("predicted kernels", fontsize=10)
    matrix = data["matrix"]
    _matrix(middle.subplots(), matrix["psnr_y"], matrix["widths"], "PSNR on Y, dB")
    for ax, crop in zip(right.subplots(2, 2).flat, data["crops"], strict=True):
        title = f"{crop['title']}\n{crop['psnr_y']:.2f} dB"
        image_axes(ax, unpacked(crop["picture"]), title)
        ax.title.set_fontsize(9)
    return leave_room(figure)
