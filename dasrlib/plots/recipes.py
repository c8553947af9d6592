"""The figures of the recipe study: what is read off each encoder, and what its loss hides
(§3.2.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dasrlib.plots.style import PALETTE

MOCO, SHORT = "moco", "short"  # the two recipes all others are changes of
COLOURS = {"": "0.6", MOCO: PALETTE[1], SHORT: PALETTE[0], "labels": PALETTE[2]}
# Where the two questions, loss and in-batch loss, come apart or do not.
WITH_QUEUE = (MOCO, "moco-groupnorm", "moco-high-pass", "moco-both", SHORT)


def _family(row: dict[str, Any]) -> str:
    """What a row is a change of: MoCo's recipe, the short one, labels; "" for a baseline."""
    if row["recipe"] is None:
        return ""
    if row["recipe"]["supervised"]:
        return "labels"
    return MOCO if row["name"].startswith(MOCO) else SHORT


def _rows_apart(rows: Sequence[dict[str, Any]]) -> list[float]:
    """A height for each row from the top down, with a gap before each family."""
    heights, height = [], 0.0
    for before, row in zip([rows[0], *rows], rows, strict=False):
        height -= 1.0 if _family(before) == _family(row) else 1.7
        heights.append(height)
    return heights


def _bars(ax: Axes, rows: Sequence[dict[str, Any]], question: str, chance: float) -> None:
    """k-NN accuracy of each row, its R² in a column of numbers, the parent's accuracy as a line."""
    heights = _rows_apart(rows)
    test = [100 * row["test"][question] for row in rows]
    colours = [COLOURS[_family(row)] for row in rows]
    ax.barh(heights, test, color=colours, height=0.72)
    held_out = [100 * row["held_out"][question] for row in rows]
    ax.plot(held_out, heights, "o", ms=5, mfc="white", mec="black", ls="", zorder=3)
    for parent in (MOCO, SHORT):
        family = [i for i, row in enumerate(rows) if _family(row) == parent]
        at = [test[i] for i in family if rows[i]["name"] == parent]
        ends = [heights[family[0]] + 0.36, heights[family[-1]] - 0.36] if family else []
        ax.plot(at * 2, ends[: 2 * len(at)], color="black", lw=1, ls=":")
    ax.axvline(100 * chance, color="0.3", ls="--", lw=1)
    above: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "va": "bottom", "fontsize": 9}
    ax.annotate("chance", (100 * chance, 1.0), ha="center", color="0.3", **above)
    if f"{question} r2" in rows[0]["test"]:
        for height, row in zip(heights, rows, strict=True):
            r2 = f"{row['test'][f'{question} r2']:.2f}".replace("-", "−")
            ax.text(122, height, r2, ha="right", va="center")
        ax.annotate("R²", (122, 1.0), ha="right", **above)
    ax.set_yticks(heights, [row["title"] for row in rows])
    parents = {row["title"] for row in rows if row["name"] in (MOCO, SHORT)}
    for label in ax.get_yticklabels():
        if label.get_text() in parents:
            label.set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(0, 122), ylim=(heights[-1] - 0.6, heights[0] + 0.6))
    ax.set_xticks(range(0, 101, 25))
    ax.spines.bottom.set_bounds(0, 100)


def accuracies(data: dict[str, Any]) -> Figure:
    """How well each recipe's encoder tells kernel widths apart, a bar each (§4.2).

    data: as of recipes; "noisy", "batch" and "queue" are not read.
    """
    rows = data["isotropic"]
    figure, ax = plt.subplots(figsize=(9, 0.3 * len(rows) + 1.5))
    _accuracies(ax, data)
    return figure


def _accuracies(ax: Axes, data: dict[str, Any]) -> None:
    _bars(ax, data["isotropic"], "width", data["chance"])
    ax.set_xlabel(
        f"k-NN accuracy, 4 kernel widths, %   (bar: {data['test']}, circle: {data['held_out']})",
        fontsize=9,
    )


