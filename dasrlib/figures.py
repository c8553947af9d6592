"""Figures and the runs they came from: figures/NAME.png beside figures/NAME.json.

The json is a FigureRecord: the data drawn and the run that they came from. The picture is redrawn
from it without any training.

A notebook only draws: running it writes nothing. Its figures are kept when the environment variable
DASR_KEEP_FIGURES is set to 1; `make figures` runs the notebooks so, in the laptop profile.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dasrlib import profiles, series
from dasrlib.plots.style import RC
from dasrlib.records import provenance as machine
from dasrlib.records.atomic_write import atomic_write
from dasrlib.records.figure_record import FigureRecord

Draw = Callable[[dict[str, Any]], Figure]

# A notebook imports this module in its first cell.
_STARTED = time.monotonic()


def folder() -> Path:
    """Where figures are kept: figures/ of the checkout dasrlib runs from; else figures/ here.

    Here, too, where the checkout cannot be written.
    """
    return (series.root() if series.is_writable() else Path.cwd()) / "figures"


def read(path: str | Path) -> FigureRecord:
    """The record in a figure's json: a path, or a name.

    A figure of that name that was kept in `folder()` comes before the one that came with dasrlib.
    """
    if not isinstance(path, Path):
        kept = folder() / f"{path}.json"
        path = kept if kept.exists() else series.root() / "figures" / kept.name
    try:
        return FigureRecord.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_all(where: Path) -> dict[str, FigureRecord]:
    """The records in a folder, by name; a figure without a picture is left out."""
    records = [read(path) for path in where.glob("*.json") if path.with_suffix(".png").exists()]
    return {record.name: record for record in sorted(records, key=lambda record: record.name)}


def show(
    name: str,
    draw: Draw,
    data: dict[str, Any],
    *,
    profile: str | None,
    seed: int,
    made_by: str,
    alt: str,
    **run: Any,
) -> Figure:
    """Draw data with the profile's name in a corner; the arguments are those of `keep`.

    It is kept only if DASR_KEEP_FIGURES=1 asks for it and the profile's numbers mean something.
    """
    plumbing = _is_plumbing(profile)
    if os.environ.get("DASR_KEEP_FIGURES", "") not in ("", "0") and not plumbing:
        keep(name, draw, data, profile=profile, seed=seed, made_by=made_by, alt=alt, **run)
    return _drawn(draw, data, profile)


def keep(
    name: str,
    draw: Draw,
    data: dict[str, Any],
    *,
    profile: str | None,
    seed: int,
    made_by: str,
    alt: str,
    minutes: float | None = None,
    weights: Sequence[str] = (),
    datasets: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write figures/NAME.json and draw NAME.png from it; returns the path of the json.

    Less data never replaces more: an older figure stays if it was measured on a data set that this
    one lacks, or has more rows.

    Args:
        draw: a function of dasrlib.plots, from data to a Figure.
        data: what is drawn; only what JSON can hold.
        made_by: the command that makes the figure, or the notebook, as "notebooks/NAME.ipynb".
        alt: what the figure shows, for a reader who does not see it.
        minutes: how long the run took; None for the minutes since dasrlib.figures was imported.
        weights, datasets: the names of those that were loaded and measured on.
        provenance: where the run was; None for this machine's processor.

    Raises:
        ValueError: the profile's numbers mean nothing, or data has a NaN.
    """
    if _is_plumbing(profile):
        raise ValueError(
            f"the numbers of the {profile} profile mean nothing and are not kept: choose another"
        )
    record = FigureRecord(
        name=name,
        draw=f"{draw.__module__}:{draw.__name__}",
        made_by=made_by,
        alt=alt,
        profile=profile,
        seed=seed,
        minutes=round((time.monotonic() - _STARTED) / 60, 2) if minutes is None else minutes,
        weights=sorted(weights),
        datasets=sorted(datasets),
        provenance=machine.describe() if provenance is None else provenance,
        data=data,
    )
    path = folder() / f"{name}.json"
    text = record.to_json()
    more = _what_is_lost(read(path), record) if path.exists() else ""
    if more:
        print(f"{path} stays as it is, for it has {more}: delete it first if you mean to.")
        return path
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    redraw(path)
    return path


def _what_is_lost(old: FigureRecord, new: FigureRecord) -> str:
    """What the old record has and the new one has not, in words; the samples are always there."""
    missing = set(old.datasets or ()) - set(new.datasets or ()) - {"samples"}
    if missing:
        return f"the data of {', '.join(sorted(missing))}"
    return f"{old.rows} rows and not {new.rows}" if new.rows < old.rows else ""


def redraw(path: str | Path) -> Path:
    """Draw the picture again from its json alone; returns the png's path."""
    path = Path(path)
    record = read(path)
    module, _, function = record.draw.partition(":")
    if not module.startswith("dasrlib."):
        raise ValueError(f"{path} asks to be drawn by {module}, which is not a module of dasrlib")
    figure = _drawn(getattr(importlib.import_module(module), function), record.data, record.profile)
    png = path.with_suffix(".png")
    with plt.rc_context(RC), atomic_write(png) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    plt.close(figure)
    return png


def _is_plumbing(profile: str | None) -> bool:
    return profile is not None and profiles.get(profile).is_plumbing


def _drawn(draw: Draw, data: dict[str, Any], profile: str | None) -> Figure:
    with plt.rc_context(RC):
        figure = draw(data)
        if profile is not None:
            plumbing = ": plumbing only, the numbers mean nothing"
            mark = f"profile {profile}{plumbing if _is_plumbing(profile) else ''}"
            figure.text(0.995, 0.005, mark, ha="right", va="bottom", fontsize=7, color="0.45")
    return figure
