"""The figures of §4.1 that say what to expect of a run's losses, and when to worry."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dasrlib.plots.style import PALETTE

CONTRASTIVE, SR = PALETTE[1], PALETTE[0]
WORRY = "#F6E1D3"  # a light tint of the palette's vermilion
NOTE: dict[str, Any] = {"fontsize": 8, "color": "0.25"}


def contrastive_game(data: dict[str, Any]) -> Figure:
    """The game of the contrastive loss on one batch, played by several encoders (§3.2.1).

    data: widths, B numbers in HR pixels, ascending; encoders, by name, each with its loss and
    chosen: B lists of B probabilities, row i what first patch i gives to each second patch.
    """
    widths, encoders = data["widths"], data["encoders"]
    columns = len(encoders)
    figure, axes = plt.subplots(1, columns, figsize=(4.6 * columns, 4.2), squeeze=False)
    labels = [f"{width:.1f}" for width in widths]
    for ax, (name, played) in zip(axes[0], encoders.items(), strict=True):
        shown = ax.imshow(played["chosen"], cmap="viridis", vmin=0, vmax=1)
        ax.set_title(f"{name}: loss {played['loss']:.2f}", fontsize=10)
        ax.set_xticks(range(len(labels)), labels, fontsize=7, rotation=90)
        ax.set_yticks(range(len(labels)), labels, fontsize=7)
        ax.set_xlabel("σ of the second patch")
    axes[0][0].set_ylabel("σ of the first patch")
    figure.colorbar(shown, ax=axes[0].tolist(), shrink=0.8, label="probability given")
    return figure


def loss_vs_sigma_error(data: dict[str, Any]) -> Figure:
    """The contrastive loss of an observer who reads σ off a patch with an error (§3.2.1).

    data: errors, in HR pixels; losses, a list by batch size; measured, what a run's loss came down
    to, with its batch.
    """
    figure, ax = plt.subplots(figsize=(7, 3.6))
    for (size, losses), colour in zip(data["losses"].items(), PALETTE[2:], strict=False):
        ax.plot(data["errors"], losses, "o-", color=colour, ms=4, label=f"batch of {size}")
        ax.axhline(math.log(int(size)), color=colour, ls="--", lw=1)
        ax.text(data["errors"][0], math.log(int(size)), f"ln {size}", va="bottom", color=colour)
    batch, loss = data["measured"]["batch"], data["measured"]["loss"]
    ax.axhline(loss, color=CONTRASTIVE, ls=":")
    where = {"ha": "right", "va": "bottom", **NOTE}
    ax.text(data["errors"][-1], loss, f"the run came down to {loss:.2f}, batch of {batch}", **where)
    ax.set(xscale="log", xlabel="error with which σ is read, HR pixels", ylabel="contrastive loss")
    ax.set_xticks(data["errors"], [f"{error:g}" for error in data["errors"]])
    ax.minorticks_off()
    ax.set_ylim(bottom=0, top=1.2 * math.log(max(map(int, data["losses"]))))
    ax.legend(frameon=False, fontsize=8, loc="center left")
    return figure


def effective_candidates(data: dict[str, Any]) -> Figure:
    """Among how many partners the encoder still hesitates, e to the contrastive loss, over a run
    (§3.2.1).

    data: log, the records of `Run.log`; batches, of stages 1 and 2.
    """
    points = [r for r in data["log"] if "contrastive" in r]
    last = data["log"][-1]["iteration"]
    figure, ax = plt.subplots(figsize=(8, 3.6))
    for stage, size in enumerate(data["batches"], start=1):
        of_stage = [r for r in points if r["stage"] == stage]
        if not of_stage:
            continue
        at = [r["iteration"] for r in of_stage]
        start = (
            0 if stage == 1 else max((r["iteration"] for r in points if r["stage"] == 1), default=0)
        )
        ax.fill_between([start, at[-1]], 0.9 * size, size, color=WORRY, lw=0)
        ax.plot(at, [math.exp(r["contrastive"]) for r in of_stage], color=PALETTE[stage], lw=1.4)
        x, side = (start, "left") if stage == 1 else (at[-1], "right")
        ax.text(x, 1.02 * size, f" stage {stage}: {size} to choose from", ha=side, **NOTE)
    ax.axhspan(0, 1.1, color=WORRY, lw=0)
    ax.text(last, 0.55, "worry if it is here at once: something gives the partner away",
            ha="right", va="center", **NOTE)  # fmt: skip
    ax.set(xlabel="iteration", ylabel="candidates left, e to the loss", xlim=(0, 1.01 * last))
    ax.set_ylim(0, 1.15 * max(data["batches"]))
    return figure


def sr_losses(data: dict[str, Any]) -> Figure:
    """The SR loss of single examples against their kernel width, and of batches of them (§4.1).

    data: methods, by name a list of losses on the 0..255 scale; widths, one an example, in HR
    pixels; batch, how many examples make a batch.
    """
    widths, size = data["widths"], data["batch"]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, width_ratios=(2, 1))
    for (name, losses), colour in zip(data["methods"].items(), (PALETTE[6], SR), strict=False):
        axes[0].plot(widths, losses, "o", color=colour, ms=4, alpha=0.7, label=name)
        batches = [losses[i : i + size] for i in range(0, len(losses) - size + 1, size)]
        means = [sum(batch) / size for batch in batches]
        axes[1].plot(range(1, len(means) + 1), means, "o-", color=colour, ms=5, label=name)
    axes[0].set(xlabel="σ of the example", ylabel="SR loss, levels of 255", title="each example")
    axes[0].legend(frameon=False, fontsize=8)
    axes[1].set(xlabel="batch", title=f"means over batches of {size}", ylim=(0, None))
    return figure


def psnr_gains(data: dict[str, Any]) -> Figure:
    """Held-out PSNR above bicubic enlargement by kernel width, over a run (§4.1).

    data: log, the records of `Run.log`; bicubic, its PSNR on the same crops by width.
    """
    measured = [r for r in data["log"] if "psnr" in r]
    last = data["log"][-1]["iteration"]
    figure, ax = plt.subplots(figsize=(8, 3.6))
    at = [r["iteration"] for r in measured]
    lowest = 0.0
    for (label, base), colour in zip(data["bicubic"].items(), PALETTE, strict=False):
        above = [r["psnr"][label] - base for r in measured]
        lowest = min(lowest, *above)
        ax.plot(at, above, "o-", color=colour, ms=4)
        ax.text(at[-1], above[-1], f"  σ = {label}", color=colour, va="center", fontsize=9)
    floor = 1.15 * min(lowest, -0.5)
    ax.axhline(0, color="0.3", lw=1)
    ax.fill_between([0.2 * last, last], floor, 0, color=WORRY, lw=0)
    ax.text(0.99 * last, 0.5 * floor, "worry if it is here after a fifth of the run",
            ha="right", va="center", **NOTE)  # fmt: skip
    ax.set(xlabel="iteration", ylabel="dB above bicubic", xlim=(0, 1.12 * last))
    ax.set_ylim(bottom=floor)
    return figure
