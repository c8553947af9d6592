"""The figures of §4.1: a training batch, its two losses, the schedules, and what a run logged."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dasrlib.plots.style import PALETTE, image_axes

STAGE_COLOUR = {1: "#EEF3F7", 2: "white"}
CONTRASTIVE, SR = PALETTE[1], PALETTE[0]


def training_batch(data: dict[str, Any]) -> Figure:
    """Training examples, one a column: two HR patches, and below them the two LR patches (§4.1).

    data: hr (B, 2, 3, sP, sP) and lr (B, 2, 3, P, P), tensors in [0, 1]; widths, B numbers in HR
    pixels. An LR patch is drawn as large as its HR patch.
    """
    hr, lr, widths = data["hr"], data["lr"], data["widths"]
    columns = len(widths)
    rows = [
        ("HR, first patch", hr[:, 0]),
        ("HR, second patch", hr[:, 1]),
        ("LR, first patch", lr[:, 0]),
        ("LR, second patch", lr[:, 1]),
    ]
    figure, axes = plt.subplots(4, columns, figsize=(1.7 * columns, 6.8), squeeze=False)
    for line, (name, patches) in zip(axes, rows, strict=True):
        for ax, patch in zip(line, patches, strict=True):
            image_axes(ax, patch)
        line[0].set_ylabel(name, fontsize=9)
    for ax, width in zip(axes[0], widths, strict=True):
        ax.set_title(f"σ = {width:.2f}", fontsize=10)
    return figure


def one_pair(data: dict[str, Any]) -> Figure:
    """How a training example is cut from a photograph: two squares, and what becomes of them
    (§4.1).

    data: photograph, a tensor (3, H, W) in [0, 1]; corners, the two squares' (row, column); hr
    (2, 3, sP, sP) and lr (2, 3, P, P); width, in HR pixels.
    """
    figure = plt.figure(figsize=(9, 3.6))
    grid = figure.add_gridspec(2, 3, width_ratios=(2.6, 1, 1))
    ax = figure.add_subplot(grid[:, 0])
    image_axes(ax, data["photograph"], "one photograph, two squares")
    side = data["hr"].shape[-1]
    for i, (row, column) in enumerate(data["corners"]):
        colour = PALETTE[i]
        corner = (column - 0.5, row - 0.5)
        ax.add_patch(plt.Rectangle(corner, side, side, fill=False, ec=colour, lw=2.5))
        for column_of_grid, key in ((1, "hr"), (2, "lr")):
            small = figure.add_subplot(grid[i, column_of_grid])
            image_axes(small, data[key][i])
            small.spines[:].set(visible=True, color=colour, linewidth=2.5)
            if i == 0:
                small.set_title("HR" if key == "hr" else f"LR, σ = {data['width']:.1f}")
    return figure


def two_losses(data: dict[str, Any]) -> Figure:
    """What each of the two losses looks at, on one batch (§4.1).

    data: hr and sr, tensors (3, H, W) in [0, 1], of one example; logits, B lists of B numbers, the
    positive on the diagonal.
    """
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
    axes[3].set_xticks(range(len(logits)))
    axes[3].set_yticks(range(len(logits)))
    for i in range(len(logits)):  # the positives: L_degrad wants them the largest of their row
        corner = (i - 0.5, i - 0.5)
        axes[3].add_patch(plt.Rectangle(corner, 1, 1, fill=False, ec=CONTRASTIVE, lw=2))
    figure.colorbar(shown, ax=axes[3], shrink=0.8)
    return figure


def schedules(data: dict[str, Any]) -> Figure:
    """The learning rate over the iterations, a panel for each profile (§4.1).

    data: by profile, a list of two stages, each with iterations (where it was sampled, counted
    from the start of the run) and lr.
    """
    figure, axes = plt.subplots(1, len(data), figsize=(5.2 * len(data), 3.2), squeeze=False)
    for ax, (profile, stages) in zip(axes[0], data.items(), strict=True):
        for number, stage in enumerate(stages, start=1):
            ax.plot(stage["iterations"], stage["lr"], color=PALETTE[number - 1], lw=2)
            ax.axvspan(stage["iterations"][0], stage["iterations"][-1], color=STAGE_COLOUR[number])
            middle = (stage["iterations"][0] + stage["iterations"][-1]) / 2
            if stage["iterations"][-1] > 0.1 * stages[-1]["iterations"][-1]:
                ax.text(middle, 1.6e-3, f"stage {number}", ha="center", color=PALETTE[number - 1])
        ax.set(title=f"{profile} profile", xlabel="iteration", yscale="log", ylim=(5e-6, 2.5e-3))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes[0][0].set_ylabel("learning rate")
    return figure


def loss_curves(data: dict[str, Any]) -> Figure:
    """The two losses of a run over its iterations, and where it was cut (§4.1).

    data: log, the records of `Run.log`; batch, of stage 1; optionally again, the log of the same
    run cut in pieces, and ends, the iterations at which it was cut.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
    for ax, key, name in ((axes[0], "contrastive", "L_degrad"), (axes[1], "sr", "L_SR")):
        colour = CONTRASTIVE if key == "contrastive" else SR
        for log, style in ((data["log"], "-"), (data.get("again", []), "o")):
            points = [(r["iteration"], r[key]) for r in log if key in r]
            label = "in one go" if style == "-" else "in pieces"
            fill = {"mfc": "none", "ms": 9} if style == "o" else {"lw": 2}
            if points:
                ax.plot(*zip(*points, strict=True), style, color=colour, label=label, **fill)
        for i, end in enumerate(data.get("ends", [])):
            ax.axvline(end, color="0.6", ls=":", label="cut and resumed" if i == 0 else None)
        ax.set(title=name, xlabel="iteration")
        ax.set_xlim(0, data["log"][-1]["iteration"] * 1.03)
    axes[0].axhline(math.log(data["batch"]), color="0.3", ls="--", label=f"ln {data['batch']}")
    for ax in axes:
        ax.set_ylim(0, 1.4 * ax.get_ylim()[1])  # room for the legend
    axes[0].legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    return figure


