"""Figures and the runs they came from: figures/NAME.png beside figures/NAME.json.

The json holds the data drawn and where it came from, so that the picture is redrawn from it
without any training. Nothing of the smoke profile is ever written: its numbers mean nothing.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dasrlib.plots.style import RC
from dasrlib.records import provenance
from dasrlib.records.atomic_write import atomic_write

Draw = Callable[[dict[str, Any]], Figure]


def folder() -> Path:
    """figures/ of the checkout dasrlib runs from; of an installed package, figures/ here."""
    checkout = Path(__file__).resolve().parents[1]
    return (checkout if (checkout / "notebooks").is_dir() else Path.cwd()) / "figures"


def show(
    name: str, draw: Draw, data: dict[str, Any], *, profile: str, seed: int, **run: Any
) -> Figure:
    """Draws data, and keeps picture and data as figures/NAME.png and .json unless the profile is
    smoke.

    draw: a function of dasrlib.plots, from data to a Figure. data: what json can hold. run: what
    else belongs to the run, such as minutes, weights or dataset.
    """
    if profile != "smoke":
        keep(name, draw, data, profile=profile, seed=seed, **run)
    with plt.rc_context(RC):
        figure = draw(data)
    mark = f"profile {profile}" + (
        ": plumbing only, the numbers mean nothing" if profile == "smoke" else ""
    )
    figure.text(0.995, 0.005, mark, ha="right", va="bottom", fontsize=7, color="0.45")
    return figure


def keep(
    name: str, draw: Draw, data: dict[str, Any], *, profile: str, seed: int, **run: Any
) -> Path:
    """Writes figures/NAME.json and draws NAME.png from it; returns the json's path.

    The arguments are those of show; provenance may be among `run`, for what ran elsewhere than on
    the processor.
    """
    run.setdefault("provenance", provenance.describe())
    record = {
        "figure": name,
        "draw": f"{draw.__module__}:{draw.__name__}",
        "profile": profile,
        "seed": seed,
        **run,
        "data": data,
    }
    path = folder() / f"{name}.json"
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    redraw(path)
    return path


def redraw(path: str | Path) -> Path:
    """The picture anew from its json alone; returns the png's path."""
    record = json.loads(Path(path).read_text())
    module, _, function = record["draw"].partition(":")
    if not module.startswith("dasrlib."):
        raise ValueError(f"{path} asks to be drawn by {module}, which is not a module of dasrlib")
    draw: Draw = getattr(importlib.import_module(module), function)
    with plt.rc_context(RC):
        figure = draw(record["data"])
        figure.text(
            0.995,
            0.005,
            f"profile {record['profile']}",
            ha="right",
            va="bottom",
            fontsize=7,
            color="0.45",
        )
        png = Path(path).with_suffix(".png")
        with atomic_write(png) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})
        plt.close(figure)
    return png