def _loss(ax: Axes, row: dict[str, Any], batch: int, queue: int) -> None:
    """A recipe's loss, the loss among the batch's own keys, and what guessing costs in each."""
    recipe, log = row["recipe"], row["log"]
    at = [point["iteration"] for point in log]
    colour = COLOURS[_family(row)]
    chances = {batch: f"ln {batch}"}
    if recipe["negatives"] != "batch":
        n = queue + (batch if recipe["negatives"] == "both" else 1)
        chances[n] = f"ln {n}"
    for n, text in chances.items():
        ax.axhline(math.log(n), color="0.55", ls=":", lw=1)
        ax.annotate(
            text, (1.0, math.log(n)), xycoords=("axes fraction", "data"), color="0.4",
            ha="right", va="bottom", fontsize=9,
        )  # fmt: skip
    ax.plot(at, [point["loss"] for point in log], color=colour, lw=3, label="the loss")
    ax.plot(
        at, [point["in_batch"] for point in log], color="black", lw=1.4, ls="--",
        label="the same, within the batch",
    )  # fmt: skip
    ax.set(title=row["title"], xlabel="iteration", xlim=(0, at[-1] if at else 1))
    ax.title.set_fontsize(10)


def losses(data: dict[str, Any]) -> Figure:
    """The loss that trains, beside the loss among the batch's own keys, which no queue can help.

    data: isotropic, rows with name, title, recipe and log, of which WITH_QUEUE is drawn; batch
    and queue, their sizes.
    """
    rows = {row["name"]: row for row in data["isotropic"]}
    chosen = [rows[name] for name in WITH_QUEUE if name in rows]
    across = min(3, len(chosen))
    down = -(-len(chosen) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(3.9 * across, 2.9 * down), sharey=True, squeeze=False
    )
    for ax, row in zip(axes.flat, chosen, strict=False):
        _loss(ax, row, data["batch"], data["queue"])
    for ax in axes.flat[len(chosen) :]:
        ax.axis("off")
    axes[0][0].set_ylim(0, None)
    for line in axes:
        line[0].set_ylabel("InfoNCE loss")
    axes[0][-1].legend(frameon=False, fontsize=9, loc="best")
    return figure


def input_by_negatives(data: dict[str, Any]) -> Figure:
    """Four recipes, the two inputs crossed with the two sources of negatives: k-NN accuracy (§4.2).

    data: as of recipes; of "isotropic" the rows named in the picture are read.
    """
    names = ((MOCO, "short-rgb"), ("moco-high-pass", SHORT))
    rows = {row["name"]: row for row in data["isotropic"]}
    share = [[rows[name]["test"]["width"] for name in line] for line in names]
    figure, ax = plt.subplots(figsize=(5.4, 3.2))
    ax.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for y, line in enumerate(names):
        for x, name in enumerate(line):
            ink = "black" if share[y][x] > 0.5 else "white"
            text = f"{100 * share[y][x]:.0f} %\n{rows[name]['title']}"
            ax.text(x, y, text, ha="center", va="center", color=ink)
    ax.set_xticks([0, 1], ["keys: MoCo's queue", "keys: the batch"])
    ax.set_yticks([0, 1], ["RGB input", "high-pass\ninput"])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(f"k-NN accuracy on {data['test']}; chance {100 * data['chance']:.0f} %", size=10)
    return figure


