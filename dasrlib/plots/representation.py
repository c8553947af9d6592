"""The figures of §3.2.1: positive pairs, the contrastive loss, the queue, the map of widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from dasrlib.plots.panels import level, picture_grid
from dasrlib.plots.style import BESIDE, MARKERS, PALETTE, image_axes


def feature_maps(data: dict[str, Any]) -> Figure:
    """A picture on its way through the encoder: three of the channels after each convolution.

    data: picture (3, H, W) in [0, 1]; maps, by title, (C, H, W); representation, (256,). Tensors.
    """
    maps = data["maps"]
    figure, axes = plt.subplots(3, len(maps) + 2, figsize=(1.35 * (len(maps) + 2), 4.4))
    image_axes(axes[0, 0], data["picture"], "LR", "{}×{}×{}".format(*data["picture"].shape))
    for column, (title, stack) in zip(axes.T[1:], maps.items(), strict=False):
        busiest = stack[stack.std(dim=(1, 2)).argsort(descending=True)[:3]]
        for ax, channel in zip(column, busiest, strict=True):
            image_axes(ax, (channel - channel.min()) / (channel.max() - channel.min() + 1e-9))
        column[0].set_title(title, fontsize=9)
        column[2].set_xlabel("{}×{}×{}".format(*stack.shape), fontsize=9)
    grid = data["representation"].view(16, 16)
    image_axes(axes[0, -1], (grid - grid.min()) / (grid.max() - grid.min()), "average", "256")
    for ax in (*axes[1:, 0], *axes[1:, -1]):
        ax.set_axis_off()
    return figure


def unit_circle(data: Mapping[str, Sequence[float]]) -> Figure:
    """Vectors of two numbers by name, the query first, and the same on the unit circle (§3.2.1)."""
    figure, ax = plt.subplots(figsize=(5, 4.6))
    ax.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
    vectors = {name: np.asarray(vector, dtype=float) for name, vector in data.items()}
    units = {name: vector / np.linalg.norm(vector) for name, vector in vectors.items()}
    query = next(iter(units.values()))
    for colour, name in zip((PALETTE[0], PALETTE[2], PALETTE[1]), vectors, strict=False):
        raw, unit = vectors[name], units[name]
        ax.plot(*np.stack([unit, raw]).T, ":", color=colour)
        ax.plot(*raw, "o", color=colour, markerfacecolor="white")
        arrow = {"arrowstyle": "->", "color": colour, "lw": 2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", unit, (0, 0), arrowprops=arrow)
        note = "" if unit is query else f"\ncosine {unit @ query:.2f}"
        x, y = raw if np.linalg.norm(raw) > 1 else unit
        side, shift = ("left", 0.1) if x >= 0 else ("right", -0.1)
        ax.annotate(f"{name}{note}", (x + shift, y), ha=side, va="center", color=colour)
    reach = 1.15 * max(1.0, *(float(np.abs(v).max()) for v in vectors.values()))
    ax.set(aspect="equal", xlim=(-reach - 0.6, reach + 0.6), ylim=(-reach, reach))
    return figure


def temperatures(data: dict[str, Any]) -> Figure:
    """The softmax of similarities, the positive's first, at several temperatures (§3.2.1)."""
    shares, labels = data["shares"], [f"{s:g}" for s in data["similarities"]]
    figure, axes = plt.subplots(1, len(shares), figsize=(3 * len(shares), 3), sharey=True)
    colours = [PALETTE[2]] + [PALETTE[1]] * (len(labels) - 1)
    for ax, (tau, share) in zip(axes, shares.items(), strict=True):
        ax.bar_label(ax.bar(labels, share, color=colours), fmt="%.2f", fontsize=8)
        ax.set(title=f"τ = {tau}", ylim=(0, 1.08), xlabel="cosine with the query")
    axes[0].set_ylabel("share of the softmax")
    return figure


def queue_contents(data: dict[str, Any]) -> Figure:
    """The batch of the key in each place of the queue, after each batch; 0 is the random start."""
    table = np.asarray(data["batch_of"])
    figure, ax = plt.subplots(figsize=(9, 0.42 * len(table) + 0.9))
    ax.imshow(table, aspect="auto", cmap="Pastel1_r", vmin=0, vmax=8)  # nine colours; 0 is grey
    for row, line in enumerate(table):
        ends = np.flatnonzero(np.diff(line)) + 1
        for stretch in np.split(np.arange(len(line)), ends):  # places with keys of one batch
            text = str(line[stretch[0]] or "random")
            ax.text(stretch.mean(), row, text, ha="center", va="center", fontsize=9)
        ax.axhline(row - 0.5, color="white", lw=3)
    ax.set(xlabel="place in the queue", yticks=range(len(table)))
    ax.set_yticklabels(["start", *(f"after batch {i}" for i in range(1, len(table)))])
    ax.spines[:].set_visible(False)
    return figure


