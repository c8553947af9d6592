"""§3.1 in pictures: kernels, spectra, what reducing does, noise, and the bicubic table.

`packed` and `unpacked` carry small pictures through json; every other function draws.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image
from torch import Tensor

from dasrlib.degradation import Degradations
from dasrlib.plots.style import PALETTE, image_axes


def packed(picture: Tensor) -> str:
    """A picture (3, H, W) in [0, 1] as text that json can hold: an 8-bit PNG in base64."""
    levels = picture.detach().float().cpu().clamp(0, 1).mul(255).round().byte()
    png = io.BytesIO()
    Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy()).save(png, "PNG")
    return base64.b64encode(png.getvalue()).decode()


def unpacked(text: str) -> Tensor:
    """The picture (3, H, W) in [0, 1] that `packed` made text of."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as png:
        return torch.from_numpy(np.array(png)).permute(2, 0, 1).float() / 255


def pictures(row: Mapping[str, Tensor], notes: Sequence[str] = (), height: float = 2.4) -> Figure:
    """A row of pictures, all at one height, so that a small LR picture shows its pixels.

    row: title to picture, (3, H, W) or (H, W) in [0, 1]. notes: a line below each. height: inches.
    """
    shapes = [picture.shape for picture in row.values()]
    ratios = [shape[-1] / shape[-2] for shape in shapes]
    figure, axes = plt.subplots(
        1,
        len(row),
        figsize=(height * sum(ratios), height + 0.5),
        width_ratios=ratios,
        squeeze=False,
    )
    lines = [*notes, *[""] * (len(row) - len(notes))]
    for ax, (title, picture), note in zip(axes[0], row.items(), lines, strict=True):
        image_axes(ax, picture, title, note)
    return figure


def leave_room(figure: Figure) -> Figure:
    """The figure, with a line left free at the bottom for the name of the profile."""
    figure.supxlabel(" ", fontsize=7)
    return figure


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
        colour = PALETTE[0] if heading else "0.5"
        frame |= {"edgecolor": colour, "linewidth": 2 if heading else 1}
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


