"""§3.2.2 in pictures: one kernel per sample and channel, where it comes from, and a wrong one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib.plots.degradation import flow, leave_room, unpacked
from dasrlib.plots.style import PALETTE, image_axes


def diagram() -> Figure:
    """A DA convolution as a flow: two branches read R and act on F, their results are added."""
    boxes = (
        (0.0, 2.0, "representation R\n(B, 64)", ""),
        (1.7, 2.0, "2 linear layers\n→ (B, 64, 3, 3)", "kernels"),
        (3.4, 2.0, "2 linear layers, sigmoid\n→ (B, 64)", "coefficients"),
        (0.0, 1.0, "features F\n(B, 64, H, W)", ""),
        (1.7, 1.0, "each channel with\nits own kernel", "depth-wise"),
        (3.4, 1.0, "each channel times\nits coefficient", "modulation"),
        (1.7, -0.4, "mixes the channels", "LeakyReLU, 1×1"),
        (3.4, -0.4, "sum (B, 64, H, W)", ""),
    )
    # R goes round to the second branch along the top, F below: the bent ways are drawn as two.
    arrows = ((0, 1), (1, 4), (2, 5), (3, 4), (4, 6), (6, 7), (5, 7))
    figure = flow(boxes, arrows, (8.5, 4.5))
    ax = figure.axes[0]
    ax.set_ylim(-0.8, 2.85)
    for y, bend in ((2.0, -0.32), (1.0, 0.32)):
        way = {"arrowstyle": "->", "color": "0.3", "shrinkA": 42, "shrinkB": 52}
        ax.annotate(
            "",
            (3.4, y),
            (0.0, y),
            arrowprops={**way, "connectionstyle": f"arc3,rad={bend}"},
        )
    return figure


def number_axes(axes: Axes, grid: Tensor, title: str = "", colour: str = PALETTE[0]) -> None:
    """A small matrix (H, W) with its numbers written in the cells, framed in a colour."""
    h, w = grid.shape
    limit = max(float(grid.abs().max()), 1e-9) * 2  # pale, so that the numbers can be read
    axes.imshow(grid.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    for y in range(h):
        for x in range(w):
            text = f"{float(grid[y, x]):.2f}".rstrip("0").rstrip(".")
            axes.text(x, y, text, ha="center", va="center", fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, edgecolor=colour, linewidth=2)


def signed_axes(axes: Axes, grid: Tensor, limit: float, title: str = "", note: str = "") -> None:
    """Values (H, W) of both signs: red above 0, white at 0, blue below, full at ±limit."""
    axes.imshow(grid.detach().float().numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(note, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def worked_example(features: Tensor, kernels: Tensor, out: Tensor) -> Figure:
    """Features (B, C, H, W), kernels (B, C, k, k) and what comes out, every number written down.

    A row per channel; sample after sample from left to right, each in its own colour.
    """
    b, c = features.shape[:2]
    figure, axes = plt.subplots(c, 3 * b, figsize=(5.4 * b, 2.1 * c), squeeze=False)
    for i in range(b):
        for j in range(c):
            where = f"sample {i}, channel {j}"
            grids = (features[i, j], kernels[i, j], out[i, j])
            titles = (f"F: {where}", "its kernel", "out")
            for ax, grid, title in zip(axes[j, 3 * i : 3 * i + 3], grids, titles, strict=True):
                number_axes(ax, grid, title, PALETTE[i])
    return figure


def folding(features: Tensor, kernels: Tensor, out: Tensor) -> Figure:
    """The batch laid out as one picture of B·C channels: features, kernels and output per group."""
    b, c = features.shape[:2]
    figure, axes = plt.subplots(
        3, b * c, figsize=(1.6 * b * c, 4.2), squeeze=False, height_ratios=[1, 0.75, 1]
    )
    for group in range(b * c):
        i, j = divmod(group, c)
        top, middle, bottom = axes[:, group]
        image_axes(top, features[i, j], f"group {group}\nsample {i}, channel {j}")
        top.title.set(fontsize=8, color=PALETTE[i])
        number_axes(middle, kernels[i, j], colour=PALETTE[i])
        image_axes(bottom, out[i, j])
    for ax, name in zip(axes[:, 0], ("F", "kernel", "out"), strict=True):
        ax.set_ylabel(name)
    return figure


def costs(counts: Mapping[str, int], what: str) -> Figure:
    """Numbers of something, by label, as bars on a logarithmic axis."""
    figure, ax = plt.subplots(figsize=(8, 0.45 * len(counts) + 0.9))
    bars = ax.barh(list(counts), list(counts.values()), color=PALETTE[0], log=True)
    ax.bar_label(bars, [f"{count:,}" for count in counts.values()], padding=4)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.set_xlabel(what)
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
        image_axes(row[-1], pictures[i])
        row[-1].set_title("picture, kernel of channel 0", fontsize=9)
    return figure


def modulation(features: Tensor, coefficients: Tensor) -> Figure:
    """Channels (C, H, W) above, and below the same times their coefficients (C,)."""
    count = len(coefficients)
    figure, axes = plt.subplots(2, count, figsize=(1.8 * count, 4.2), squeeze=False)
    limit = float(features.abs().max()) * 0.7
    for j in range(count):
        v = float(coefficients[j])
        signed_axes(axes[0, j], features[j], limit, f"channel {j}")
        signed_axes(axes[1, j], features[j] * v, limit, f"× {v:.2f}")
    axes[0, 0].set_ylabel("F")
    axes[1, 0].set_ylabel("F · v")
    return figure


def predicted_kernels(kernels: Tensor, labels: Sequence[str], channels: Sequence[int]) -> Figure:
    """Kernels (N, C, k, k) of N representations, a row each; a colour scale per channel."""
    figure, axes = plt.subplots(
        len(labels),
        len(channels),
        figsize=(1.05 * len(channels) + 0.6, 1.1 * len(labels) + 0.5),
        squeeze=False,
    )
    _kernel_grid(axes, kernels[:, list(channels)], labels, channels)
    return figure


def _kernel_grid(
    axes: Any, kernels: Tensor, labels: Sequence[str], channels: Sequence[int]
) -> None:
    for j, channel in enumerate(channels):
        limit = max(float(kernels[:, j].abs().max()), 1e-9)
        for i in range(len(labels)):
            signed_axes(axes[i, j], kernels[i, j], limit, "" if i else f"ch {channel}")
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)


def coefficients(values: Tensor, labels: Sequence[str]) -> Figure:
    """Modulation coefficients (N, C) of N representations, channels sorted by the first one's."""
    order = values[0].argsort()
    figure, ax = plt.subplots(figsize=(8, 2.8))
    for line, label in zip(values, labels, strict=True):
        ax.plot(line[order].numpy(), marker="o", markersize=3, linewidth=1, label=label)
    ax.set(xlabel=f"channel, sorted by {labels[0]}", ylabel="coefficient v")
    ax.legend(frameon=False, ncols=len(labels), loc="upper left")
    return figure


