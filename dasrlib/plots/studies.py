"""The figures of §4.2's studies: the content study, kernel mismatch, representation and PSNR."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from dasrlib.plots.panels import heat_map, mark, pictures
from dasrlib.plots.style import PALETTE, leave_room
from dasrlib.records.run_record import mean_of
from dasrlib.systems import SYSTEMS


def _rounded(values: np.ndarray, digits: int) -> list[list[str]]:
    return [[f"{v:.{digits}f}" for v in row] for row in values.round(digits) + 0]  # not −0


def content_study(data: dict[str, Any]) -> Figure:
    """The matrix of the content study: what another picture's representation costs (§4.2).

    data: names, N pictures; costs, N rows of N numbers in dB; width, of the kernel; dataset;
    model.
    """
    costs = np.asarray(data["costs"])
    n = len(costs)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), width_ratios=(1.25, 1))
    reach = max(0.1, float(np.abs(costs).max()))
    heat_map(left, costs, _rounded(costs, 2), cmap="RdBu_r", vmin=-reach, vmax=reach)
    left.set_xticks(range(n), data["names"], rotation=60, ha="right", fontsize=8)
    left.set_yticks(range(n), data["names"], fontsize=8)
    left.set(xlabel="representation taken from", ylabel="picture restored")
    left.set_title(f"PSNR lost, dB ({data['model']}, σ = {data['width']:g})")
    figure.colorbar(left.images[0], ax=left, shrink=0.8)

    others = np.sort(costs[~np.eye(n, dtype=bool)])
    right.axvline(0, color="0.3", lw=1)
    right.hist(others, bins=min(30, 3 * n), color=PALETTE[0])
    for value, name, style in ((np.median(others), "median", "-"), (others.mean(), "mean", "--")):
        right.axvline(value, color=PALETTE[1], ls=style, label=f"{name} {value:+.3f} dB")
    right.set(xlabel="PSNR lost, dB", ylabel="pairs of pictures")
    right.set_title(f"the {len(others)} pairs of different pictures of {data['dataset']}")
    right.legend()
    return figure


def kernel_mismatch(data: dict[str, Any]) -> Figure:
    """What a network loses where it assumes a wrong kernel width, a heat map a model (§4.2).

    data: dataset; true and assumed, widths σ in HR pixels; psnr, by model's title, rows (true) of
    columns (assumed) in dB. The loss in a row is against the one that assumes the true width.
    """
    true, assumed, count = data["true"], data["assumed"], len(data["psnr"])
    figure, axes = plt.subplots(1, count, figsize=(5.4 * count, 4.6), squeeze=False)
    own = [assumed.index(width) for width in true]
    for ax, (name, rows) in zip(axes[0], data["psnr"].items(), strict=True):
        psnr = np.asarray(rows)
        loss = psnr[range(len(true)), own][:, None] - psnr
        heat_map(ax, loss, _rounded(loss, 1), cmap="magma_r", vmin=0)
        for row, column in enumerate(own):
            corner = (column - 0.5, row - 0.5)
            ax.add_patch(plt.Rectangle(corner, 1, 1, fill=False, ec=PALETTE[0], lw=2))
        ax.set_xticks(range(len(assumed)), [f"{width:g}" for width in assumed])
        ax.set_yticks(range(len(true)), [f"{width:g}" for width in true])
        ax.set(xlabel="σ assumed", ylabel="σ true", title=f"{name}: dB lost")
        ax.invert_yaxis()
        figure.colorbar(ax.images[0], ax=ax, shrink=0.8)
    figure.supxlabel(f"mean over {data['dataset']}; boxed: assumed = true", fontsize=8)
    return figure


def kernel_mismatch_crops(data: dict[str, Any]) -> Figure:
    """One blurred picture, restored with the representations of several widths (§4.2).

    data: hr, a tensor (3, h, w); true, the width σ; crops, by assumed width, tensors (3, h, w);
    psnr, by assumed width, dB of the whole picture.
    """
    row = {"HR": data["hr"]}
    for width, crop in data["crops"].items():
        row[f"assumed σ = {width}{' (true)' if float(width) == data['true'] else ''}"] = crop
    return pictures(row, ["", *(f"{data['psnr'][width]:.2f} dB" for width in data["crops"])])


def representation_value(data: dict[str, Any]) -> Figure:
    """What a good representation is worth to the SR network: every training of every blind model,
    under two ways to teach the encoder (§4.2).

    data: dataset, probed; recipes, by name, the runs of studies.ablation.AblationData as json.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1.3, 1))
    (first, good), (second, poor) = (
        (name, {(run["model"], run["seed"]): run for run in runs if run["read"] is not None})
        for name, runs in data["recipes"].items()
    )
    models = [row for name, row in SYSTEMS.items() if name in {m for m, _ in [*good, *poor]}]
    for runs, look in ((good, "full"), (poor, "none")):
        for (model, _), run in runs.items():
            row, at = SYSTEMS[model], (100 * run["read"]["knn"], mean_of(run["psnr"]))
            left.plot(*at, row.marker, ms=8, fillstyle=look, color=row.colour)
    for row in models:
        left.plot([], [], row.marker, color=row.colour, label=row.short)
    for name, look, recipe in (("filled", "full", first), ("hollow", "none", second)):
        left.plot([], [], "o", color="0.4", fillstyle=look, label=f"{name}: {recipe}")
    mark(left, 25, "chance")
    left.set_xlim(0, 102)
    left.set(xlabel=f"k-NN accuracy of four widths on {data['probed']}, %",
             ylabel=f"PSNR-Y on {data['dataset']}, mean, dB")  # fmt: skip
    left.legend(fontsize=8, loc="upper center")

    right.axhline(0, color="0.3", lw=1)
    for row in models:
        seeds = [key for key in good if key[0] == row.name and key in poor]
        if seeds:
            ours, theirs = (
                np.array([runs[key]["psnr"] for key in seeds]) for runs in (good, poor)
            )  # (seeds, widths, 2)
            widths, gains = ours[0, :, 0], (ours - theirs)[..., 1].mean(axis=0)
            label = f"{row.short}, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
            right.plot(widths, gains, f"{row.marker}-", color=row.colour, label=label)
            right.set_xticks(widths)
    right.set_title(f"{first} − {second}")
    right.set(xlabel="kernel width σ, HR pixels", ylabel="difference of PSNR-Y, dB")
    right.legend(fontsize=8)
    return leave_room(figure)
