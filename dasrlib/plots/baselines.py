"""The figures of notebook 06: where the assumption of each system breaks (§4.2)."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dasrlib.plots.packed_images import unpacked
from dasrlib.plots.panels import mark
from dasrlib.plots.style import BESIDE, PALETTE, image_axes, leave_room
from dasrlib.systems import SYSTEMS, short


def corrections(data: dict[str, Any]) -> Figure:
    """IKC's PSNR and the error of its code after each correction, from two starts (§4.2).

    data: widths, by σ, each with pushed_to, a σ, and predicted and pushed: psnr, dB, and error;
    answer, which SR picture is IKC's answer.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.6))
    for ax, what in zip(axes, ("psnr", "error"), strict=True):
        for colour, (sigma, runs) in zip(PALETTE, data["widths"].items(), strict=False):
            for start, line in (("predicted", "-"), ("pushed", "--")):
                name = f"from the code of σ = {runs['pushed_to']:g}" if start == "pushed" else start
                label = f"σ = {sigma}, {name}"
                ax.plot(runs[start][what], line, color=colour, marker=".", label=label)
        mark(ax, data["answer"], "IKC's answer")
        ax.set_xlabel("corrections")
    axes[0].set_ylabel("PSNR-Y, dB")
    axes[1].set(ylabel="|code − true code| / |true code|", ylim=(0, None))
    axes[1].legend(fontsize=8, **BESIDE)
    figure.suptitle(f"IKC on {data['dataset']}, ×4")
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


def quality_and_seconds(data: dict[str, Any]) -> Figure:
    """Mean PSNR over the kernel widths against seconds a picture, a point for each system (§4.2).

    data: the fields of studies.tables.TableData as json, of Table 2; drawn is its Set14 at ×4.
    """
    rows = [r for r in data["rows"] if (r["dataset"], r["scale"]) == ("Set14", 4) and r["system"]]
    figure, ax = plt.subplots(figsize=(8.5, 4.4))
    for row in rows:
        system = SYSTEMS[row["system"]]
        told = {"-": "full", "--": "left", ":": "none", "-.": "top"}[system.line]
        ax.plot(
            row["seconds"], fmean(row["psnr"]), system.marker, color=system.colour or "0.3", ms=9,
            fillstyle=told, ls="", label=f"{system.short}, {row['parameters'] / 1000:,.0f} k",
        )  # fmt: skip
    ax.set(xscale="log", xlabel="seconds a picture of Set14", ylabel="PSNR-Y, dB, mean over σ")
    ax.grid(color="0.9")
    ax.legend(fontsize=8, title="system, weights in thousands", **BESIDE)
    return leave_room(figure)
