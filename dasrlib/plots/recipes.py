"""The figures of the recipe study: accuracies of each encoder beside its loss (§3.2.1).

`recipes` draws the whole study, and says what data holds; the others draw parts of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dasrlib.plots.panels import heat_map, level, mark
from dasrlib.plots.style import PALETTE

MOCO, SHORT = "moco", "short"  # the two recipes all others are changes of
COLOURS = {"": "0.6", MOCO: PALETTE[1], SHORT: PALETTE[0], "labels": PALETTE[2]}
WITH_QUEUE = (MOCO, "moco-groupnorm", "moco-high-pass", "moco-both", SHORT)


def _family(row: dict[str, Any]) -> str:
    """What a row is a change of: MoCo's recipe, the short one, labels; "" for a baseline."""
    if row["recipe"] is None:
        return ""
    if row["recipe"]["supervised"]:
        return "labels"
    return MOCO if row["name"].startswith(MOCO) else SHORT


def _bars(ax: Axes, rows: Sequence[dict[str, Any]], question: str, chance: float) -> None:
    """k-NN accuracy of each row, its R² in a column of numbers; a gap before each family."""
    families = [_family(row) for row in rows]
    seen = list(dict.fromkeys(families))
    heights = [i + 0.7 * seen.index(family) for i, family in enumerate(families)]
    test, held_out = ([100 * row[on][question] for row in rows] for on in ("test", "held_out"))
    ax.barh(heights, test, color=[COLOURS[family] for family in families], height=0.72)
    ax.plot(held_out, heights, "o", ms=5, mfc="white", mec="black", zorder=3)
    mark(ax, 100 * chance, "chance", above=True)
    if f"{question} r2" in rows[0]["test"]:
        for height, row in zip(heights, rows, strict=True):
            r2 = f"{row['test'][f'{question} r2']:.2f}".replace("-", "−")
            ax.text(122, height, r2, ha="right", va="center")
        ax.text(122, -0.75, "R²", ha="right", fontsize=9)
    ax.set_yticks(heights, [row["title"] for row in rows])
    for label, row in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row["name"] in (MOCO, SHORT) else "normal")
    ax.set(xlim=(0, 122), ylim=(heights[-1] + 0.6, -0.6), xticks=range(0, 101, 25))


def accuracies(data: dict[str, Any], ax: Any = None) -> Figure:
    """How well each recipe's encoder separates kernel widths, a bar each (§4.2)."""
    ax = ax or plt.subplots(figsize=(9, 0.3 * len(data["isotropic"]) + 1.5))[1]
    _bars(ax, data["isotropic"], "width", data["chance"])
    measured = f"bar: {data['test']}, circle: {data['held_out']}"
    ax.set_xlabel(f"k-NN accuracy, 4 kernel widths, %   ({measured})", fontsize=9)
    return ax.figure


def _loss(ax: Axes, row: dict[str, Any], batch: int, queue: int) -> None:
    """A recipe's loss, the loss among the batch's own keys, and the chance level of each."""
    recipe, log = row["recipe"], row["log"]
    of_queue = {"batch": set(), "both": {queue + batch}}.get(recipe["negatives"], {queue + 1})
    for candidates in (batch, *of_queue):
        level(ax, math.log(candidates), f"ln {candidates}")
    at, loss, in_batch = ([p[key] for p in log] for key in ("iteration", "loss", "in_batch"))
    ax.plot(at, loss, color=COLOURS[_family(row)], lw=3, label="the loss")
    ax.plot(at, in_batch, "--", color="black", lw=1.4, label="the same, within the batch")
    ax.set(title=row["title"], xlabel="iteration", xlim=(0, at[-1] if at else 1))


def losses(data: dict[str, Any]) -> Figure:
    """The loss that trains, beside the loss among the batch's own keys, which has no queue."""
    chosen = [row for name in WITH_QUEUE for row in data["isotropic"] if row["name"] == name]
    figure, axes = plt.subplots(2, 3, figsize=(11.7, 5.8), sharey=True)
    for ax, row in zip(axes.flat, chosen, strict=False):
        _loss(ax, row, data["batch"], data["queue"])
    axes[1, 2].set_axis_off()
    axes[0, 0].set(ylim=(0, None), ylabel="InfoNCE loss")
    axes[1, 0].set_ylabel("InfoNCE loss")
    axes[0, 2].legend()
    return figure