def queue_fills(data: dict[str, Any]) -> Figure:
    """The loss of an encoder that learns nothing while MoCo's random queue fills (§3.2.1, §4.1).

    data: losses, one a batch; batch and queue, their sizes.
    """
    losses, size, queue = data["losses"], data["batch"], data["queue"]
    full = queue / size
    figure, ax = plt.subplots(figsize=(6.5, 3.2))
    ax.plot(range(1, len(losses) + 1), losses, "o-", color=CONTRASTIVE, ms=4)
    level = math.log(queue + 1)
    ax.axhline(level, color="0.3", ls="--")
    ax.text(len(losses), level, f"ln {queue + 1}", ha="right", va="bottom", color="0.3")
    ax.axvline(full + 1, color="0.6", ls=":")
    ax.text(full + 1.3, 0.1, "from here on no random\nentry is left", fontsize=8, color="0.35")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="batch", ylabel="contrastive loss", ylim=(-0.2, max(level, *losses) + 0.6))
    ax.set_title("The rise, with a learning rate of zero")
    return figure


NO_RISE = (
    "The paper's loss rises first: it starts near 0, against a queue of\n"
    "random vectors, which real embeddings then replace. Here the wrong\n"
    "answers are the batch's own, so it starts near ln B and falls."
)
SMALL: dict[str, Any] = {"fontsize": 8, "color": "0.3"}
NO_ZERO = "It need not reach 0: neighbouring widths look the same, and count as different."


def _stages_on(ax: Axes, log: list[dict[str, Any]]) -> float:
    """Shades stage 1; returns the minute of its end, 0 where the run had none."""
    end = max((r["minutes"] for r in log if r["stage"] == 1), default=0.0)
    if end:
        ax.axvspan(0, end, color=STAGE_COLOUR[1])
        ax.axvline(end, color="0.6", lw=0.8)
    return end


