"""The numbers in the pages of docs/, which are Jinja templates: the prose and the tables are there.

Everything is read when the book is built: the records of the figures, the printed tables of
`dasrlib.paper` and the records of the bundled weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from statistics import fmean
from typing import Any

import jinja2

import dasrlib
from dasrlib import paper, profiles, systems, weights
from dasrlib.records.figure_record import FigureRecord
from dasrlib.records.run_record import mean_of

ENVIRONMENT = jinja2.Environment(
    trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
)


def fill_in(page: str, variables: Mapping[str, object]) -> str:
    """A page with its numbers; an unknown name in it is an error."""
    return ENVIRONMENT.from_string(page).render(variables)


def variables(kept: Mapping[str, FigureRecord], run: Mapping[str, Any]) -> dict[str, object]:
    """Every name that a page may use.

    Args:
        kept: the records of the kept figures, by name.
        run: what `build.describe_run` says of the notebooks' run.
    """
    laptop = profiles.get("laptop")
    sharp, blurred = bicubic_gaps()
    spent = [record.minutes for record in weights.catalogue().values()]
    return {
        "version": dasrlib.__version__,
        "run": run,
        "paper": paper,
        "profiles": profiles.PROFILES.values(),
        "laptop": laptop,
        "moco": profiles.with_moco_recipe(laptop).recipe,
        "systems": systems,
        "weights": weights.catalogue(),
        "minutes": f"{min(spent):.0f} to {max(spent):.0f} minutes",
        "gaps": {"sharp": max(map(abs, sharp)), "low": min(blurred), "high": max(blurred)},
        "kept": kept,
        "figures": reading_order(kept.values()),
        "ablations": [r for name, r in kept.items() if name.startswith("ablation")],
        "benches": [r for name, r in kept.items() if name.startswith("bench-")],
        "trainings": trainings,
        "spreads": spreads,
        "losses": losses,
        "measured_rows": measured_rows,
        "mean_of": mean_of,
        "caption": caption,
        "made_by": made_by,
        "machine": machine,
    }


def number(value: float, form: str = ".2f") -> str:
    """A number in a cell: two decimals, or another format."""
    return format(value, form)


def numbers(values: Iterable[float], form: str = ".2f", between: str = " | ") -> str:
    """Numbers in cells side by side."""
    return between.join(number(value, form) for value in values)


def numbers_and_mean(values: Iterable[float], form: str = ".2f") -> str:
    """Numbers in cells side by side, and their mean in the last one."""
    cells = [*values]
    return numbers([*cells, fmean(cells)], form)


def psnr(curve: Iterable[tuple[float, float]]) -> str:
    """The values of a curve over the kernel widths, in cells side by side."""
    return numbers(value for _, value in curve)


def counted(runs: Sequence[object]) -> str:
    """One training, 2 trainings."""
    return "one training" if len(runs) == 1 else f"{len(runs)} trainings"


ENVIRONMENT.filters |= {
    f.__name__: f for f in (number, numbers, numbers_and_mean, psnr, counted, math.log)
}


def reading_order(records: Iterable[FigureRecord]) -> list[FigureRecord]:
    """The figures of the notebooks, notebook by notebook, then those that a command makes."""
    return sorted(records, key=lambda r: (not r.made_by.endswith(".ipynb"), r.made_by, r.name))


def trainings(record: FigureRecord, model: str) -> list[dict[str, Any]]:
    """The runs of one model in the record of an ablation, by seed."""
    runs = [run for run in record.data["runs"] if run["model"] == model]
    return sorted(runs, key=lambda run: run["seed"])


def spreads(record: FigureRecord) -> dict[str, float]:
    """Best minus worst training of each model with several, dB of the mean over the widths."""
    means = {
        model: [mean_of(run["psnr"]) for run in trainings(record, model)]
        for model in systems.ABLATION
    }
    return {model: max(found) - min(found) for model, found in means.items() if len(found) > 1}


def measured_rows(record: FigureRecord | None, **where: object) -> list[dict[str, Any]]:
    """The measured rows in the record of a table with these values; none without a record."""
    rows = record.data["rows"] if record else []
    return [row for row in rows if row["system"] and where.items() <= row.items()]


def losses(stage: int) -> list[float]:
    """The first logged contrastive loss of a stage of the bundled Model 4, and its last tenth's
    mean (§3.2.1)."""
    log = weights.catalogue()[systems.DEFAULT_WEIGHTS].log
    found = [r["contrastive"] for r in log if r["stage"] == stage and "contrastive" in r]
    return [found[0], fmean(found[-max(1, len(found) // 10) :])]


def bicubic_gaps() -> tuple[list[float], list[float]]:
    """Measured minus printed bicubic PSNR over Table 2, dB: without blur, and with it."""
    gaps: tuple[list[float], list[float]] = ([], [])
    for scale in paper.SCALES:
        printed = paper.table2(scale)["Bicubic"]
        for dataset, row in paper.reference_bicubic(scale).items():
            for sigma, db in row.items():
                gaps[sigma > 0].append(db - printed[dataset][sigma])
    return gaps


def machine(provenance: Mapping[str, Any]) -> str:
    """Device, versions and commit, in words."""
    cores, threads = provenance.get("cores"), provenance.get("threads")
    device = provenance["device"] + (f" ({cores} cores, threads: {threads})" if cores else "")
    commit = provenance.get("commit") or "no commit recorded"
    dirty = " with changes" if commit.endswith("+") else ""
    return f"{device}, PyTorch {provenance['torch']}, commit `{commit.rstrip('+')}`{dirty}"


def caption(record: FigureRecord) -> str:
    """The run a figure came from: profile, seeds, minutes, weights, data sets, machine."""
    runs = record.data.get("runs", [])
    seeds = sorted({run["seed"] for run in runs}) or [record.seed]
    minutes = "minutes not recorded" if record.minutes is None else f"{record.minutes:g} minutes"
    parts = [
        f"Profile `{record.profile}`" if record.profile else "Sizes of its own",
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
        f"{minutes} in {counted(runs)}" if runs else minutes,
    ]
    for what, names in (("weights", record.weights), ("data sets", record.datasets)):
        if names is None:
            parts.append(f"{what} not recorded")
        elif names:
            parts.append(f"{what} {', '.join(f'`{name}`' for name in names)}")
    return f"{', '.join(parts)}; {machine(record.provenance)}."


def made_by(record: FigureRecord) -> str:
    """The command that makes a figure anew, and the notebook in which it happens."""
    if not record.made_by.endswith(".ipynb"):
        return f"`{record.made_by}`"
    notebook = PurePosixPath(record.made_by).name[:2]
    return f"`make figures` ([notebook {notebook}]({record.made_by}))"