def loss_vs_accuracy(data: dict[str, Any]) -> Figure:
    """What the loss says, against what can be read off: a point for each contrastive recipe.

    data: as of recipes. The loss is the last one within the batch, which all recipes have.
    """
    rows = [row for row in data["isotropic"] if row["log"] and not row["recipe"]["supervised"]]
    figure, ax = plt.subplots(figsize=(7.4, 4.2))
    for kind, marker, colour in (("rgb", "s", PALETTE[1]), ("high-pass", "o", PALETTE[0])):
        some = [row for row in rows if row["recipe"]["encoder_input"].startswith(kind)]
        x = [row["log"][-1]["in_batch"] for row in some]
        y = [100 * row["test"]["width"] for row in some]
        ax.scatter(
            x,
            y,
            color=colour,
            marker=marker,
            s=45,
            label=f"{kind.replace('rgb', 'RGB')} input",
            zorder=3,
        )
    named = {
        MOCO: ("left", "bottom"),
        SHORT: ("right", "bottom"),
        "short-rgb": ("left", "top"),
        "short-groupnorm": ("right", "bottom"),
    }
    for row in rows:
        if row["name"] in named:
            at = row["log"][-1]["in_batch"], 100 * row["test"]["width"]
            ha, va = named[row["name"]]
            ax.annotate(f"  {row['title']}  ", at, ha=ha, va=va, fontsize=9)
    guess = math.log(data["batch"])
    ax.axvline(guess, color="0.55", ls=":")
    small: dict[str, Any] = {"color": "0.4", "fontsize": 9, "va": "bottom"}
    ax.annotate(f"guessing: ln {data['batch']} ", (guess, 0.02), xycoords=("data", "axes fraction"),
                ha="right", **small)  # fmt: skip
    ax.axhline(100 * data["chance"], color="0.3", ls="--", lw=1)
    ax.annotate("chance", (0.62, 100 * data["chance"]), xycoords=("axes fraction", "data"), **small)
    ax.set(xlabel="last loss within the batch  (to the left: a better loss)", ylim=(0, 105))
    ax.set_ylabel("k-NN accuracy, 4 widths, %")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def noise_accuracies(data: dict[str, Any]) -> Figure:
    """The noisy study: how well angles and noise levels are told apart, a panel each (§4.3).

    data: as of recipes; "isotropic", "batch" and "queue" are not read.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.34 * len(data["noisy"]) + 1.4), sharey=True)
    _noisy(axes[0], axes[1], data)
    return figure


def _noisy(left: Axes, right: Axes, data: dict[str, Any]) -> None:
    for ax, question in ((left, "angle"), (right, "noise")):
        _bars(ax, data["noisy"], question, data["chance"])
        ax.set_xlabel(f"k-NN accuracy, 4 {question}s, %", fontsize=9)
    right.tick_params(axis="y", labelleft=False)


def recipes(data: dict[str, Any]) -> Figure:
    """The whole study: accuracies, the two losses of MoCo's and the short recipe, and noise.

    data: isotropic and noisy, rows of recipe_study.RecipeStudy.run, baselines first; batch,
    queue and iterations, numbers; chance, of the k-NN, 0..1; test and held_out, what was probed.
    """
    figure = plt.figure(figsize=(12.5, 9.5))
    count, few = len(data["isotropic"]), len(data["noisy"])
    grid = figure.add_gridspec(2, 3, width_ratios=(1, 1, 1.1), height_ratios=(count + 1, few + 2))
    _accuracies(figure.add_subplot(grid[0, :2]), data)
    _noisy(figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1]), data)
    rows = {row["name"]: row for row in data["isotropic"]}
    losses = grid[:, 2].subgridspec(2, 1)
    above = figure.add_subplot(losses[0])
    for ax, name in ((above, MOCO), (figure.add_subplot(losses[1], sharey=above), SHORT)):
        _loss(ax, rows[name], data["batch"], data["queue"])
        ax.set_ylabel("InfoNCE loss")
    above.set_ylim(0, None)
    above.legend(frameon=False, fontsize=9, loc="lower left")
    figure.supxlabel(
        f"{data['iterations']} iterations, batch {data['batch']}, queue {data['queue']}, one seed; "
        "dotted: the recipe that the rows below it change; the lower bars: with noise, §4.3\n",
        fontsize=9,
    )
    return figure
