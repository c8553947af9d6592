"""A figure of figures/ in the Markdown of the book: its caption, and what makes it anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from dasrlib.records.figure_record import FigureRecord


def reading_order(records: Iterable[FigureRecord]) -> list[FigureRecord]:
    """The figures of the notebooks, notebook by notebook, then those that a command makes."""
    return sorted(records, key=lambda r: (not _is_notebook(r), r.made_by, r.name))


def _is_notebook(record: FigureRecord) -> bool:
    return record.made_by.endswith(".ipynb")


def seeds(record: FigureRecord) -> list[int]:
    """The seeds of a figure's run, or of its runs."""
    runs = record.data.get("runs", [])
    return sorted({run["seed"] for run in runs}) or [record.seed]


def trainings_in_words(number: int) -> str:
    """One training, 2 trainings."""
    return "one training" if number == 1 else f"{number} trainings"


def machine(provenance: Mapping[str, Any]) -> str:
    """Device, versions and commit, in words."""
    cores, threads = provenance.get("cores"), provenance.get("threads")
    device = provenance["device"] + (f" ({cores} cores, threads: {threads})" if cores else "")
    commit = provenance.get("commit") or "no commit recorded"
    dirty = " with changes" if commit.endswith("+") else ""
    return f"{device}, PyTorch {provenance['torch']}, commit `{commit.rstrip('+')}`{dirty}"


def caption(record: FigureRecord) -> str:
    """The run a figure came from: profile, seeds, minutes, weights, data sets, machine."""
    numbers = seeds(record)
    minutes = "minutes not recorded" if record.minutes is None else f"{record.minutes:g} minutes"
    if "runs" in record.data:
        minutes += f" in {trainings_in_words(len(record.data['runs']))}"
    parts = [
        f"Profile `{record.profile}`",
        f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}",
        minutes,
        *_names("weights", record.weights),
        *_names("data sets", record.datasets),
    ]
    return f"{', '.join(parts)}; {machine(record.provenance)}."


def _names(what: str, names: list[str] | None) -> list[str]:
    if names is None:
        return [f"{what} not recorded"]
    return [f"{what} {', '.join(f'`{name}`' for name in names)}"] if names else []


def command_and_notebook(record: FigureRecord) -> str:
    """The command that makes a figure anew, and the notebook in which it happens."""
    if not _is_notebook(record):
        return f"`{record.made_by}`"
    number = PurePosixPath(record.made_by).name[:2]
    return f"`make figures` ([notebook {number}]({record.made_by}))"


def anchor_link(name: str) -> str:
    """To a figure on the page of results."""
    return f"[{name}](results.md#{name})"


def figure_section(record: FigureRecord) -> str:
    """The part of the page of results that shows a figure."""
    name = record.name
    return f"""### {name}

```{{figure}} figures/{name}.png
:alt: {record.alt}

{caption(record)} Made by {command_and_notebook(record)}; drawn from
{{download}}`{name}.json <figures/{name}.json>`.
```
"""
