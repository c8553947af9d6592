"""The numbers in the book's hand-written pages: {{ name }} in docs/*.md becomes what was measured,
printed or can be computed, when the book is built."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from dasrlib import paper, profiles, weights
from dasrlib.book import captions, results
from dasrlib.book.captions import Record
from dasrlib.records.run_record import LogRow
from dasrlib.systems import DEFAULT_WEIGHTS

PLACE = re.compile(r"\{\{ (\w+) \}\}")
MEGABYTE = 1e6


def fill(text: str, numbers: dict[str, str]) -> str:
    """The text with each {{ name }} replaced; raises KeyError for a name that has no number."""
    return PLACE.sub(lambda place: numbers[place.group(1)], text)


def numbers(figures: Path, notebooks: Path) -> dict[str, str]:
    """Everything that a page may ask for, by name, in Markdown."""
    here = captions.records(figures)
    return {
        **_losses(),
        **_printed(),
        **_memory(),
        "commands": commands(here, notebooks),
        "minutes": _minutes(),
        "spread": _spreads(here),
        "layers": _layers(here),
        "bfloat16": _products(here),
        "profiles": _profiles(),
    }


def _losses() -> dict[str, str]:
    """The contrastive loss of an encoder that knows nothing, and what it became (§3.2.1)."""
    laptop = profiles.get("laptop")
    papers = profiles.with_papers_recipe(laptop)
    log = [row for row in weights.catalogue()[DEFAULT_WEIGHTS].log if "contrastive" in row]
    rows: list[list[object]] = [
        ["`paper`: MoCo", f"{paper.QUEUE_SIZE:,} + 1", _chance(1 + paper.QUEUE_SIZE)],
        ["`laptop` with `--papers-recipe`: MoCo", f"{papers.queue_size:,} + 1",
         _chance(1 + papers.queue_size)],
        ["`laptop`, stage 1: the batch alone", laptop.stage1.batch, _chance(laptop.stage1.batch),
         *_loss_at(log, 1)],
        ["`laptop`, stage 2: a smaller batch", laptop.stage2.batch, _chance(laptop.stage2.batch),
         *_loss_at(log, 2)],
    ]  # fmt: skip
    head = ["profile and recipe", "candidates N", "ln N", "first logged", "at the end"]
    missing = results.NOTHING
    rows = [[*row, *[missing] * (len(head) - len(row))] for row in rows]
    return {
        "losses": results.table(head, rows),
        "chance": _chance(1 + paper.QUEUE_SIZE),
        "queue": f"{paper.QUEUE_SIZE:,}",
        "random_steps": f"{paper.QUEUE_SIZE // paper.BATCH_SIZE}",
        "papers_random_steps": f"{papers.queue_size // papers.stage1.batch}",
    }


def _chance(candidates: int) -> str:
    return f"{math.log(candidates):.2f}"


def _loss_at(log: Sequence[LogRow], stage: int) -> list[str]:
    """The first logged loss of a stage, and the mean of its last tenth."""
    losses = [row["contrastive"] for row in log if row["stage"] == stage]
    last = losses[-max(1, len(losses) // 10) :]
    return [f"{losses[0]:.2f}", f"{sum(last) / len(last):.2f}"]


def _printed() -> dict[str, str]:
    sharp, blurred = results.bicubic_gaps()
    width = paper.kernel_widths(4)[-1]
    return {
        "readers_case": f"{paper.table2(4)['DASR']['Set14'][width]:.2f}",
        "readers_width": f"{width:g}",
        "gap_sharp": f"{max(map(abs, sharp)):.2f}",
        "gap_low": f"{min(blurred):.2f}",
        "gap_high": f"{max(blurred):.2f}",
    }


def _memory() -> dict[str, str]:
    """One map of features of a picture of a megapixel, and of one tile."""
    channels = profiles.get("laptop").sizes.channels
    return {
        "map_of_a_megapixel": f"{4 * channels * 1e6 / MEGABYTE:.0f} MB",
        "map_of_a_tile": f"{4 * channels * 256**2 / MEGABYTE:.0f} MB",
    }


def _minutes() -> str:
    """The minutes of the bundled trainings, from the quickest to the slowest."""
    spent = sorted(record.minutes for record in weights.catalogue().values())
    return f"{spent[0]:.0f} to {spent[-1]:.0f} minutes"


def _spreads(here: dict[str, Record]) -> str:
    """What is known of how far two trainings of one model differ, for each recipe."""
    found = [
        f"{captions.link(name)}: {results.spread_in_words(record)}"
        for name, record in here.items()
        if name.startswith("ablation")
    ]
    return "\n\n".join(found) or f"How far two trainings differ: {results.NOTHING}."


def _layers(here: dict[str, Record]) -> str:
    """What the probes read from the representation, beside the opponents (§4.2)."""
    if "tsne" not in here:
        return f"The probes: {results.NOTHING}."
    data = here["tsne"]["data"]
    rows = [
        [name, f"{100 * row['knn']:.1f} %", f"{row['r2']:.2f}"]
        for name, row in {**data["probes"], "labels shuffled": data["chance"]}.items()
    ]
    return results.table([f"{data['dataset']}, four widths", "k-NN", "R² of σ"], rows)


def _products(here: dict[str, Record]) -> str:
    """How fast each benchmarked machine multiplies in its two kinds of numbers."""
    rows = []
    for name, record in here.items():
        if name.startswith("bench-"):
            speeds = record["data"]["ceilings"]["matmul"]
            cells = [f"{speeds[d] / 1e9:,.1f}" if d in speeds else results.NOTHING
                     for d in ("float32", "bfloat16")]  # fmt: skip
            rows.append([record["data"]["device"], *cells])
    if not rows:
        return f"Speeds: {results.NOTHING}; `dasr bench` measures them."
    head = ["matrix product, 10⁹ operations a second", "float32", "bfloat16"]
    return results.table(head, rows)


def _profiles() -> str:
    rows = [
        [f"`{p.name}`", p.purpose, ", ".join(p.data),
         f"{p.stage1.iterations + p.stage2.iterations:,}"]
        for p in profiles.PROFILES.values()
    ]  # fmt: skip
    return results.table(["profile", "for", "trains on", "iterations"], rows, words=3)


def commands(here: dict[str, Record], notebooks: Path) -> str:
    """Which command gives which table or figure; the runs' own settings in it."""
    texts, drawn = captions.shown(notebooks)
    rows = [
        [captions.link(name), captions.text_of(name, here[name], texts),
         captions.made_by(name, here[name], drawn)]
        for name in captions.in_order(here, texts, drawn)
    ]  # fmt: skip
    return results.table(["figure and data", "shows", "made by"], rows, words=3)
