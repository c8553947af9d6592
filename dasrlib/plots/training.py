"""The figures of §4.1: a training batch, its two losses, the schedules, the log of a run, and what
to expect of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dasrlib.plots.panels import level, mark, picture_grid
from dasrlib.plots.style import PALETTE, image_axes

STAGE_COLOUR = {1: "#EEF3F7", 2: "white"}
CONTRASTIVE, SR = PALETTE[1], PALETTE[0]
WORRY = "#F6E1D3"  # a light tint of the palette's vermilion
NOTE: dict[str, Any] = {"fontsize": 8, "color": "0.25"}


def _series(log: Sequence[dict[str, Any]], x: str, y: str) -> tuple[list[float], list[Any]]:
    """Two columns of the records of `Run.log` that have the second."""
    records = [record for record in log if y in record]
    return [record[x] for record in records], [record[y] for record in records]


def _frames(ax: Axes, corners: Iterable[tuple[float, float]], side: float, colour: str) -> None:
    """Squares around pixels, at their first (row, column)."""
    for row, column in corners:
        corner = (column - 0.5, row - 0.5)
        ax.add_patch(plt.Rectangle(corner, side, side, fill=False, ec=colour, lw=2.5))


def training_batch(data: dict[str, Any]) -> Figure:
    """Training examples, one a column: HR patches (B, 2, 3, sP, sP), LR patches below (§4.1)."""
    rows = {
        f"{name}, {place} patch": data[name.lower()][:, i]
        for name in ("HR", "LR")
        for i, place in enumerate(("first", "second"))
    }
    return picture_grid(rows, [f"σ = {width:.2f}" for width in data["widths"]], 1.7)[0]


def one_pair(data: dict[str, Any]) -> Figure:
    """A training example: two squares of a photograph, from corners (row, column) on (§4.1)."""
    figure = plt.figure(figsize=(9, 3.6))
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.3, 1))
    ax = parts[0].subplots()
    image_axes(ax, data["photograph"], "one photograph, two squares")
    rows = {" " * i: [data["hr"][i], data["lr"][i]] for i in range(2)}
    _, small = picture_grid(rows, ("HR", f"LR, σ = {data['width']:.1f}"), figure=parts[1])
    for corner, line, colour in zip(data["corners"], small, PALETTE, strict=False):
        _frames(ax, [corner], data["hr"].shape[-1], colour)
        for patch in line:
            patch.spines[:].set(visible=True, color=colour, linewidth=2.5)
    return figure


def two_losses(data: dict[str, Any]) -> Figure:
    """What each loss compares, on one batch: hr and sr (3, H, W), logits B lists of B (§4.1)."""
    hr, sr, logits = data["hr"], data["sr"], data["logits"]
    difference = 255 * (sr - hr).abs().mean(dim=0)
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2))
    image_axes(axes[0], hr, "HR")
    image_axes(axes[1], sr, "SR, here bicubic")
    shown = axes[2].imshow(difference.detach().numpy(), cmap="magma", vmin=0)
    axes[2].set(title="|SR − HR|, levels of 255", xticks=[], yticks=[])
    axes[2].set_xlabel(f"their mean is L_SR = {float(difference.mean()):.1f}")
    figure.colorbar(shown, ax=axes[2], shrink=0.8)
    shown = axes[3].imshow(logits, cmap="viridis")
    axes[3].set(title="logits p_i¹·p_j²/τ", xlabel="second patch j", ylabel="first patch i")
    axes[3].set(xticks=range(len(logits)), yticks=range(len(logits)))
    # The positives: L_degrad wants them the largest of their row.
    _frames(axes[3], [(i, i) for i in range(len(logits))], 1, CONTRASTIVE)
    figure.colorbar(shown, ax=axes[3], shrink=0.8)
    return figure


def schedules(data: dict[str, Any]) -> Figure:
    """The learning rate over the iterations of both stages, a panel for each profile (§4.1)."""
    figure, axes = plt.subplots(1, len(data), figsize=(5.2 * len(data), 3.2), squeeze=False)
    for ax, (profile, stages) in zip(axes[0], data.items(), strict=True):
        for number, stage in enumerate(stages, start=1):
            ax.plot(stage["iterations"], stage["lr"], lw=2, label=f"stage {number}")
            ax.axvspan(stage["iterations"][0], stage["iterations"][-1], color=STAGE_COLOUR[number])
        ax.set(title=f"{profile} profile", xlabel="iteration", yscale="log", ylim=(5e-6, 2.5e-3))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.xaxis.set_major_formatter("{x:,.0f}")
    axes[0][0].set_ylabel("learning rate")
    axes[0][-1].legend()
    return figure


def loss_curves(data: dict[str, Any]) -> Figure:
    """The two losses of a run, and optionally of the same run again in pieces (§4.1)."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
    looks = (("contrastive", "L_degrad", CONTRASTIVE), ("sr", "L_SR", SR))
    for ax, (key, name, colour) in zip(axes, looks, strict=True):
        ax.plot(*_series(data["log"], "iteration", key), color=colour, lw=2, label="in one go")
        if "again" in data:
            again = _series(data["again"], "iteration", key)
            ax.plot(*again, "o", color=colour, mfc="none", ms=9, label="in pieces")
        for end in data.get("ends", []):
            mark(ax, end, "cut and resumed")
        ax.set(title=name, xlabel="iteration", xlim=(0, data["log"][-1]["iteration"] * 1.03))
    level(axes[0], math.log(data["batch"]), f"ln {data['batch']}", "0.3", "--")
    for ax in axes:
        ax.set_ylim(0, 1.4 * ax.get_ylim()[1])  # room for the legend
    axes[0].legend(loc="upper right", ncols=2)
    return figure


