"""The figures of §4.2: the five models, what they reach, and the map of their representations."""

from __future__ import annotations

from itertools import cycle
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dasrlib.plots.panels import picture_grid
from dasrlib.plots.style import BESIDE, MARKERS, PALETTE, leave_room
from dasrlib.records.run_record import mean_of
from dasrlib.systems import ABLATION, FULL_METHOD, SYSTEMS, short

CHANGED, SAME = "#FBE3CC", "#E8EEF3"
READ_OUTS = {
    "knn": "k-NN\naccuracy",
    "linear": "linear\naccuracy",
    "r2": "R² of σ",
    "silhouette": "silhouette",
}
WIDTH_LABEL = "kernel width σ, HR pixels"


def _parts(flags: dict[str, Any]) -> list[str]:
    blind = flags["needs"] == "nothing"
    branches = "kernel + modulation" if flags["modulate"] else "kernel alone"
    convolution = f"DA convolutions:\n{branches}"
    if not flags["degradation_aware"]:
        convolution = "plain convolutions:\nR beside the features"
    return [
        "LR picture" if blind else "true degradation",
        "encoder" if blind else "five linear layers",
        convolution,
        "L_SR + L_degrad" if flags["contrastive"] else "L_SR",
    ]


def five_models(data: dict[str, Any]) -> Figure:
    """The five models as rows of a table; what differs from Model 4 is coloured (§4.2).

    data: by model, the fields of its ModelVariant as a dict.
    """
    rows = [_parts(flags) for flags in data.values()]
    full = _parts(data[FULL_METHOD])
    colours = [[SAME if a == b else CHANGED for a, b in zip(r, full, strict=True)] for r in rows]
    figure, ax = plt.subplots(figsize=(9, 3.6))
    ax.axis("off")
    heads = ["representation R from", "computed by", "read by the SR network in", "trained on"]
    table = ax.table(rows, colours, "center", [0.22, 0.2, 0.28, 0.2], [*map(short, data)],
                     colLabels=heads, loc="center")  # fmt: skip
    table.scale(1, 2.6)
    return figure


def ablation(data: dict[str, Any]) -> Figure:
    """PSNR of the models that are trained over kernel widths, their means, and the claims (§4.2).

    data: the fields of studies.ablation.AblationData as json; a curve is a list of (σ, dB).
    """
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(14, 4.2), width_ratios=(1.25, 0.9, 0.9)
    )
    _psnr_curves(left, data)
    _means(middle, data["measured"])
    _claims(right, data["claims"])
    return leave_room(figure)


def _line(name: str) -> dict[str, Any]:
    return {"ls": "--" if name == "bicubic" else "-", "color": SYSTEMS[name].colour or "0.3"}


def _psnr_curves(ax: Axes, data: dict[str, Any]) -> None:
    measured, printed = data["measured"], data["printed"]
    for name, points in measured.items():
        look: dict[str, Any] = {"marker": SYSTEMS[name].marker, **_line(name)}
        ax.plot(*zip(*points, strict=True), label=f"{short(name)}, measured here", **look)
    for (name, points), colour in zip(printed.items(), ("0.6", "black"), strict=False):
        look = {"ls": ":", "marker": "o", "mfc": "none", "color": colour}
        ax.plot(*zip(*points, strict=True), label=f"{name}, printed in the paper", **look)
    ax.set(xlabel=WIDTH_LABEL, ylabel="PSNR-Y, dB", title=f"{data['dataset']} ×4")
    ax.set_xticks([width for width, _ in measured["bicubic"]])
    ax.legend(fontsize=8, loc="lower left", ncols=2)
    shown = [psnr for points in [*measured.values(), *printed.values()] for _, psnr in points]
    low, high = min(shown), max(shown)
    ax.set_ylim(low - 0.3 * (high - low), high + 0.05 * (high - low))  # room for the legend


def _means(ax: Axes, measured: dict[str, Any]) -> None:
    means = {name: mean_of(points) for name, points in measured.items()}
    bicubic = means["bicubic"]
    # Bars start at bicubic, so that their height is the gain; lower where a model is below it.
    floor = bicubic - 1.2 * max(0.0, bicubic - min(means.values()))
    room = max(max(means.values()) - floor, 0.5)
    for place, model in enumerate(ABLATION):
        if model in means:
            bar = ax.bar(place, means[model] - floor, 0.7, floor, color=SYSTEMS[model].colour)
            ax.bar_label(bar, [f"{means[model]:.2f}"], fontsize=9)
        else:
            bar = ax.bar(place, room, 0.7, floor, color="none", ec="0.75", ls=":")
            ax.bar_label(bar, ["not trained yet"], label_type="center", rotation=90, color="0.5")
    ax.axhline(bicubic, color="0.3", ls="--")
    ax.text(4.5, bicubic, "bicubic", ha="right", va="top", fontsize=8, color="0.3")
    ax.set_xticks(range(len(ABLATION)), [*map(short, ABLATION)], fontsize=8)
    ax.set_ylim(floor - 0.1 * room, floor + 1.15 * room)
    ax.set(title="mean over the widths, measured here", ylabel="PSNR-Y, dB")