def input_by_negatives(data: dict[str, Any]) -> Figure:
    """k-NN accuracy of four recipes: two inputs crossed with two sources of negatives (§4.2)."""
    names = ((MOCO, "short-rgb"), ("moco-high-pass", SHORT))
    rows = {row["name"]: row for row in data["isotropic"]}
    share = [[100 * rows[name]["test"]["width"] for name in line] for line in names]
    texts = [[f"{{:.0f}} %\n{rows[name]['title']}" for name in line] for line in names]
    figure, ax = plt.subplots(figsize=(5.4, 3.2))
    heat_map(ax, share, texts, vmin=0, vmax=100, aspect="auto")
    ax.set_xticks([0, 1], ["keys: MoCo's queue", "keys: the batch"])
    ax.set_yticks([0, 1], ["RGB input", "high-pass\ninput"])
    ax.set_title(f"k-NN accuracy on {data['test']}; chance {100 * data['chance']:.0f} %")
    return figure


# How the names of some recipes are aligned with their points.
NAMED = {
    MOCO: ("left", "bottom"),
    SHORT: ("right", "bottom"),
    "short-rgb": ("left", "top"),
    "short-groupnorm": ("right", "bottom"),
}


def loss_vs_accuracy(data: dict[str, Any]) -> Figure:
    """The last loss within the batch against k-NN accuracy, a point for each contrastive recipe."""
    rows = [row for row in data["isotropic"] if row["log"] and not row["recipe"]["supervised"]]
    figure, ax = plt.subplots(figsize=(7.4, 4.2))
    for row in rows:
        x, y = row["log"][-1]["in_batch"], 100 * row["test"]["width"]
        high_pass = row["recipe"]["encoder_input"].startswith("high-pass")
        ax.plot(x, y, "o" if high_pass else "s", color=PALETTE[not high_pass], ms=7)
        if row["name"] in NAMED:
            ha, va = NAMED[row["name"]]
            ax.text(x, y, f"  {row['title']}  ", ha=ha, va=va, fontsize=9)
    mark(ax, math.log(data["batch"]), f"guessing: ln {data['batch']}", above=True)
    level(ax, 100 * data["chance"], "chance")
    ax.set(xlabel="last loss within the batch  (to the left: a better loss)", ylim=(0, 105))
    ax.set_ylabel("k-NN accuracy, 4 widths, %")
    ax.set_title("squares: RGB input, circles: high-pass input", loc="left", pad=16)
    return figure


def noise_accuracies(data: dict[str, Any], axes: Sequence[Any] = ()) -> Figure:
    """The noisy study: how well angles and noise levels are separated, a panel each (§4.3)."""
    axes = axes or plt.subplots(1, 2, figsize=(10, 0.34 * len(data["noisy"]) + 1.4))[1].tolist()
    for ax, question in zip(axes, ("angle", "noise"), strict=True):
        _bars(ax, data["noisy"], question, data["chance"])
        ax.set_xlabel(f"k-NN accuracy, 4 {question}s, %", fontsize=9)
    axes[1].tick_params(axis="y", labelleft=False)
    return axes[0].figure


def recipes(data: dict[str, Any]) -> Figure:
    """The whole study: accuracies, the two losses of MoCo's and the short recipe, and noise.

    data: isotropic and noisy, rows of recipe_study.run_study, baselines first; batch,
    queue and iterations, numbers; chance, of the k-NN, 0..1; test and held_out, what was probed.
    """
    figure = plt.figure(figsize=(12.5, 9.5))
    count, few = len(data["isotropic"]), len(data["noisy"])
    grid = figure.add_gridspec(2, 3, width_ratios=(1, 1, 1.1), height_ratios=(count + 1, few + 2))
    accuracies(data, figure.add_subplot(grid[0, :2]))
    noise_accuracies(data, [figure.add_subplot(grid[1, i]) for i in (0, 1)])
    rows = {row["name"]: row for row in data["isotropic"]}
    panels: Any = grid[:, 2].subgridspec(2, 1).subplots(sharey=True)
    for ax, name in zip(panels, (MOCO, SHORT), strict=True):
        _loss(ax, rows[name], data["batch"], data["queue"])
        ax.set_ylabel("InfoNCE loss")
    panels[0].set_ylim(0, None)
    panels[0].legend(loc="lower left")
    figure.supxlabel(
        f"{data['iterations']} iterations, batch {data['batch']}, queue {data['queue']}, one seed; "
        "bold: the recipe that the rows below it change; the lower bars: with noise, §4.3\n",
        fontsize=9,
    )
    return figure
