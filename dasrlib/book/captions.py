"""Each figure of figures/ with the run it came from: caption, alternative text, and the command
that makes it anew, in the Markdown of the book."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]

# What no notebook draws, by the beginning of the figure's name: the command that makes it anew.
COMMANDS = {
    "ablation-papers-recipe": "dasr reproduce ablation --papers-recipe --profile {profile}"
    " --seeds {seeds}",
    "ablation": "dasr reproduce ablation --profile {profile} --seeds {seeds}",
    "representation-recipes": "dasr reproduce recipes --profile {profile} --seed {seed}",
    "bench-": "dasr bench",
}


def records(figures: Path) -> dict[str, Record]:
    """figures/NAME.json by NAME; those whose picture is missing are left out."""
    # By name: "ablation" before "ablation-papers-recipe", which their files are not.
    found = {path.stem: path for path in sorted(figures.glob("*.json"), key=lambda p: p.stem)}
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in found.items()
        if path.with_suffix(".png").exists()
    }


def seeds(record: Record) -> list[int]:
    """The seeds of a figure's run, or of its runs."""
    runs = record["data"].get("runs", [])
    return sorted({run["seed"] for run in runs}) or [record["seed"]]


def trainings_in_words(number: int) -> str:
    return "one training" if number == 1 else f"{number} trainings"


def where(provenance: Mapping[str, Any]) -> str:
    """Device, versions and commit, in words."""
    cores, threads = provenance.get("cores"), provenance.get("threads")
    machine = provenance["device"] + (f" ({cores} cores, threads: {threads})" if cores else "")
    commit = provenance.get("commit") or "no commit recorded"
    dirty = " with changes" if commit.endswith("+") else ""
    return f"{machine}, PyTorch {provenance['torch']}, commit `{commit.rstrip('+')}`{dirty}"


def caption(record: Record) -> str:
    """The run a figure came from: profile, seeds, minutes, weights, device, versions, commit."""
    named = seeds(record)
    parts = [f"Profile `{record['profile']}`"]
    parts.append(f"seed{'s' if len(named) > 1 else ''} {', '.join(map(str, named))}")
    minutes = record.get("minutes")
    if isinstance(minutes, dict):
        parts.append(f"{sum(minutes.values()):.0f} minutes in {trainings_in_words(len(minutes))}")
    else:
        parts.append("minutes not recorded" if minutes is None else f"{minutes:g} minutes")
    used = record.get("weights")
    if used:
        several = sorted(used.values()) if isinstance(used, dict) else [used]
        parts.append("weights " + ", ".join(f"`{name}`" for name in several))
    return f"{', '.join(parts)}; {where(record['provenance'])}."


def shown(notebooks: Path) -> tuple[dict[str, str], dict[str, str]]:
    """From the notebooks, by figure: the text under which one shows it, and which one draws it."""
    texts: dict[str, str] = {}
    drawn: dict[str, str] = {}
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            for text, name in re.findall(r"!\[([^\]]*)\]\(\.\./figures/([\w-]+)\.png\)", source):
                texts.setdefault(name, " ".join(text.split()))
            for name in re.findall(r"figures\.(?:show|keep)\(\s*\"([\w-]+)\"", source):
                drawn.setdefault(name, path.stem)
    return texts, drawn


def described(record: Record) -> str:
    """What a figure shows, from the function that draws it: for one that no notebook describes."""
    module, _, function = record["draw"].partition(":")
    if not module.startswith("dasrlib."):
        raise ValueError(f"drawn by {module}, which is not a module of dasrlib")
    text = inspect.getdoc(getattr(importlib.import_module(module), function)) or function
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


def text_of(name: str, record: Record, texts: dict[str, str]) -> str:
    """What a figure shows: as a notebook says it, else as the function says that draws it."""
    return texts.get(name) or described(record)


def command(name: str, record: Record, drawn: dict[str, str]) -> str:
    """The line that makes a figure anew: the console's, or the report's for a notebook's."""
    for beginning, line in COMMANDS.items():
        if name.startswith(beginning):
            numbers = ",".join(map(str, seeds(record)))
            return line.format(profile=record["profile"], seed=record["seed"], seeds=numbers)
    if name in drawn:
        return f"make report PROFILE={record['profile']}"
    raise ValueError(f"figures/{name}.json: neither a command nor a notebook draws it")


def made_by(name: str, record: Record, drawn: dict[str, str]) -> str:
    """The command, and the notebook in which it happens, in Markdown."""
    line = f"`{command(name, record, drawn)}`"
    notebook = drawn.get(name)
    return f"{line} ([notebook {notebook[:2]}](notebooks/{notebook}.ipynb))" if notebook else line


def link(name: str) -> str:
    """To a figure on the page of results."""
    return f"[{name}](results.md#{name})"


def in_order(here: dict[str, Record], *shown: dict[str, str]) -> list[str]:
    """The figures as the notebooks show them, then those that none shows."""
    named = [name for found in shown for name in found]
    return [name for name in dict.fromkeys([*named, *here]) if name in here]


def figure(name: str, record: Record, texts: dict[str, str], drawn: dict[str, str]) -> str:
    text = text_of(name, record, texts)
    return f"""### {name}

```{{figure}} figures/{name}.png
:alt: {text}

{caption(record)} Made by {made_by(name, record, drawn)}; drawn from
{{download}}`{name}.json <figures/{name}.json>`.
```
"""
