"""§3.1 in pictures: kernels, spectra, downsampling, noise, and the bicubic table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from torch import Tensor

from dasrlib.plots.packed_images import unpacked
from dasrlib.plots.panels import mark, picture_grid
from dasrlib.plots.style import PALETTE, image_axes, leave_room


def _brightened(kernels: Tensor) -> Tensor:
    """Kernels (..., k, k), each divided by its own largest weight, as pictures."""
    return kernels / kernels.amax(dim=(-2, -1), keepdim=True)


def kernels(kernels: Tensor, labels: Sequence[str]) -> Figure:
    """Kernels (B, k, k) above, their middle rows on one scale below."""
    count, size = kernels.shape[:2]
    figure = plt.figure(figsize=(1.7 * count, 4.2))
    grid = figure.add_gridspec(2, count, height_ratios=[1.6, 2])
    middle = figure.add_subplot(grid[1, :])
    offsets = np.arange(size) - size // 2
    for i, (kernel, label) in enumerate(zip(kernels, labels, strict=True)):
        image_axes(figure.add_subplot(grid[0, i]), _brightened(kernel), label)
        middle.semilogy(offsets, kernel[size // 2].numpy(), "o-", ms=3, label=label)
    middle.set(xlim=(-size / 2, 0.8 * size), ylim=(1e-5, 2))
    middle.set(xlabel="HR pixels from the middle", ylabel="weight in the middle row")
    middle.legend(loc="upper right")
    return figure


def ellipses(
    kernels: Tensor, lambda1: Sequence[float], lambda2: Sequence[float], theta: Sequence[float]
) -> Figure:
    """Each kernel with the ellipse at twice its widths: axes λ1 (solid) and λ2 (dashed)."""
    figure, axes = picture_grid({"": _brightened(kernels)}, height=2.3)
    middle = kernels.shape[-1] // 2
    for ax, l1, l2, angle in zip(axes[0], lambda1, lambda2, theta, strict=True):
        degrees = math.degrees(angle)
        ax.set_title(f"λ1 {l1:g}, λ2 {l2:g}\nθ {degrees:.0f}°")
        # imshow's y axis points down, as θ counts: no sign to change.
        outline = Ellipse((middle, middle), 4 * l1, 4 * l2, angle=degrees)
        outline.set(fill=False, edgecolor=PALETTE[4])
        ax.add_patch(outline)
        for length, turn, style in ((l1, angle, "-"), (l2, angle + math.pi / 2, "--")):
            x, y = 2 * length * math.cos(turn), 2 * length * math.sin(turn)
            ax.plot([middle, middle + x], [middle, middle + y], style, color=PALETTE[5])
    return figure


def spectrum(picture: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes of a picture's Fourier transform, 0 in the middle, and their cycles per pixel."""
    grey = picture.detach().float().cpu().mean(0).numpy()
    h, w = grey.shape
    # A picture's opposite borders do not meet; the window keeps that jump out of the spectrum.
    window = np.hanning(h)[:, None] * np.hanning(w)[None, :]
    magnitude = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window)))
    fy, fx = np.fft.fftshift(np.fft.fftfreq(h)), np.fft.fftshift(np.fft.fftfreq(w))
    return magnitude, np.hypot(fy[:, None], fx[None, :])


def spectra(row: Mapping[str, Tensor], limit: float) -> Figure:
    """Pictures, their spectra, and the spectra averaged over directions; limit is marked."""
    figure = plt.figure(figsize=(1.9 * len(row) + 4.4, 4.2))
    grid = figure.add_gridspec(2, len(row) + 1, width_ratios=[*[1] * len(row), 2.3])
    averages = figure.add_subplot(grid[:, -1])
    edges = np.linspace(0, 0.5, 65)
    top = max(math.log10(spectrum(picture)[0].max()) for picture in row.values())
    for i, (label, picture) in enumerate(row.items()):
        magnitude, radius = spectrum(picture)
        image_axes(figure.add_subplot(grid[0, i]), picture, label)
        ax = figure.add_subplot(grid[1, i])
        ax.imshow(np.log10(magnitude + 1e-6), cmap="magma", vmin=top - 6, vmax=top,
                  extent=(-0.5, 0.5, 0.5, -0.5))  # fmt: skip
        ax.set(xticks=[-0.5, 0, 0.5], yticks=[] if i else [-0.5, 0, 0.5])
        square = plt.Rectangle((-limit, -limit), 2 * limit, 2 * limit)
        square.set(fill=False, edgecolor="white", linestyle=":")
        ax.add_patch(square)
        total, _ = np.histogram(radius, edges, weights=magnitude)
        averages.semilogy(edges[1:], total / np.histogram(radius, edges)[0], label=label)
    mark(averages, limit, f"{limit:g}")
    averages.set(xlabel="frequency, cycles per pixel", ylabel="mean magnitude")
    averages.legend()
    return figure


