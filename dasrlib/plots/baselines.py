"""The figures of notebook 06: where the assumption of each system breaks (§4.2)."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dasrlib.plots.packed_images import unpacked
from dasrlib.plots.panels import mark
from dasrlib.plots.style import BESIDE, PALETTE, image_axes, leave_room
from dasrlib.systems import FULL_METHOD, SYSTEMS, short


def corrections(data: dict[str, Any]) -> Figure:
    """IKC's PSNR and the width that its code means after each correction, from two starts (§4.2).

    data: widths, by σ, each with pushed_to, a σ, and predicted and pushed: psnr in dB, and width in
    HR pixels; answer, which SR picture is IKC's answer.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.6))
    for ax, what in zip(axes, ("psnr", "width"), strict=True):
        for colour, (sigma, runs) in zip(PALETTE, data["widths"].items(), strict=False):
            for start, line in (("predicted", "-"), ("pushed", "--")):
                name = f"from the code of σ = {runs['pushed_to']:g}" if start == "pushed" else start
                label = f"σ = {sigma}, {name}"
                ax.plot(runs[start][what], line, color=colour, marker=".", label=label)
        mark(ax, data["answer"], "IKC's answer")
        ax.set_xlabel("corrections")
    axes[0].set_ylabel("PSNR-Y, dB")
    for colour, sigma in zip(PALETTE, data["widths"], strict=False):
        axes[1].axhline(float(sigma), color=colour, ls=":", lw=1)
    axes[1].set(ylabel="width that the code means, HR pixels")
    axes[1].legend(fontsize=8, **BESIDE)
    figure.suptitle(f"IKC on {data['dataset']}, ×4; dotted: the true width")
    return leave_room(figure)


def crop_by_all(data: dict[str, Any]) -> Figure:
    """A detail of one picture: HR, LR, and restored by each system (§4.2).

    data: picture; sigma, HR pixels; hr, lr, and sr by system, packed; psnr of the whole, by system.
    """
    shown = {"HR": data["hr"], "LR": data["lr"]} | data["sr"]
    columns = 4
    lines = -(-len(shown) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(2.6 * columns, 2.95 * lines))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, text) in zip(axes.flat, shown.items(), strict=False):
        ax.set_axis_on()
        psnr = f"{data['psnr'][name]:.2f} dB" if name in data["psnr"] else ""
        image_axes(ax, unpacked(text), short(name), psnr)
    figure.suptitle(f"{data['picture']}, σ = {data['sigma']:g}; PSNR-Y of the whole picture")
    return leave_room(figure)


def psnr_over_width(data: dict[str, Any]) -> Figure:
    """PSNR over kernel widths, a panel for each way of being told the kernel (§4.2).

    data: dataset, scale, widths in HR pixels, and systems: psnr in dB, by width, of each.
    """
    panels = {
        "told nothing, or by a Predictor": ("-", "--"),
        "told the truth": ("-",),
        "told one fixed kernel": (":",),
    }
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.4), sharey=True)
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, measured in data["systems"].items():
            row = SYSTEMS[name]
            is_told = row.needs != "nothing"
            if name in ("bicubic", FULL_METHOD):  # in every panel, to compare with
                look = {"lw": 2.5}
            elif row.line in lines and is_told == (title == "told the truth"):
                look = {"lw": 1.2}
            else:
                continue
            ax.plot(
                data["widths"], measured["psnr"], row.line, color=row.colour or "0.3",
                marker=row.marker, ms=5, label=row.short, **look,
            )  # fmt: skip
        ax.set(title=title, xlabel="kernel width σ, HR pixels", xticks=data["widths"])
        ax.grid(axis="y", color="0.9")
        ax.legend(fontsize=8, loc="best")
    axes[0].set_ylabel("PSNR-Y, dB")
    figure.suptitle(f"{data['dataset']}, ×{data['scale']}")
    return leave_room(figure)


def quality_and_seconds(data: dict[str, Any]) -> Figure:
    """Mean PSNR over the kernel widths against seconds a picture, a point for each system (§4.2).

    data: dataset, scale, and systems: psnr in dB, by width; seconds; parameters, of each.
    """
    fill = {"-": "full", "--": "left", ":": "none", "-.": "top"}  # how it is told
    figure, ax = plt.subplots(figsize=(8.5, 4.4))
    for name, measured in data["systems"].items():
        row = SYSTEMS[name]
        ax.plot(
            measured["seconds"], fmean(measured["psnr"]), row.marker, color=row.colour or "0.3",
            ms=9, fillstyle=fill[row.line], ls="",
            label=f"{row.short}, {measured['parameters'] / 1000:,.0f} k",
        )  # fmt: skip
    ax.set(
        xscale="log",
        xlabel=f"seconds a picture of {data['dataset']}, ×{data['scale']}",
        ylabel="PSNR-Y, dB, mean over σ",
    )
    ax.grid(color="0.9")
    ax.legend(fontsize=8, title="system, weights in thousands", **BESIDE)
    return leave_room(figure)


def adaptation(data: dict[str, Any]) -> Figure:
    """PSNR of ZSSR and MZSR after each step on the test picture, beside bicubic (§4.2).

    data: dataset, scale, bicubic in dB, and widths: σ as text to systems, each with steps and psnr.
    """
    figure, axes = plt.subplots(1, len(data["widths"]), figsize=(10.5, 3.8), squeeze=False)
    for ax, (sigma, found) in zip(axes[0], data["widths"].items(), strict=True):
        ax.axhline(found["bicubic"], color="0.3", ls="--", label="bicubic")
        for name, curve in found["systems"].items():
            row = SYSTEMS[name]
            ax.plot(
                curve["steps"], curve["psnr"], color=row.colour, marker=row.marker, label=row.short
            )
        ax.set_xscale("symlog", linthresh=1)
        ax.set(title=f"σ = {sigma}", xlabel="steps on the picture")
        ax.grid(axis="y", color="0.9")
    axes[0][0].set_ylabel("PSNR-Y, dB")
    axes[0][-1].legend(**BESIDE)
    figure.suptitle(f"{data['dataset']}, ×{data['scale']}, told the true kernel")
    return leave_room(figure)