NO_RISE = (
    "The paper's loss rises first, while real keys replace the random queue.\n"
    "Here the negatives are the batch's own: it starts near ln B and falls."
)
NO_ZERO = "It need not reach 0: neighbouring widths look the same, and count as different."


def training_log(data: dict[str, Any]) -> Figure:
    """A run's contrastive loss, SR loss and held-out PSNR against minutes (§4.1).

    data: log, the records of `Run.log`; recipe; batches, of stages 1 and 2; title; optionally
    bicubic, the PSNR of bicubic upsampling on the same held-out crops by kernel width.
    """
    log, bicubic = data["log"], data.get("bicubic") or {}
    last = log[-1]["minutes"]
    end = max((r["minutes"] for r in log if r["stage"] == 1), default=0.0)
    figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(8, 8.4), sharex=True)
    for ax in (top, middle, bottom) if end else ():
        ax.axvspan(0, end, color=STAGE_COLOUR[1])
        mark(ax, end, "stage 1")

    minutes, losses = _series(log, "minutes", "contrastive")
    top.plot(minutes, losses, color=CONTRASTIVE, lw=1.2)
    for size, start, stop in zip(data["batches"], (0, end), (end, last), strict=True):
        if stop > start:
            top.hlines(math.log(size), start, stop, color="0.3", ls="--")
            name, side = f" ln {size}: guessing", "right" if start else "left"
            top.text(stop, math.log(size), name, ha=side, va="bottom", **NOTE)
    highest = max([math.log(max(data["batches"])), *losses])
    top.set(title=data.get("title", ""), ylabel="contrastive loss", ylim=(0, 1.25 * highest))
    if data["recipe"] == "in-batch":
        top.text(last, 1.22 * highest, NO_RISE, ha="right", va="top", **NOTE)
    top.text(last, 0.04 * highest, NO_ZERO, ha="right", **NOTE)

    minutes, losses = _series(log, "minutes", "sr")
    middle.plot(minutes, losses, color=SR, lw=1)
    if losses:  # the first iterations of stage 2 start from nothing and would flatten the rest
        middle.set_ylim(0.7 * min(losses), 1.3 * sorted(losses)[int(0.95 * (len(losses) - 1))])
    middle.set_ylabel("SR loss, levels of 255")

    minutes, measured = _series(log, "minutes", "psnr")
    for label, colour in zip(measured[0] if measured else [], PALETTE, strict=False):
        values = [psnr[label] for psnr in measured]
        bottom.plot(minutes, values, "o-", color=colour, ms=4, label=f"σ = {label}")
        if bicubic:
            bottom.axhline(bicubic[label], color=colour, ls=":", lw=1.2)
    if measured:
        bottom.legend(ncols=4, loc="lower right")
        bottom.set_ylim(bottom.get_ylim()[0] - 0.5)  # room for the legend
    name = "held-out PSNR, dB" + ("\n(dotted: bicubic)" if bicubic else "")
    bottom.set(xlabel="minutes", ylabel=name, xlim=(0, last * 1.01))
    return figure


def contrastive_game(data: dict[str, Any]) -> Figure:
    """The probabilities that several encoders give to the second patches of one batch (§3.2.1)."""
    encoders, labels = data["encoders"], [f"{width:.1f}" for width in data["widths"]]
    size = (4.6 * len(encoders), 4.2)
    figure, axes = plt.subplots(1, len(encoders), figsize=size, squeeze=False)
    for ax, (name, played) in zip(axes[0], encoders.items(), strict=True):
        shown = ax.imshow(played["chosen"], cmap="viridis", vmin=0, vmax=1)
        ax.set(title=f"{name}: loss {played['loss']:.2f}", xlabel="σ of the second patch")
        ax.set_xticks(range(len(labels)), labels, fontsize=7, rotation=90)
        ax.set_yticks(range(len(labels)), labels, fontsize=7)
    axes[0][0].set_ylabel("σ of the first patch")
    figure.colorbar(shown, ax=axes[0].tolist(), shrink=0.8, label="probability given")
    return figure


