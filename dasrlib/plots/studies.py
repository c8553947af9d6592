"""The figures of §4.2's studies: the content study, kernel mismatch, representation and PSNR."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dasrlib.plots.style import PALETTE, image_axes
from dasrlib.records.run_record import mean_of
from dasrlib.systems import ABLATION, SYSTEMS


def _write_cells(ax: Axes, values: np.ndarray, digits: int, dark: np.ndarray) -> None:
    """Each value in its cell of a heat map, in white where the cell is dark."""
    for i, j in np.ndindex(*values.shape):
        number = round(float(values[i, j]), digits) + 0  # not −0
        ax.text(j, i, f"{number:.{digits}f}", ha="center", va="center", fontsize=7,
                color="white" if dark[i, j] else "0.2")  # fmt: skip


def content_study(data: dict[str, Any]) -> Figure:
    """The matrix of the content study: what another picture's representation costs (§4.2).

    data: names, N pictures; costs, N rows of N numbers in dB; width, of the kernel; dataset;
    model.
    """
    costs = np.asarray(data["costs"])
    n = len(costs)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), width_ratios=(1.25, 1))
    reach = max(0.1, float(np.abs(costs).max()))
    shown = left.imshow(costs, cmap="RdBu_r", vmin=-reach, vmax=reach)
    _write_cells(left, costs, 2, np.abs(costs) > 0.6 * reach)
    left.set_xticks(range(n), data["names"], rotation=60, ha="right", fontsize=8)
    left.set_yticks(range(n), data["names"], fontsize=8)
    left.spines[:].set_visible(False)
    left.set(xlabel="representation taken from", ylabel="picture restored")
    left.set_title(f"PSNR lost, dB ({data['model']}, σ = {data['width']:g})")
    figure.colorbar(shown, ax=left, shrink=0.8)

    others = np.sort(costs[~np.eye(n, dtype=bool)])
    right.axvline(0, color="0.3", lw=1)
    right.hist(others, bins=min(30, 3 * n), color=PALETTE[0])
    for value, name, style in (
        (float(np.median(others)), "median", "-"),
        (float(others.mean()), "mean", "--"),
    ):
        right.axvline(value, color=PALETTE[1], ls=style, label=f"{name} {value:+.3f} dB")
    right.set(xlabel="PSNR lost, dB", ylabel="pairs of pictures")
    right.set_title(f"the {len(others)} pairs of different pictures of {data['dataset']}")
    right.legend(frameon=False)
    return figure


def kernel_mismatch(data: dict[str, Any]) -> Figure:
    """What a network loses where it assumes a wrong kernel width, a heat map a model (§4.2).

    data: dataset; true and assumed, widths σ in HR pixels; psnr, by model's title, rows (true) of
    columns (assumed) in dB. Every row is drawn against its own right answer.
    """
    true, assumed = data["true"], data["assumed"]
    figure, axes = plt.subplots(
        1, len(data["psnr"]), figsize=(5.4 * len(data["psnr"]), 4.6), squeeze=False
    )
    for ax, (name, rows) in zip(axes[0], data["psnr"].items(), strict=True):
        psnr = np.asarray(rows)
        own = np.array([psnr[i, assumed.index(width)] for i, width in enumerate(true)])
        loss = own[:, None] - psnr
        shown = ax.imshow(loss, cmap="magma_r", vmin=0, origin="lower")
        _write_cells(ax, loss, 1, loss > 0.6 * loss.max())
        for i, width in enumerate(true):
            corner = (assumed.index(width) - 0.5, i - 0.5)
            ax.add_patch(plt.Rectangle(corner, 1, 1, fill=False, ec=PALETTE[0], lw=2))
        ax.set_xticks(range(len(assumed)), [f"{width:g}" for width in assumed])
        ax.set_yticks(range(len(true)), [f"{width:g}" for width in true])
        ax.spines[:].set_visible(False)
        ax.set(xlabel="σ assumed", ylabel="σ true", title=f"{name}: dB lost")
        figure.colorbar(shown, ax=ax, shrink=0.8)
    figure.supxlabel(f"mean over {data['dataset']}; boxed: assumed = true", fontsize=8)
    return figure


def kernel_mismatch_crops(data: dict[str, Any]) -> Figure:
    """One blurred picture, restored with the representations of several widths (§4.2).

    data: hr, a tensor (3, h, w); true, the width σ; crops, by assumed width, tensors (3, h, w);
    psnr, by assumed width, dB of the whole picture.
    """
    figure, axes = plt.subplots(
        1, 1 + len(data["crops"]), figsize=(2.4 * (1 + len(data["crops"])), 2.9)
    )
    image_axes(axes[0], data["hr"], "HR")
    for ax, (width, crop) in zip(axes[1:], data["crops"].items(), strict=True):
        right = float(width) == data["true"]
        title = f"assumed σ = {width}" + (" (true)" if right else "")
        image_axes(ax, crop, title, f"{data['psnr'][width]:.2f} dB")
    return figure


def representation_value(data: dict[str, Any]) -> Figure:
    """What a good representation is worth to the SR network: every training of every blind model,
    under two ways to teach the encoder (§4.2).

    data: dataset, probed; recipes, by name, the runs of studies.ablation.AblationData as json.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1.3, 1))
    looks = {"filled": "full", "hollow": "none"}
    blind = [
        (run, look)
        for runs, look in zip(data["recipes"].values(), looks.values(), strict=True)
        for run in runs
        if run["read"] is not None
    ]
    for run, look in blind:
        row = SYSTEMS[run["model"]]
        left.plot(
            100 * run["read"]["knn"], mean_of(run["psnr"]), row.marker, ms=8, fillstyle=look,
            color=row.colour,
        )  # fmt: skip
    models = [m for m in ABLATION if any(run["model"] == m for run, _ in blind)]
    for row in map(SYSTEMS.__getitem__, models):
        left.plot([], [], row.marker, color=row.colour, label=row.short)
    for (name, look), recipe in zip(looks.items(), data["recipes"], strict=True):
        left.plot([], [], "o", color="0.4", fillstyle=look, label=f"{name}: {recipe}")
    left.axvline(25, color="0.3", ls="--", lw=1)
    left.text(25, 0.02, " chance", transform=left.get_xaxis_transform(), fontsize=8, color="0.3")
    left.set_xlim(0, 102)
    left.set(xlabel=f"four widths told apart on {data['probed']}, k-NN, %",
             ylabel=f"PSNR-Y on {data['dataset']}, mean, dB")  # fmt: skip
    left.legend(frameon=False, fontsize=8, loc="upper center")

    good, poor = (
        {(run["model"], run["seed"]): run["psnr"] for run in runs}
        for runs in data["recipes"].values()
    )
    right.axhline(0, color="0.3", lw=1)
    for model in models:
        pairs = [(psnr, poor[key]) for key, psnr in good.items() if key[0] == model and key in poor]
        if pairs:
            row, count = SYSTEMS[model], f"{len(pairs)} seed{'s' if len(pairs) > 1 else ''}"
            gains = np.mean([np.subtract(a, b)[:, 1] for a, b in pairs], axis=0)
            widths = [width for width, _ in pairs[0][0]]
            right.plot(widths, gains, f"{row.marker}-", color=row.colour,
                       label=f"{row.short}, {count}")  # fmt: skip
            right.set_xticks(widths)
    first, second = data["recipes"]
    right.set_title(f"{first} − {second}", fontsize=10)
    right.set(xlabel="kernel width σ, HR pixels", ylabel="difference of PSNR-Y, dB")
    right.legend(frameon=False, fontsize=8)
    figure.supxlabel(" ", fontsize=7)  # room for the mark of the profile
    return figure