def kernel_axes(axes: Axes, kernel: Tensor, title: str = "") -> None:
    """A blur kernel (k, k) as a heat map; white is its own largest value, black is 0."""
    axes.imshow(kernel.numpy(), cmap="gray", vmin=0, vmax=float(kernel.max()))
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def kernels(kernels: Tensor, labels: Sequence[str]) -> Figure:
    """Kernels (B, k, k) above, their middle rows on one scale below."""
    count, size = kernels.shape[:2]
    figure = plt.figure(figsize=(1.7 * count, 4.2))
    grid = figure.add_gridspec(2, count, height_ratios=[1.6, 2])
    middle = figure.add_subplot(grid[1, :])
    offsets = np.arange(size) - size // 2
    for i, (kernel, label) in enumerate(zip(kernels, labels, strict=True)):
        kernel_axes(figure.add_subplot(grid[0, i]), kernel, label)
        middle.semilogy(offsets, kernel[size // 2].numpy(), marker="o", markersize=3, label=label)
    middle.set(xlim=(-size / 2, 0.8 * size), ylim=(1e-5, 2))
    middle.set_xlabel("HR pixels from the middle")
    middle.set_ylabel("weight in the middle row")
    middle.legend(frameon=False, loc="upper right")
    return figure


def ellipses(degradations: Degradations) -> Figure:
    """Each kernel with the ellipse of its covariance: the axes λ1 (solid) and λ2 (dashed)."""
    figure, axes = plt.subplots(
        1, len(degradations), figsize=(2.0 * len(degradations), 2.7), squeeze=False
    )
    parameters = zip(
        degradations.kernels,
        degradations.lambda1.tolist(),
        degradations.lambda2.tolist(),
        degradations.theta.tolist(),
        strict=True,
    )
    for ax, (kernel, l1, l2, theta) in zip(axes[0], parameters, strict=True):
        kernel_axes(ax, kernel, f"λ1 {l1:g}, λ2 {l2:g}\nθ {math.degrees(theta):.0f}°")
        middle = kernel.shape[-1] // 2
        # imshow's y axis points down, as θ counts: no sign to change.
        degrees = math.degrees(theta)
        for k in (1, 2):
            outline = Ellipse((middle, middle), 2 * k * l1, 2 * k * l2, angle=degrees)
            outline.set(fill=False, edgecolor=PALETTE[4], linewidth=1)
            ax.add_patch(outline)
        for length, angle, style in ((l1, theta, "-"), (l2, theta + math.pi / 2, "--")):
            x, y = 2 * length * math.cos(angle), 2 * length * math.sin(angle)
            ax.plot([middle, middle + x], [middle, middle + y], style, color=PALETTE[5])
    return figure


def radial_spectrum(picture: Tensor, bins: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """How strong each frequency is in a picture (3, H, W), averaged over all directions.

    Returns the frequencies in cycles per pixel, 0 to 0.5, and the mean magnitudes there.
    """
    magnitude, radius = spectrum(picture)
    edges = np.linspace(0, 0.5, bins + 1)
    which = np.digitize(radius.ravel(), edges) - 1
    inside = which < bins
    total = np.bincount(which[inside], magnitude.ravel()[inside], bins)
    count = np.bincount(which[inside], minlength=bins)
    filled = count > 0
    return ((edges[1:] + edges[:-1]) / 2)[filled], total[filled] / count[filled]


def spectrum(picture: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude of the 2-D Fourier transform of a picture (3, H, W), frequency 0 in the middle.

    Returns it and the frequencies in cycles per pixel, (H, W) each.
    """
    grey = picture.detach().float().cpu().mean(0).numpy()
    h, w = grey.shape
    # A picture's opposite borders do not meet; the window keeps that jump out of the spectrum.
    window = np.hanning(h)[:, None] * np.hanning(w)[None, :]
    magnitude = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window)))
    fy, fx = np.fft.fftshift(np.fft.fftfreq(h)), np.fft.fftshift(np.fft.fftfreq(w))
    return magnitude, np.hypot(fy[:, None], fx[None, :])


def spectra(row: Mapping[str, Tensor], limit: float | None = None) -> Figure:
    """Pictures of one size, their 2-D spectra, and the spectra averaged over directions.

    limit: a frequency to mark, in cycles per pixel, such as the highest that survives reducing.
    """
    figure = plt.figure(figsize=(1.9 * len(row) + 4.4, 4.2))
    grid = figure.add_gridspec(2, len(row) + 1, width_ratios=[*[1] * len(row), 2.3])
    curves = figure.add_subplot(grid[:, -1])
    top = max(math.log10(spectrum(picture)[0].max()) for picture in row.values())
    for i, (label, picture) in enumerate(row.items()):
        image_axes(figure.add_subplot(grid[0, i]), picture, label)
        ax = figure.add_subplot(grid[1, i])
        log = np.log10(spectrum(picture)[0] + 1e-6)
        ax.imshow(log, cmap="magma", vmin=top - 6, vmax=top, extent=(-0.5, 0.5, 0.5, -0.5))
        ax.set_aspect(picture.shape[-2] / picture.shape[-1])
        ax.set(xticks=[-0.5, 0, 0.5], yticks=[] if i else [-0.5, 0, 0.5])
        curves.semilogy(*radial_spectrum(picture), label=label)
        if limit is not None:
            square = [(-limit, -limit), (limit, -limit), (limit, limit), (-limit, limit)]
            ax.add_patch(plt.Polygon(square, fill=False, edgecolor="white", linestyle=":"))
    if limit is not None:
        curves.axvline(limit, color="0.4", linestyle=":")
        curves.text(limit, curves.get_ylim()[1], f" {limit:g}", va="top", color="0.4")
    curves.set(xlabel="frequency, cycles per pixel", ylabel="mean magnitude")
    curves.legend(frameon=False)
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
    ax.plot(
        x,
        np.cos(2 * np.pi * alias * x),
        color=PALETTE[1],
        linestyle="--",
        label=f"what the samples say: {abs(alias):g} cycles/px",
    )
    ax.plot(samples, np.cos(2 * np.pi * frequency * samples), "o", color=PALETTE[0])
    ax.set(xlabel="HR pixels", yticks=[], ylim=(-1.2, 1.9))
    ax.legend(frameon=False, loc="upper right", ncols=2)
    return figure


def resize_weights(weights: Mapping[str, Tensor]) -> Figure:
    """For one output pixel each: its weights on a line of input pixels, (N,) under a title."""
    figure, axes = plt.subplots(1, len(weights), figsize=(3.4 * len(weights), 2.4), squeeze=False)
    for ax, (title, values) in zip(axes[0], weights.items(), strict=True):
        used = values.nonzero().flatten()
        first, last = int(used.min()), int(used.max())
        ax.bar(np.arange(first, last + 1), values[first : last + 1].numpy(), color=PALETTE[0])
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set(title=title, xlabel="input pixel")
    axes[0, 0].set_ylabel("weight")
    return figure


def _numbers(degradations: Degradations, i: int) -> str:
    """The numbers of one degradation of a batch, in two lines."""
    l1, l2 = float(degradations.lambda1[i]), float(degradations.lambda2[i])
    noise = float(degradations.noise[i])
    below = f"noise {noise:.0f}" if noise else "no noise"
    if l1 == l2:
        return f"σ {l1:.1f}\n{below}"
    return f"λ {l1:.1f}, {l2:.1f}\n{math.degrees(float(degradations.theta[i])):.0f}°, {below}"


def degraded_batch(hr: Tensor, degradations: Degradations, lr: Tensor) -> Figure:
    """A batch, a column each: HR (B, 3, H, W), the kernel and its numbers, LR (B, 3, H/s, W/s)."""
    count = len(degradations)
    figure, axes = plt.subplots(
        3, count, figsize=(1.5 * count, 5), squeeze=False, height_ratios=[1, 0.8, 1]
    )
    for i in range(count):
        image_axes(axes[0, i], hr[i])
        kernel_axes(axes[1, i], degradations.kernels[i], _numbers(degradations, i))
        axes[1, i].title.set_fontsize(8)
        image_axes(axes[2, i], lr[i])
    for ax, name in zip(axes[:, 0], ("HR", "kernel", "LR"), strict=True):
        ax.set_ylabel(name)
    return figure


def degradation_space(degradations: Degradations, columns: int = 8) -> Figure:
    """Many drawn degradations: kernels of the first on the left, the widths of all on the right."""
    figure = plt.figure(figsize=(10, 3.2))
    parts: Any = figure.subfigures(1, 2, width_ratios=[2.2, 1])
    left, right = parts
    axes = left.subplots(3, columns)
    for ax, kernel in zip(axes.flat, degradations.kernels, strict=False):
        kernel_axes(ax, kernel)
    for ax in axes.flat[len(degradations) :]:
        ax.set_axis_off()
    ax = right.subplots()
    dots = ax.scatter(
        degradations.lambda1, degradations.lambda2, c=degradations.noise, s=12, cmap="viridis"
    )
    ax.set(xlabel="λ1, HR pixels", ylabel="λ2, HR pixels", aspect="equal")
    right.colorbar(dots, ax=ax, label="noise level", shrink=0.6)
    return figure


def degradation_steps(data: dict[str, Any]) -> Figure:
    """The degradation model step by step: HR, kernel, blurred, LR, and LR enlarged again.

    data: "scale"; "hr", a packed picture; "rows", each with "label", "kernel" (a list of rows),
    packed "blurred", "lr" and "enlarged", and "psnr_y" of the whole enlarged picture in dB.
    """
    hr, rows = unpacked(data["hr"]), data["rows"]
    titles = ["$I_{HR}$", "$k$", r"$I_{HR} \otimes k$", f"$I_{{LR}}$ (÷{data['scale']})", "bicubic"]
    figure, axes = plt.subplots(len(rows), 5, figsize=(9, 1.85 * len(rows) + 0.3), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        image_axes(line[0], hr)
        line[0].set_ylabel(row["label"])
        kernel_axes(line[1], torch.tensor(row["kernel"]))
        image_axes(line[2], unpacked(row["blurred"]))
        image_axes(line[3], unpacked(row["lr"]))
        image_axes(line[4], unpacked(row["enlarged"]), note=f"{row['psnr_y']:.2f} dB")
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    return leave_room(figure)


def bicubic_table(data: dict[str, Any]) -> Figure:
    """PSNR of plain bicubic enlargement over kernel widths: printed, reference, and measured here.

    data: "scale", and "sets", by name: "sigma" and the PSNRs in dB "here", and where there are any
    "printed" (in the paper) and "reference" (with the released degradation code).
    """
    sets = data["sets"]
    figure, axes = plt.subplots(
        1, len(sets), figsize=(4.4 * len(sets), 3.4), squeeze=False, sharey=True
    )
    labels = {
        "printed": "printed in the paper",
        "reference": "released code, reference",
        "here": "measured here",
    }
    styles: dict[str, dict[str, Any]] = {
        "printed": {"color": PALETTE[1], "marker": "s", "linestyle": "--"},
        "reference": {"color": PALETTE[0], "marker": "o", "markersize": 9},
        "here": {"color": PALETTE[6], "marker": "x", "linestyle": "none"},
    }
    for ax, (name, table) in zip(axes[0], sets.items(), strict=True):
        for source, style in styles.items():
            if source in table:
                ax.plot(table["sigma"], table[source], label=labels[source], **style)
        ax.set(title=f"{name}, ×{data['scale']}", xlabel="kernel width σ, HR pixels")
    axes[0, 0].set_ylabel("PSNR on Y, dB")
    axes[0, -1].legend(frameon=False)
    return leave_room(figure)
