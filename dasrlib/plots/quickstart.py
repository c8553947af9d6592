"""The quickstart in pictures: before and after."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from dasrlib.plots.packed_images import unpacked
from dasrlib.plots.panels import picture_grid
from dasrlib.plots.style import leave_room


def before_and_after(data: dict[str, Any]) -> Figure:
    """The same detail under several degradations: LR, bicubic, DASR, and HR.

    data: "original", a packed picture; "rows", each with "label", packed "lr", "bicubic" and
    "dasr", and "psnr_y", dB of the whole picture by method.
    """
    hr, rows = unpacked(data["original"]), data["rows"]
    names = ("lr", "bicubic", "dasr")
    grid = {row["label"]: [*(unpacked(row[name]) for name in names), hr] for row in rows}
    figure, axes = picture_grid(grid, ("LR", "bicubic", "DASR, blind", "HR"), height=2.35)
    for line, row in zip(axes, rows, strict=True):
        line[1].set_xlabel(f"{row['psnr_y']['bicubic']:.2f} dB")
        line[2].set_xlabel(f"{row['psnr_y']['dasr']:.2f} dB")
    return leave_room(figure)