def change_by_layer(changes: Mapping[str, Sequence[float]]) -> Figure:
    """One number per DA convolution, first to last, by what was changed."""
    figure, ax = plt.subplots(figsize=(8, 2.6))
    for i, (label, values) in enumerate(changes.items()):
        places = [x + 0.4 * i - 0.2 for x in range(1, len(values) + 1)]
        ax.bar(places, values, width=0.38, label=label)
    ax.set(xlabel="DA convolution, first to last", ylabel="relative change of kernels")
    ax.set_xticks(range(1, 1 + max(len(values) for values in changes.values())))
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(changes))
    return figure


def _matrix(axes: Axes, values: Tensor, widths: Sequence[float], title: str, cmap: str) -> None:
    """Numbers by true width (rows) and told width (columns), written in the cells."""
    axes.imshow(values.numpy(), cmap=cmap)
    dark = values < (values.min() + values.max()) / 2
    for y in range(len(widths)):
        for x in range(len(widths)):
            text = f"{float(values[y, x]):.2f}"
            colour = "white" if dark[y, x] else "black"
            axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=9)
    names = [f"{width:g}" for width in widths]
    axes.set_xticks(range(len(widths)), names)
    axes.set_yticks(range(len(widths)), names)
    axes.set(title=title, xlabel="told σ", ylabel="true σ")
    axes.spines[:].set_visible(False)


def mismatch_matrices(widths: Sequence[float], psnr: Tensor, sharpness: Tensor) -> Figure:
    """PSNR and sharpness, (N, N) each, over the true width (rows) and the told one (columns)."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.9))
    _matrix(axes[0], psnr, widths, "PSNR on Y, dB", "cividis")
    _matrix(axes[1], sharpness, widths, "gradients, SR over HR", "cividis")
    return figure


def kernel_mismatch(data: dict[str, Any]) -> Figure:
    """Kernels that change with the degradation, and what a wrong representation does.

    data: "widths" of "kernels", [width][channel][row][column], of the "channels" shown; "matrix",
    with "widths" and PSNR "psnr_y" by true and told width; "crops", four, true width by told
    width, each with "title", a packed "picture" and "psnr_y" in dB.
    """
    figure = plt.figure(figsize=(11.5, 4.3))
    parts: Any = figure.subfigures(1, 3, width_ratios=[1.15, 1, 1])
    left, middle, right = parts
    kernels = torch.tensor(data["kernels"])
    labels = [f"σ {width:g}" for width in data["widths"]]
    axes = left.subplots(len(labels), len(data["channels"]), squeeze=False)
    _kernel_grid(axes, kernels, labels, data["channels"])
    left.suptitle("predicted kernels", fontsize=10)
    matrix = data["matrix"]
    _matrix(
        middle.subplots(),
        torch.tensor(matrix["psnr_y"]),
        matrix["widths"],
        "PSNR on Y, dB",
        "cividis",
    )
    for ax, crop in zip(right.subplots(2, 2).flat, data["crops"], strict=True):
        title = f"{crop['title']}\n{crop['psnr_y']:.2f} dB"
        image_axes(ax, unpacked(crop["picture"]), title)
        ax.title.set_fontsize(9)
    return leave_room(figure)