def sampled_wave(frequency: float, scale: int, length: int = 48) -> Figure:
    """A wave (cycles per HR pixel), every scale-th value of it, and the wave these lie on."""
    x = np.linspace(0, length, 1000)
    samples = np.arange(0, length + 1, scale)
    # In cycles per sample, a wave and the same wave plus a whole number of cycles look alike.
    cycles = frequency * scale
    alias = (cycles - round(cycles)) / scale
    figure, ax = plt.subplots(figsize=(9, 2.2))
    ax.plot(x, np.cos(2 * np.pi * frequency * x), color="0.6", label=f"HR: {frequency:g} cycles/px")
    ax.plot(x, np.cos(2 * np.pi * alias * x), "--", color=PALETTE[1],
            label=f"its alias: {abs(alias):g} cycles/px")  # fmt: skip
    ax.plot(samples, np.cos(2 * np.pi * frequency * samples), "o", color=PALETTE[0])
    ax.set(xlabel="HR pixels", yticks=[], ylim=(-1.2, 1.9))
    ax.legend(loc="upper right", ncols=2)
    return figure


def resize_weights(weights: Mapping[str, Tensor]) -> Figure:
    """For one output pixel each: its weights on a line of input pixels, (N,) under a title."""
    figure, axes = plt.subplots(1, len(weights), figsize=(3.4 * len(weights), 2.4), squeeze=False)
    for ax, (title, values) in zip(axes[0], weights.items(), strict=True):
        used = values.nonzero().flatten()
        ax.bar(used.numpy(), values[used].numpy())
        ax.axhline(0, color="0.3", lw=0.8)
        ax.set(title=title, xlabel="input pixel")
    axes[0, 0].set_ylabel("weight")
    return figure


def degraded_batch(hr: Tensor, kernels: Tensor, lr: Tensor, labels: Sequence[str]) -> Figure:
    """A batch, a column each: HR (B, 3, H, W), the kernel (k, k) under a label, LR."""
    rows = {"HR": hr, "kernel": _brightened(kernels), "LR": lr}
    figure, axes = picture_grid(rows, height=1.8)
    for ax, label in zip(axes[1], labels, strict=True):
        ax.set_title(label, fontsize=8)
    return figure


def degradation_space(kernels: Tensor, lambda1: Tensor, lambda2: Tensor, noise: Tensor) -> Figure:
    """Many drawn degradations: kernels of the first on the left, the widths of all on the right."""
    figure = plt.figure(figsize=(10, 3.2))
    parts: Any = figure.subfigures(1, 2, width_ratios=[2.2, 1])
    rows = _brightened(kernels[:24]).unflatten(0, (3, 8))
    picture_grid({" " * i: row for i, row in enumerate(rows)}, figure=parts[0])
    ax = parts[1].subplots()
    dots = ax.scatter(lambda1, lambda2, c=noise, s=12, cmap="viridis")
    ax.set(xlabel="λ1, HR pixels", ylabel="λ2, HR pixels", aspect="equal")
    parts[1].colorbar(dots, ax=ax, label="noise level", shrink=0.6)
    return figure


def degradation_steps(data: dict[str, Any]) -> Figure:
    """The degradation model step by step: HR, kernel, blurred, LR, and LR upsampled again.

    data: "scale"; "hr", a packed picture; "rows", each with "label", "kernel" (a list of rows),
    packed "blurred", "lr" and "enlarged", and "psnr_y" of the whole upsampled picture in dB.
    """
    hr, rows = unpacked(data["hr"]), data["rows"]
    titles = ["$I_{HR}$", "$k$", r"$I_{HR} \otimes k$", f"$I_{{LR}}$ (÷{data['scale']})", "bicubic"]
    grid = {}
    for row in rows:
        kernel = _brightened(torch.tensor(row["kernel"]))
        steps = (unpacked(row[step]) for step in ("blurred", "lr", "enlarged"))
        grid[row["label"]] = [hr, kernel, *steps]
    figure, axes = picture_grid(grid, titles, height=1.85)
    for ax, row in zip(axes[:, -1], rows, strict=True):
        ax.set_xlabel(f"{row['psnr_y']:.2f} dB")
    return leave_room(figure)


SOURCES: dict[str, dict[str, Any]] = {
    "printed": {"label": "printed in the paper", "color": PALETTE[1], "marker": "s", "ls": "--"},
    "reference": {"label": "released code", "color": PALETTE[0], "marker": "o", "ms": 9},
    "here": {"label": "measured here", "color": PALETTE[6], "marker": "x", "ls": "none"},
}


def bicubic_table(data: dict[str, Any]) -> Figure:
    """PSNR of bicubic upsampling over kernel widths: printed, reference, and measured here.

    data: "scale", and "sets", by name: "sigma" and the PSNRs in dB "here", and where there are any
    "printed" (in the paper) and "reference" (with the released degradation code).
    """
    sets = data["sets"]
    size = (4.4 * len(sets), 3.4)
    figure, axes = plt.subplots(1, len(sets), figsize=size, squeeze=False, sharey=True)
    for ax, (name, table) in zip(axes[0], sets.items(), strict=True):
        for source, style in SOURCES.items():
            if source in table:
                ax.plot(table["sigma"], table[source], **style)
        ax.set(title=f"{name}, ×{data['scale']}", xlabel="kernel width σ, HR pixels")
    axes[0, 0].set_ylabel("PSNR on Y, dB")
    axes[0, -1].legend()
    return leave_room(figure)
