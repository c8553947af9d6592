"""The figures of §4.4: real photographs, degradations beyond the training, two in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from dasrlib.plots.packed_images import unpacked
from dasrlib.plots.panels import picture_grid
from dasrlib.plots.style import MARKERS, PALETTE, image_axes, leave_room
from dasrlib.resampling import resize_bicubic

NETWORKS = {  # title, colour and marker in these figures
    "bicubic": ("bicubic", "0.4", "x"),
    "laptop/model4-x4-iso": ("isotropic", PALETTE[0], "D"),
    "laptop/model4-x4-aniso": ("anisotropic, noise", PALETTE[1], "s"),
    "laptop/photo-x4": ("anisotropic, noise, JPEG", PALETTE[2], "o"),
}
SHADE = "#f2e6c9"  # what was in the training


def contact_sheet(data: dict[str, Any]) -> Figure:
    """A detail of every photograph: bicubic, SR, and the nearest known degradation (§4.4).

    data: reader, a network's name; photographs, each with name, packed lr and sr by network,
    nearest, in words, and ratio, the nearest distance over the next.
    """
    photographs = data["photographs"]
    figure, axes = plt.subplots(-(-len(photographs) // 4), 4, figsize=(9, 7.8))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, found in zip(axes.flat, photographs, strict=False):
        sr = unpacked(found["sr"][data["reader"]])
        lr = unpacked(found["lr"])
        plain = resize_bicubic(lr[None], sr.shape[-1] // lr.shape[-1])[0]
        ax.set_axis_on()
        image_axes(ax, torch.cat([plain, torch.ones(3, sr.shape[1], 4), sr], dim=2), found["name"])
        note = f"{found['nearest']} ({found['ratio']:.2f})"
        ax.set_xlabel(note, fontsize=7)
    return leave_room(figure)


def large_crops(data: dict[str, Any]) -> Figure:
    """Large details of photographs: LR, bicubic, and SR by each network, a row each (§4.4).

    data: photographs, each with name, packed lr, and sr, packed by network.
    """
    grid = {}
    for found in data["photographs"]:
        lr, sr = unpacked(found["lr"]), [unpacked(text) for text in found["sr"].values()]
        grid[found["name"]] = [
            lr,
            resize_bicubic(lr[None], sr[0].shape[-1] // lr.shape[-1])[0],
            *sr,
        ]
    names = [NETWORKS[name][0] for name in data["photographs"][0]["sr"]]
    figure, _ = picture_grid(grid, ["LR", "bicubic", *names], height=1.7)
    return leave_room(figure)


def unseen(data: dict[str, Any]) -> Figure:
    """PSNR over kernel widths and noise levels, the trained range shaded (supplement).

    data: dataset; width and noise, each with rows (system, value, picture: dB) and the largest
    trained value; sigma, of the noisy pictures.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8))
    for ax, axis in zip(axes, ("width", "noise"), strict=True):
        rows, trained = data[axis]["rows"], data[axis]["trained"]
        values = [float(value) for value in rows["bicubic"]]
        ax.axvspan(min(values), trained, color=SHADE, label="in the training")
        for system, table in rows.items():
            title, colour, marker = NETWORKS[system]
            means = [fmean(pictures.values()) for pictures in table.values()]
            ax.plot(values, means, marker=marker, color=colour, label=title)
        ax.set_xticks(values)
        ax.set(ylabel="PSNR-Y, dB")
    axes[0].set(xlabel="kernel width σ, HR pixels", title=f"{data['dataset']} ×4, no noise")
    axes[1].set(xlabel="noise level, of 255", title=f"{data['dataset']} ×4, σ = {data['sigma']:g}")
    axes[0].legend(fontsize=8)
    return leave_room(figure)


def two_degradations(data: dict[str, Any]) -> Figure:
    """Where one picture has two degradations: maps of the width that is read off each patch,
    cosines of pairs, and PSNR by whose representation is used (§4.4).

    data: widths, left and right; maps, each with picture, shown (packed), network, r2 and widths
    (rows of columns); cosines by kind of pair; halves, by picture and half, dB by source.
    """
    figure = plt.figure(figsize=(12, 7.4))
    axes = figure.subplots(2, 3, width_ratios=(1, 1.15, 1.1))
    for (left, right, _), found in zip(axes, data["maps"], strict=True):
        image_axes(left, unpacked(found["shown"]), found["picture"])
        network = NETWORKS[found["network"]][0]
        width_map(right, found["widths"])
        right.set_title(f"σ read off each patch\n{network} (R² {found['r2']:.2f})")
        figure.colorbar(right.images[0], ax=right, label="σ, HR pixels", shrink=0.8)
    _cosines(axes[0, 2], data["cosines"])
    _halves(axes[1, 2], data["halves"], data["widths"])
    return leave_room(figure)


def width_map(ax: Any, widths: Sequence[Sequence[float]]) -> None:
    """Kernel widths, rows of columns, as colours on axes without ticks."""
    ax.imshow(np.asarray(widths), cmap="viridis", vmin=0, vmax=4)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _cosines(ax: Any, cosines: Mapping[str, Sequence[float]]) -> None:
    places = range(len(cosines))
    for place, (values, colour) in enumerate(zip(cosines.values(), PALETTE, strict=False)):
        spread = np.linspace(-0.25, 0.25, len(values))
        ax.plot(values, place + spread, "o", ms=4, color=colour, alpha=0.8)
        ax.plot([np.median(values)] * 2, [place - 0.4, place + 0.4], color="black", lw=2)
    ax.set_yticks(places, [kind.replace(", ", ",\n") for kind in cosines], fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="cosine of the two embeddings", title="pairs of patches (line: median)")


def _halves(
    ax: Any, halves: Mapping[str, Mapping[str, Mapping[str, float]]], widths: Sequence[float]
) -> None:
    sources = {"own": "its own half", "whole": "the whole picture", "other": "the other half"}
    for place, (source, title) in enumerate(sources.items()):
        means = [fmean(p[half][source] for p in halves.values()) for half in ("left", "right")]
        at = np.arange(2) + 0.25 * (place - 1)
        ax.plot(at, means, MARKERS[place], ms=9, color=PALETTE[place], label=title)
        for x, value in zip(at, means, strict=True):
            ax.annotate(f"{value:.1f}", (x, value), (0, 8), textcoords="offset points", ha="center")
    ax.set_xticks(range(2), [f"σ = {width:g}" for width in widths])
    ax.margins(x=0.2, y=0.2)
    ax.set(ylabel="PSNR-Y of the half, dB", title="restored with the representation of")
    ax.legend(fontsize=8)
