"""The figures of §3.2.1: positive pairs, the contrastive loss, the queue, the map of widths."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from dasrlib.plots.style import PALETTE, image_axes

MARKERS = ("o", "s", "^", "D", "v", "P")
GREY = "0.6"


def positive_pairs(data: dict[str, Any]) -> Figure:
    """LR patches, a column for each picture or width; of two rows, a column is a positive pair.

    data: patches (B, 1 or 2, 3, P, P) in [0, 1], a tensor; widths, B numbers σ in HR pixels.
    """
    patches, widths = data["patches"], data["widths"]
    rows = patches.shape[1]
    size = (1.6 * len(widths), 1.6 * rows + 0.5)
    figure, axes = plt.subplots(rows, len(widths), figsize=size, squeeze=False)
    for column, width in enumerate(widths):
        for row in range(rows):
            image_axes(axes[row, column], patches[column, row])
        axes[0, column].set_title(f"σ = {width:.1f}")
    if rows == 2:
        for ax, name in zip(axes[:, 0], ("query", "key"), strict=True):
            ax.set_ylabel(name)
        figure.suptitle("A column is a positive pair: one picture, one degradation, two places")
    return figure


def feature_maps(data: dict[str, Any]) -> Figure:
    """A picture on its way through the encoder: three of the channels after each convolution.

    data: picture (3, H, W) in [0, 1]; maps, by title, (C, H, W); representation, (256,). Tensors.
    """
    maps = data["maps"]
    figure, axes = plt.subplots(3, len(maps) + 2, figsize=(1.35 * (len(maps) + 2), 4.4))
    image_axes(axes[0, 0], data["picture"], "LR", "{}×{}×{}".format(*data["picture"].shape))
    for column, (title, stack) in enumerate(maps.items(), start=1):
        busiest = stack.std(dim=(1, 2)).argsort(descending=True)[:3]
        for row, channel in enumerate(busiest.tolist()):
            low, high = stack[channel].min(), stack[channel].max()
            image_axes(axes[row, column], (stack[channel] - low) / (high - low + 1e-9))
        axes[0, column].set_title(title, fontsize=9)
        axes[2, column].set_xlabel("{}×{}×{}".format(*stack.shape), fontsize=9)
    grid = data["representation"].view(16, 16)
    image_axes(axes[0, -1], (grid - grid.min()) / (grid.max() - grid.min()), "average", "256")
    for ax in (*axes[1:, 0], *axes[1:, -1]):
        ax.set_axis_off()
    return figure


def unit_circle(data: dict[str, Any]) -> Figure:
    """Vectors of two numbers, and where normalising puts them: on the unit circle (§3.2.1).

    data: by name, two numbers each, the query first; their cosines with the query stand beside.
    """
    figure, ax = plt.subplots(figsize=(5, 4.6))
    ax.add_patch(Circle((0, 0), 1, fill=False, color=GREY))
    vectors = {name: np.asarray(vector, dtype=float) for name, vector in data.items()}
    units = {name: vector / np.linalg.norm(vector) for name, vector in vectors.items()}
    query = next(iter(units.values()))
    for colour, name in zip((PALETTE[0], PALETTE[2], PALETTE[1]), vectors, strict=False):
        raw, unit = vectors[name], units[name]
        ax.plot(*np.stack([unit, raw]).T, ":", color=colour)
        ax.plot(*raw, "o", color=colour, markerfacecolor="white")
        style = {"arrowstyle": "->", "color": colour, "lw": 2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", unit, (0, 0), arrowprops=style)
        side = "left" if raw[0] >= 0 else "right"
        x, y = raw if np.linalg.norm(raw) > 1 else unit
        note = "" if unit is query else f"\ncosine {unit @ query:.2f}"
        x += 0.1 if side == "left" else -0.1
        ax.annotate(f"{name}{note}", (x, y), ha=side, va="center", color=colour)
    reach = 1.15 * max(1.0, *(float(np.abs(v).max()) for v in vectors.values()))
    ax.set(aspect="equal", xlim=(-reach - 0.6, reach + 0.6), ylim=(-reach, reach))
    ax.axhline(0, color="0.85", zorder=0)
    ax.axvline(0, color="0.85", zorder=0)
    return figure


def chance_losses(data: dict[str, Any]) -> Figure:
    """InfoNCE against the number of candidates N, for encoders that know nothing or something.

    data: candidates, the N; curves, by label, a loss for each; marks, by label, an N to point at.
    """
    figure, ax = plt.subplots(figsize=(7, 3.8))
    n = data["candidates"]
    for (label, losses), style in zip(data["curves"].items(), ("-", "--", "-."), strict=False):
        ax.semilogx(n, losses, style, base=2, label=label)
    for label, where in data["marks"].items():
        ax.axvline(where, color="0.85", zorder=0)
        text: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 9, "color": "0.4"}
        ax.annotate(label, (where, 0.99), xycoords=("data", "axes fraction"), rotation=90, **text)
    ax.set(xlabel="candidates N, the positive among them", ylabel="InfoNCE loss")
    ax.set_xticks([2**i for i in range(1, 14, 2)], [str(2**i) for i in range(1, 14, 2)])
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def temperatures(data: dict[str, Any]) -> Figure:
    """What softmax makes of the same similarities at several temperatures (§3.2.1).

    data: similarities, cosines with the positive's first; shares, by τ, a probability for each.
    """
    shares = data["shares"]
    figure, axes = plt.subplots(1, len(shares), figsize=(3 * len(shares), 3), sharey=True)
    places = range(len(data["similarities"]))
    colours = [PALETTE[2]] + [PALETTE[1]] * (len(places) - 1)
    for ax, (tau, share) in zip(np.atleast_1d(axes), shares.items(), strict=True):
        bars = ax.bar(places, share, color=colours)
        ax.bar_label(bars, [f"{s:.2f}" for s in share], fontsize=8)
        ax.set(title=f"τ = {tau}", ylim=(0, 1.08), xlabel="cosine with the query")
        ax.set_xticks(places, [f"{s:g}" for s in data["similarities"]])
    figure.axes[0].set_ylabel("share of the softmax")
    return figure


def momentum_lag(data: dict[str, Any]) -> Figure:
    """A weight of the query encoder, and the key encoder's copies that follow it (§3.2.1).

    data: query, the weight after each step; keys, by label, the copy's.
    """
    figure, ax = plt.subplots(figsize=(7, 3.4))
    ax.plot(data["query"], color=GREY, lw=1, label="query encoder")
    for (label, values), style in zip(data["keys"].items(), ("-", "--", "-."), strict=False):
        ax.plot(values, style, lw=2, label=label)
    ax.set(xlabel="step", ylabel="one weight")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def queue_contents(data: dict[str, Any]) -> Figure:
    """Which batch each place of the queue holds a key of, after each batch; 0 is the random start.

    data: batch_of, for each step (the start among them), one number for each place.
    """
    table = np.asarray(data["batch_of"])
    colours = ["0.92"] + [PALETTE[i % len(PALETTE)] for i in range(int(table.max()))]
    figure, ax = plt.subplots(figsize=(9, 0.42 * len(table) + 0.9))
    ax.imshow(table, aspect="auto", cmap=ListedColormap(colours), vmin=0, vmax=len(colours) - 1)
    for row, line in enumerate(table):
        runs = np.split(np.arange(len(line)), np.flatnonzero(np.diff(line)) + 1)
        for run in runs:  # a stretch of places with keys of one batch
            batch = int(line[run[0]])
            text = "random" if batch == 0 else str(batch)
            light = colours[batch] in ("0.92", PALETTE[4], PALETTE[5], PALETTE[7])
            ink = "black" if light else "white"
            ax.text(run.mean(), row, text, ha="center", va="center", color=ink, fontsize=9)
    for row in range(1, len(table)):
        ax.axhline(row - 0.5, color="white", lw=3)
    ax.set(xlabel="place in the queue", yticks=range(len(table)))
    ax.set_yticklabels(["start", *(f"after batch {i}" for i in range(1, len(table)))])
    ax.spines[:].set_visible(False)
    return figure


def cosine_histograms(data: dict[str, Any]) -> Figure:
    """How alike vectors of 256 numbers are: histograms of cosines (§3.2.1).

    data: by label, a list of cosines.
    """
    figure, ax = plt.subplots(figsize=(7, 3))
    for (label, values), colour in zip(data.items(), PALETTE, strict=False):
        ax.hist(
            values, bins=[i / 40 for i in range(-12, 41)], color=colour, alpha=0.75, label=label
        )
    ax.set(xlabel="cosine", ylabel="how many", yscale="log", xlim=(-0.3, 1.02))
    ax.legend(frameon=False, loc="upper center")
    return figure


def loss_while_queue_fills(data: dict[str, Any]) -> Figure:
    """The loss from queues of random vectors and of real keys, as training steps replace them.

    data: losses, by label, one for each step; guessing, for each step, the loss of guessing among
    the real keys; full, the first step without a random vector.
    """
    figure, ax = plt.subplots(figsize=(7, 3.8))
    for (label, losses), style in zip(data["losses"].items(), ("-", "--"), strict=False):
        ax.plot(range(1, len(losses) + 1), losses, style, lw=2, label=label)
    guessing = data["guessing"]
    ax.plot(range(1, len(guessing) + 1), guessing, ":", color="black", label="ln(1 + real keys)")
    ax.axvline(data["full"], color="0.85", zorder=0)
    ax.annotate(
        "no random vector left",
        (data["full"], 0),
        rotation=90,
        ha="right",
        va="bottom",
        color="0.4",
    )
    ax.set(xlabel="training step", ylabel="InfoNCE loss", ylim=(0, None))
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def high_pass(data: dict[str, Any]) -> Figure:
    """Pictures, and what is left of them as the encoder's high-pass input (§3.2.1).

    data: titles; pictures (N, 3, H, W) in [0, 1]; inputs (N, 1, H, W). Tensors, one range of greys.
    """
    titles = data["titles"]
    figure, axes = plt.subplots(2, len(titles), figsize=(2.1 * len(titles), 4.6), squeeze=False)
    for column, title in enumerate(titles):
        image_axes(axes[0, column], data["pictures"][column], title)
        image_axes(axes[1, column], (data["inputs"][column, 0] + 1.5) / 3)
    for ax, name in zip(axes[:, 0], ("LR picture", "high-pass input"), strict=True):
        ax.set_ylabel(name)
    return figure


def recipe_losses(data: dict[str, Any]) -> Figure:
    """Contrastive losses of short trainings, each with its own chance level.

    data: by title, loss (one a step) and chance (ln N).
    """
    figure, axes = plt.subplots(1, len(data), figsize=(4.5 * len(data), 3.4), squeeze=False)
    for ax, (title, run), colour in zip(axes[0], data.items(), PALETTE, strict=False):
        ax.plot(range(1, len(run["loss"]) + 1), run["loss"], color=colour)
        ax.axhline(run["chance"], color=GREY, ls=":")
        ax.annotate(
            f"chance: ln N = {run['chance']:.2f}",
            (len(run["loss"]), run["chance"]),
            ha="right",
            va="bottom",
            color="0.4",
        )
        ax.set(
            title=title, xlabel="training step", ylim=(0, 1.15 * max(run["chance"], *run["loss"]))
        )
    axes[0, 0].set_ylabel("InfoNCE loss")
    return figure


def nearest_patches(data: dict[str, Any]) -> Figure:
    """A patch, and the patches that each encoder finds most like it (§3.2.1).

    data: query, a patch (3, P, P) in [0, 1], a tensor, and its width; rows, by the encoder's name,
    the nearest patches and their widths as pairs. Widths are σ in HR pixels.
    """
    (patch, width), rows = data["query"], data["rows"]
    count = max(len(found) for found in rows.values())
    size = (1.5 * (count + 1), 1.75 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), count + 1, figsize=size, squeeze=False)
    for line, (name, found) in zip(axes, rows.items(), strict=True):
        image_axes(line[0], patch, f"query, σ = {width:g}")
        line[0].set_ylabel(name)
        for ax, (image, level) in zip(line[1:], found, strict=True):
            image_axes(ax, image, f"σ = {level:g}")
            right = level == width
            ax.title.set_color(PALETTE[2] if right else PALETTE[1])
            ax.set_xlabel("same width" if right else "another width", fontsize=8)
    return figure


def accuracies(data: dict[str, Any]) -> Figure:
    """How often each way to describe a picture tells its degradation, as bars from worst to best.

    data: accuracy, by name, 0..1; chance, 0..1.
    """
    ordered = sorted(data["accuracy"].items(), key=lambda item: item[1])
    figure, ax = plt.subplots(figsize=(8, 0.45 * len(ordered) + 1))
    bars = ax.barh([name for name, _ in ordered], [100 * a for _, a in ordered], color=PALETTE[0])
    ax.bar_label(bars, fmt=" %.0f %%")
    ax.axvline(100 * data["chance"], color=PALETTE[1], ls="--")
    ax.annotate(
        " chance",
        (100 * data["chance"], 1.0),
        xycoords=("data", "axes fraction"),
        va="bottom",
        ha="center",
        color=PALETTE[1],
    )
    ax.set(xlim=(0, 110), xlabel="k-NN accuracy on pictures never seen, %")
    return figure


def _scatter(ax: Axes, points: np.ndarray, widths: np.ndarray, title: str) -> None:
    levels = np.unique(widths)
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(levels)))
    for i, level in enumerate(levels):
        x, y = points[widths == level].T
        marker = MARKERS[i % len(MARKERS)]
        ax.scatter(
            x,
            y,
            s=18,
            color=colours[i],
            marker=marker,
            alpha=0.85,
            lw=0,
            label=f"σ = {level:g}",
        )
    ax.set(xticks=[], yticks=[], title=title)
    ax.set_aspect("equal", adjustable="datalim")  # both axes in one unit, whatever it is
    ax.spines[:].set_visible(False)


def degradation_maps(data: dict[str, Any]) -> Figure:
    """t-SNE maps of pictures under several kernel widths, coloured by the width (§4.2).

    data: widths, σ of each of N points; maps, by title, points (N pairs of numbers), knn (0..1) and
    r2; baseline, the knn and r2 of the pixel statistics; chance, of the k-NN, 0..1; perplexity and
    seed of the t-SNE. Plain lists and numbers.
    """
    maps = data["maps"]
    widths = np.asarray(data["widths"])
    figure, axes = plt.subplots(1, len(maps), figsize=(4.6 * len(maps), 4), squeeze=False)
    for ax, (title, run) in zip(axes[0], maps.items(), strict=True):
        numbers = f"k-NN {100 * run['knn']:.0f} %, R² {run['r2']:.2f}"
        _scatter(ax, np.asarray(run["points"]), widths, f"{title}\n{numbers}")
    axes[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    baseline = data["baseline"]
    figure.supxlabel(
        "a point is one picture under one width; "
        f"t-SNE with perplexity {data['perplexity']:g} and seed {data['seed']}\n"
        f"k-NN by chance {100 * data['chance']:.0f} %, by six pixel statistics "
        f"{100 * baseline['knn']:.0f} % (R² {baseline['r2']:.2f})\n",
        fontsize=9,
    )
    return figure
