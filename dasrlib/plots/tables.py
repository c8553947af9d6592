"""§4.2 and §4.3 in pictures: Tables 2 and 3, measured rows beside printed ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dasrlib.degradation import anisotropic_kernels
from dasrlib.plots.style import BESIDE, leave_room
from dasrlib.systems import FULL_METHOD, SYSTEMS

Rows = Sequence[dict[str, Any]]


def _best_rival(rows: Rows) -> str:
    """The printed method, other than DASR, with the highest mean."""
    means = {
        title: fmean(fmean(row["psnr"]) for row in rows if row["title"] == title)
        for title in {row["title"] for row in rows if row["system"] is None} - {"DASR"}
    }
    return max(means, key=lambda title: means[title])


def _shown(rows: Rows) -> Rows:
    """The printed rows and the measured ones; of more than eight systems those with a printed row.

    The rest is in plots.baselines.psnr_over_width, and in the table itself.
    """
    printed = {row["title"] for row in rows if row["system"] is None}
    if len({row["system"] for row in rows} - {None}) <= 8:
        return rows
    return [
        row
        for row in rows
        if row["system"] in (None, "bicubic", FULL_METHOD)
        or SYSTEMS[row["system"]].title in printed
    ]


def _panel(ax: Axes, x: Sequence[float], rows: Rows, rival: str) -> None:
    """The measured rows, and of the printed ones DASR and the rival."""
    for row in rows:
        look: dict[str, Any] = {"label": f"{row['title']}, printed", "ls": ":", "mfc": "none"}
        if row["system"]:
            system = SYSTEMS[row["system"]]
            look = {"label": f"{row['title']}, measured here", "marker": system.marker}
            look |= {"color": system.colour or "0.3", "ls": system.line}
        elif row["title"] == "DASR":
            look |= {"color": "black", "marker": "o"}
        elif row["title"] == rival:
            look |= {"color": "0.6", "marker": "s"}
        else:
            continue
        ax.plot(x, row["psnr"], ms=5, **look)
    ax.grid(axis="y", color="0.9")


def table2(data: dict[str, Any]) -> Figure:
    """PSNR over isotropic kernel widths: a line of panels for each scale, one for each test set
    (§4.2).

    data: the fields of studies.tables.TableData as json.
    """
    rows = _shown(data["rows"])
    sets = list(dict.fromkeys(row["dataset"] for row in rows))
    size = (3.1 * len(sets) + 2.6, 2.7 * len(data["kernels"]))
    figure, axes = plt.subplots(len(data["kernels"]), len(sets), figsize=size, squeeze=False)
    for line, (scale, kernels) in zip(axes, data["kernels"].items(), strict=True):
        of_scale = [row for row in rows if row["scale"] == int(scale)]
        rival = _best_rival(of_scale)
        for ax, dataset in zip(line, sets, strict=True):
            shown = [row for row in of_scale if row["dataset"] == dataset]
            _panel(ax, kernels["σ"], shown, rival)
            ax.set(title=f"{dataset}, ×{scale}", xticks=kernels["σ"])
        line[0].set_ylabel("PSNR-Y, dB")
        # Not every test set has every system.
        named = {label: line_ for ax in line for line_, label in zip(
            *ax.get_legend_handles_labels(), strict=True)}  # fmt: skip
        line[-1].legend([*named.values()], [*named], fontsize=8, **BESIDE)
    for ax in axes[-1]:
        ax.set_xlabel("kernel width σ, HR pixels")
    return leave_room(figure)


def table3(data: dict[str, Any]) -> Figure:
    """PSNR under nine anisotropic kernels, which stand above: a panel for each noise level (§4.3).

    data: the fields of studies.tables.TableData as json.
    """
    rows = _shown(data["rows"])
    ((scale, signs),) = data["kernels"].items()
    levels = list(dict.fromkeys(row["noise"] for row in rows))
    lambda1, lambda2, theta = signs.values()
    places = range(len(theta))
    size = (10.5, 2.4 * len(levels) + 1.4)
    figure, axes = plt.subplots(len(levels), 1, figsize=size, sharex=True, squeeze=False)
    panels = axes[:, 0]
    rival = _best_rival(rows)
    for ax, noise in zip(panels, levels, strict=True):
        _panel(ax, places, [row for row in rows if row["noise"] == noise], rival)
        ax.set_ylabel(f"noise {noise}\nPSNR-Y, dB")
    kernels = anisotropic_kernels(lambda1, lambda2, [math.radians(degrees) for degrees in theta])
    for place, kernel in zip(places, kernels, strict=True):
        # Above its column: x is that of the data, y is in heights of the panel.
        picture = panels[0].inset_axes(
            (place - 0.4, 1.04, 0.8, 0.45), transform=panels[0].get_xaxis_transform()
        )
        picture.imshow((kernel / kernel.max()).numpy(), cmap="gray")
        picture.set_axis_off()
    columns = zip(*signs.values(), strict=True)
    panels[-1].set_xticks(places, ["\n".join(f"{n:g}" for n in column) for column in columns])
    panels[-1].set_xlabel(f"kernels, from above: {', '.join(signs)}; widths in HR pixels")
    panels[0].legend(fontsize=8, **BESIDE)
    figure.suptitle(f"{rows[0]['dataset']}, ×{scale}")
    return leave_room(figure)