def _difference(claim: dict[str, Any]) -> str:
    return f"{short(claim['better'])} − {short(claim['worse']).removeprefix('Model ')}"


def _claim_colour(claim: dict[str, Any]) -> str | None:
    """The colour of the model that Model 4 is compared with."""
    return SYSTEMS[claim["worse" if claim["better"] == FULL_METHOD else "better"]].colour


def _claims(ax: Axes, claims: list[dict[str, Any]]) -> None:
    """Each claimed ordering as the difference that was measured: a dot for every seed."""
    ax.axvline(0, color="0.3", lw=1)
    for place, claim in enumerate(claims):
        differences = list(claim["differences"].values())
        places = [place] * len(differences)
        ax.plot(differences, places, "o", color=_claim_colour(claim), ms=8, alpha=0.8)
        mean = "" if claim["mean"] is None else f"{claim['mean']:+.2f} dB: "
        ax.text(0.02, place + 0.32, mean + claim["verdict"], fontsize=8, color="0.3", va="center",
                transform=ax.get_yaxis_transform())  # fmt: skip
    ax.set_yticks(range(len(claims)), [*map(_difference, claims)], fontsize=9)
    ax.set_ylim(len(claims) - 0.4, -0.5)
    reach = max([0.1, *(abs(d) for c in claims for d in c["differences"].values())])
    ax.set_xlim(-1.25 * reach, 1.25 * reach)
    ax.set(title="the claims: right of 0 if it came out", xlabel="difference of the means, dB")