def cosine_histograms(data: Mapping[str, Sequence[float]]) -> Figure:
    """Histograms of the cosines between vectors of 256 numbers, by label (§3.2.1)."""
    figure, ax = plt.subplots(figsize=(7, 3))
    for label, values in data.items():
        ax.hist(values, bins=[i / 40 for i in range(-12, 41)], alpha=0.75, label=label)
    ax.set(xlabel="cosine", ylabel="how many", yscale="log", xlim=(-0.3, 1.02))
    ax.legend(loc="upper center")
    return figure


def recipe_losses(data: dict[str, Any]) -> Figure:
    """Contrastive losses of short trainings by title, each with its own chance level ln N."""
    figure, axes = plt.subplots(1, len(data), figsize=(4.5 * len(data), 3.4), squeeze=False)
    for ax, (title, run), colour in zip(axes[0], data.items(), PALETTE, strict=False):
        ax.plot(range(1, len(run["loss"]) + 1), run["loss"], color=colour)
        level(ax, run["chance"], f"chance: ln N = {run['chance']:.2f}")
        top = 1.15 * max(run["chance"], *run["loss"])
        ax.set(title=title, xlabel="training step", ylim=(0, top))
    axes[0, 0].set_ylabel("InfoNCE loss")
    return figure


def nearest_patches(data: dict[str, Any]) -> Figure:
    """A patch, and the patches nearest to it for each encoder (§3.2.1).

    data: query, a patch (3, P, P) and its width; rows, lists of such pairs by the encoder's name.
    """
    (patch, width), rows = data["query"], data["rows"]
    grid = {name: [patch, *(image for image, _ in found)] for name, found in rows.items()}
    figure, axes = picture_grid(grid, height=1.75)
    for line, found in zip(axes, rows.values(), strict=True):
        line[0].set_title(f"query, σ = {width:g}")
        for ax, (_, other) in zip(line[1:], found, strict=True):
            ax.set_title(f"σ = {other:g}", color=PALETTE[2] if other == width else PALETTE[1])
            ax.set_xlabel("same width" if other == width else "another width", fontsize=8)
    return figure


def degradation_maps(data: dict[str, Any]) -> Figure:
    """t-SNE maps of pictures under several degradations, coloured by the degradation (§4.2, §4.3).

    data: labels, the name of each of N points' degradation, or widths, its σ; maps, by title,
    points (N pairs of numbers), knn (0..1), and r2 and silhouette where they were measured;
    baseline, the same numbers of the pixel statistics; chance of the k-NN, and shuffled, its
    accuracy on shuffled labels, where it was measured; perplexity and seed.
    """
    maps = data["maps"]
    labels = np.asarray(data.get("labels") or [f"σ = {width:g}" for width in data["widths"]])
    kinds = list(dict.fromkeys(labels))
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(kinds)))
    figure, axes = plt.subplots(1, len(maps), figsize=(4.6 * len(maps), 4), squeeze=False)
    for ax, (title, run) in zip(axes[0], maps.items(), strict=True):
        points = np.asarray(run["points"])
        for kind, colour, marker in zip(kinds, colours, MARKERS, strict=False):
            x, y = points[labels == kind].T
            ax.scatter(x, y, s=18, color=colour, marker=marker, alpha=0.85, lw=0, label=kind)
        ax.set(xticks=[], yticks=[], title=f"{title}\n{probed(run)}")
        ax.set_aspect("equal", adjustable="datalim")  # both axes in one unit, whatever it is
        ax.spines[:].set_visible(False)
    axes[0, -1].legend(**BESIDE)
    shuffled = f", on shuffled labels {100 * data['shuffled']:.0f} %" if "shuffled" in data else ""
    figure.supxlabel(
        f"a point is one picture under one {'degradation' if 'labels' in data else 'width'}; "
        f"t-SNE with perplexity {data['perplexity']:g} and seed {data['seed']}\n"
        f"k-NN by chance {100 * data['chance']:.0f} %{shuffled}; "
        f"six pixel statistics: {probed(data['baseline'])}\n",
        fontsize=9,
    )
    return figure


def probed(read: Mapping[str, float]) -> str:
    """The probes' numbers that were measured, in words."""
    forms = {"knn": "k-NN {:.0%}", "r2": "R² {:.2f}", "silhouette": "silhouette {:.2f}"}
    said = [form.format(read[name]) for name, form in forms.items() if name in read]
    return ", ".join(said).replace("%", " %").replace("-0", "−0")