def training_log(data: dict[str, Any]) -> Figure:
    """A run's contrastive loss, SR loss and held-out PSNR against minutes (§4.1).

    data: log, the records of `Run.log`; recipe; batches, of stages 1 and 2; title; optionally
    bicubic, the PSNR of bicubic enlargement on the same held-out crops by kernel width.
    """
    log = data["log"]
    last = log[-1]["minutes"]
    figure, axes = plt.subplots(3, 1, figsize=(8, 8.4), sharex=True)
    end = max(_stages_on(ax, log) for ax in axes)

    contrastive = [(r["minutes"], r["contrastive"]) for r in log if "contrastive" in r]
    if contrastive:
        axes[0].plot(*zip(*contrastive, strict=True), color=CONTRASTIVE, lw=1.2)
    for size, start, stop in zip(data["batches"], (0, end), (end, last), strict=True):
        if stop > start:
            level, side = math.log(size), "right" if start else "left"
            axes[0].hlines(level, start, stop, color="0.3", ls="--")
            name = f" ln {size}: knows nothing"
            axes[0].text(stop, level, name, ha=side, va="bottom", fontsize=8, color="0.3")
    top = max([math.log(max(data["batches"])), *(value for _, value in contrastive)])
    axes[0].set(ylabel="contrastive loss", ylim=(0, 1.25 * top))
    if data["recipe"] == "in-batch":
        axes[0].text(
            0.99, 0.97, NO_RISE, ha="right", va="top", transform=axes[0].transAxes, **SMALL
        )
    axes[0].text(0.99, 0.04, NO_ZERO, ha="right", transform=axes[0].transAxes, **SMALL)
    axes[0].set_title(data.get("title", ""), fontsize=10)

    sr = [(r["minutes"], r["sr"]) for r in log if "sr" in r]
    if sr:
        axes[1].plot(*zip(*sr, strict=True), color=SR, lw=1)
        # The first iterations of stage 2 start from nothing and would flatten all the rest.
        settled = sorted(value for _, value in sr)[int(0.95 * (len(sr) - 1))]
        axes[1].set_ylim(0.7 * min(value for _, value in sr), 1.3 * settled)
    axes[1].set_ylabel("SR loss, levels of 255")

    measured = [r for r in log if "psnr" in r]
    for label, colour in zip(measured[0]["psnr"] if measured else [], PALETTE, strict=False):
        values = [r["psnr"][label] for r in measured]
        minutes = [r["minutes"] for r in measured]
        axes[2].plot(minutes, values, "o-", color=colour, ms=4, label=f"σ = {label}")
        if data.get("bicubic"):
            axes[2].axhline(data["bicubic"][label], color=colour, ls=":", lw=1.2)
    if measured:
        axes[2].legend(frameon=False, fontsize=8, ncols=4, loc="lower right")
        lowest = min(min(r["psnr"].values()) for r in measured)
        lowest = min([lowest, *(data.get("bicubic") or {}).values()])
        axes[2].set_ylim(bottom=lowest - 0.6)
    name = "held-out PSNR, dB" + ("\n(dotted: bicubic)" if data.get("bicubic") else "")
    axes[2].set(xlabel="minutes", ylabel=name, xlim=(0, last * 1.01))
    for ax in axes if end else []:
        across = ax.get_xaxis_transform()
        ax.text(end, 0.97, " stage 2", va="top", fontsize=8, transform=across)
        if end > 0.1 * last:  # else there is no room for the word
            ax.text(end, 0.97, "stage 1 ", va="top", ha="right", fontsize=8, transform=across)
        else:
            ax.text(end, 0.03, "stage 1", ha="right", fontsize=8, transform=across, rotation=90)
    return figure


def iteration_budgets(data: dict[str, Any]) -> Figure:
    """What each profile's schedule costs: iterations, and hours at a measured speed (§4.1).

    data: by profile, iterations, and hours at the speed of one machine; machine, its name.
    """
    names = list(data["profiles"])
    figure, axes = plt.subplots(1, 2, figsize=(10, 2.8))
    for ax, key in zip(axes, ("iterations", "hours"), strict=True):
        values = [data["profiles"][name][key] for name in names]
        bars = ax.barh(names, values, color=PALETTE[: len(names)])
        ax.bar_label(bars, [f" {v:,.0f}" if v >= 10 else f" {v:.2g}" for v in values])
        ax.set_xscale("log")
        ax.set_xlim(right=max(values) * 12)
        ax.invert_yaxis()
    axes[0].set_title("iterations of both stages")
    axes[1].set_title(f"hours on {data['machine']}", fontsize=9)
    return figure