def claim_curves(data: dict[str, Any]) -> Figure:
    """How each claimed difference grew with the training, on held-out pictures, a line a seed
    (§4.2).

    data: claims and runs of studies.ablation.AblationData as json. A model without stage 1 is
    measured at other iterations: its value is interpolated between its neighbours.
    """
    figure, axes = plt.subplots(1, len(data["claims"]), figsize=(13, 3.2), sharex=True)
    curves = {(run["model"], run["seed"]): run["curve"] for run in data["runs"]}
    for ax, claim in zip(axes, data["claims"], strict=True):
        ax.axhline(0, color="0.3", lw=1)
        reach = 0.1
        for seed, style in zip(claim["differences"], cycle(("-", "--", ":", "-."))):
            (at, better), (other, worse) = (
                zip(*curves[claim[side], int(seed)], strict=True) for side in ("better", "worse")
            )
            growth = np.asarray(better) - np.interp(at, other, worse)
            ax.plot(at, growth, style, color=_claim_colour(claim), label=f"seed {seed}")
            reach = max(reach, float(np.abs(growth[len(growth) // 4 :]).max()))
        ax.set(ylim=(-1.2 * reach, 1.2 * reach), title=_difference(claim), xlabel="iteration")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        if claim["differences"]:
            ax.legend(fontsize=8, loc="lower right")
    axes[0].set_ylabel("held-out PSNR-Y, dB")
    return leave_room(figure)


def training_curves(data: dict[str, Any]) -> Figure:
    """How the models came to it: held-out PSNR, a mean over the widths, and the contrastive loss
    (§4.1, §4.2).

    data: by model, the log of its run.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
    last = []
    for model, log in data.items():
        style = {"color": SYSTEMS[model].colour, "label": short(model)}
        means = [(r["iteration"], fmean(r["psnr"].values())) for r in log if "psnr" in r]
        left.plot(*zip(*means, strict=True), ".-", **style)
        last += [mean for _, mean in means[len(means) // 4 :]]  # the start would flatten the rest
        loss = [(r["iteration"], r["contrastive"]) for r in log if "contrastive" in r]
        if loss:
            # Ten lines of the log in one: single ones jump about more than the models differ.
            groups = [loss[i : i + 10] for i in range(0, len(loss), 10)]
            right.plot(*zip(*((g[-1][0], mean_of(g)) for g in groups), strict=True), **style)
    room = max(max(last) - min(last), 0.05)
    left.set(ylabel="PSNR-Y, dB", title="held-out pictures, mean over the widths")
    left.set_ylim(min(last) - 0.1 * room, max(last) + 0.1 * room)
    right.set(title="contrastive loss", ylim=(0, None))
    for ax in (left, right):
        ax.set_xlabel("iteration")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.legend(fontsize=8)
    return figure


def crops(data: dict[str, Any]) -> Figure:
    """The same crop, restored under each kernel width, a row for each method (§4.2).

    data: hr, a tensor (3, h, w); widths, labels; rows, by method, a list of crops; psnr, by method,
    a list of numbers of the whole picture; note, set below the title.
    """
    rows = {method: [data["hr"], *images] for method, images in data["rows"].items()}
    titles = ["HR", *(f"σ = {width}" for width in data["widths"])]
    figure, axes = picture_grid(rows, titles, 2.4)
    for line, method in zip(axes, rows, strict=True):
        for ax, psnr in zip(line[1:], data["psnr"][method], strict=True):
            ax.set_xlabel(f"{psnr:.2f} dB")
    figure.suptitle(data["note"], fontsize=9, color="0.35")
    return figure


def blind_vs_nonblind(data: dict[str, Any]) -> Figure:
    """PSNR over a fine grid of kernel widths, seen and unseen in training (§4.2, supplement).

    data: dataset; curves, by model (or "bicubic"), a list of (σ, dB); trained, the range of widths
    in training; unseen, the widths that the supplement names.
    """
    figure, ax = plt.subplots(figsize=(8, 3.8))
    widths = [width for width, _ in data["curves"]["bicubic"]]
    _, high = data["trained"]
    ax.axvspan(high, max(widths), color=CHANGED, alpha=0.7)
    ax.text(high + 0.03, 0.97, "never seen\nin training", transform=ax.get_xaxis_transform(),
            va="top", fontsize=8)  # fmt: skip
    for name, points in data["curves"].items():
        ax.plot(*zip(*points, strict=True), marker=".", label=short(name), **_line(name))
    for unseen in data["unseen"]:
        ax.axvline(unseen, color="0.6", ls=":", lw=0.8)
    ax.set(xlabel=WIDTH_LABEL, ylabel="PSNR-Y, dB", title=data["dataset"])
    ax.set_xlim(min(widths), max(widths) + 0.02)
    ax.legend(loc="lower left")
    return figure


def tsne(data: dict[str, Any]) -> Figure:
    """Maps of two encoders' representations, and how well they tell degradations apart (§4.2).

    data: maps, by encoder, a list of (x, y); widths, σ of each point in HR pixels; probes, by
    name, the numbers of probes.probe_all; chance, the same numbers of a guess; perplexity; dataset.
    """
    figure, (*maps, right) = plt.subplots(1, 3, figsize=(13.5, 4.2), width_ratios=(1, 1, 1.4))
    widths, readers = np.asarray(data["widths"]), data["probes"]
    for ax, (name, points) in zip(maps, data["maps"].items(), strict=True):
        for kind, colour, marker in zip(np.unique(widths), PALETTE, MARKERS, strict=False):
            x, y = np.asarray(points)[widths == kind].T
            label = f"σ = {kind:g}"
            ax.scatter(x, y, s=12, color=colour, marker=marker, label=label, alpha=0.8, lw=0)
        ax.set(title=f"{name}, k-NN {100 * readers[name]['knn']:.1f} %", xticks=[], yticks=[])
        ax.set_xlabel(f"t-SNE of {data['dataset']}, perplexity {data['perplexity']:g}", fontsize=8)
        ax.spines[:].set_visible(True)
    maps[0].legend(fontsize=8, markerscale=1.6)
    width, places = 0.84 / len(readers), np.arange(len(READ_OUTS))
    for place, (name, numbers) in enumerate(readers.items()):
        left = places + (place - (len(readers) - 1) / 2) * width
        # A read-out worse than the mean has a negative R²: as useless as 0, and off the picture.
        heights = [max(numbers[key], 0) for key in READ_OUTS]
        bars = right.bar(left, heights, 0.94 * width, color=PALETTE[place], label=name)
        labels = [f"{numbers[key]:.2f}" for key in READ_OUTS]
        right.bar_label(bars, labels, fontsize=7, rotation=90 if len(readers) > 3 else 0, padding=2)
    levels = [max(data["chance"][key], 0) for key in READ_OUTS]
    right.hlines(levels, places - 0.45, places + 0.45, "black", "--", lw=1.2, label="by chance")
    right.set_xticks(places, list(READ_OUTS.values()), fontsize=8)
    right.set(title="read from pictures never seen", ylim=(0, 1.2))
    right.legend(fontsize=8, **BESIDE)
    return leave_room(figure)