def loss_vs_sigma_error(data: dict[str, Any]) -> Figure:
    """The contrastive loss of an observer that reads σ with an error, by batch size (§3.2.1)."""
    figure, ax = plt.subplots(figsize=(7, 3.6))
    for (size, losses), colour in zip(data["losses"].items(), PALETTE[2:], strict=False):
        ax.plot(data["errors"], losses, "o-", color=colour, ms=4, label=f"batch of {size}")
        level(ax, math.log(int(size)), f"ln {size}", colour, "--")
    batch, loss = data["measured"]["batch"], data["measured"]["loss"]
    level(ax, loss, f"the run came down to {loss:.2f}, batch of {batch}", CONTRASTIVE)
    ax.set(xscale="log", xlabel="error of the σ that is read, HR pixels", ylabel="contrastive loss")
    ax.set_xticks(data["errors"], [f"{error:g}" for error in data["errors"]])
    ax.minorticks_off()
    ax.set_ylim(bottom=0, top=1.2 * math.log(max(map(int, data["losses"]))))
    ax.legend(loc="center left")
    return figure


def effective_candidates(data: dict[str, Any]) -> Figure:
    """e to the contrastive loss: guessing among so many candidates would be as good (§3.2.1)."""
    last, start = data["log"][-1]["iteration"], 0.0
    figure, ax = plt.subplots(figsize=(8, 3.6))
    for stage, size in enumerate(data["batches"], start=1):
        of_stage = [record for record in data["log"] if record["stage"] == stage]
        at, losses = _series(of_stage, "iteration", "contrastive")
        if at:
            ax.fill_between([start, at[-1]], 0.9 * size, size, color=WORRY, lw=0)
            ax.plot(at, [math.exp(loss) for loss in losses], color=PALETTE[stage], lw=1.4)
            x, side = (start, "left") if stage == 1 else (at[-1], "right")
            ax.text(x, 1.02 * size, f" stage {stage}: {size} candidates", ha=side, **NOTE)
            start = at[-1]
    ax.axhspan(0, 1.1, color=WORRY, lw=0)
    ax.text(last, 0.55, "worry if it is here at once: something gives the partner away",
            ha="right", va="center", **NOTE)  # fmt: skip
    ax.set(xlabel="iteration", ylabel="effective candidates, e to the loss", xlim=(0, 1.01 * last))
    ax.set_ylim(0, 1.15 * max(data["batches"]))
    return figure


def sr_losses(data: dict[str, Any]) -> Figure:
    """The SR loss of single examples against their kernel width, and of batches of them (§4.1)."""
    size = data["batch"]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, width_ratios=(2, 1))
    for (name, losses), colour in zip(data["methods"].items(), (PALETTE[6], SR), strict=False):
        axes[0].plot(data["widths"], losses, "o", color=colour, ms=4, alpha=0.7, label=name)
        batches = [losses[i : i + size] for i in range(0, len(losses) - size + 1, size)]
        means = [sum(batch) / size for batch in batches]
        axes[1].plot(range(1, len(means) + 1), means, "o-", color=colour, ms=5)
    axes[0].set(xlabel="σ of the example", ylabel="SR loss, levels of 255", title="each example")
    axes[0].legend()
    axes[1].set(xlabel="batch", title=f"means over batches of {size}", ylim=(0, None))
    return figure


def psnr_gains(data: dict[str, Any]) -> Figure:
    """Held-out PSNR above bicubic upsampling by kernel width, over a run's log (§4.1)."""
    last = data["log"][-1]["iteration"]
    at, measured = _series(data["log"], "iteration", "psnr")
    figure, ax = plt.subplots(figsize=(8, 3.6))
    lowest = -0.5
    for (label, base), colour in zip(data["bicubic"].items(), PALETTE, strict=False):
        above = [psnr[label] - base for psnr in measured]
        lowest = min(lowest, *above)
        ax.plot(at, above, "o-", color=colour, ms=4)
        ax.text(at[-1], above[-1], f"  σ = {label}", color=colour, va="center", fontsize=9)
    floor = 1.15 * lowest
    ax.axhline(0, color="0.3", lw=1)
    ax.fill_between([0.2 * last, last], floor, 0, color=WORRY, lw=0)
    ax.text(0.99 * last, 0.5 * floor, "worry if it is here after a fifth of the run",
            ha="right", va="center", **NOTE)  # fmt: skip
    ax.set(xlabel="iteration", ylabel="dB above bicubic", xlim=(0, 1.12 * last))
    ax.set_ylim(bottom=floor)
    return figure
