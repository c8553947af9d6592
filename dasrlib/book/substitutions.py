"""The numbers in the pages of docs/: `{{ name }}` in a page is what was measured, printed or can be
computed when the book is built. MyST fills them in, from the values that docs/conf.py gets here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dasrlib
from dasrlib import figures, paper, profiles, weights
from dasrlib.book import captions, results
from dasrlib.records.figure_record import FigureRecord
from dasrlib.records.run_record import LogRow
from dasrlib.systems import DEFAULT_WEIGHTS

MEGABYTE = 1e6


def substitutions(folder: Path) -> dict[str, str]:
    """Everything that a page may ask for, by name, in Markdown.

    Args:
        folder: the folder of the kept figures.
    """
    here = figures.read_all(folder)
    ordered = captions.reading_order(here.values())
    return {
        **_losses(),
        **_printed(),
        **_memory(),
        **{f"table2_x{scale}": results.table2(scale, here) for scale in paper.SCALES},
        "table3": results.table3(),
        "ablations": results.ablations(here),
        "bundled_weights": results.bundled_weights(),
        "figures": "\n".join(map(captions.figure_section, ordered)) or f"{results.NOTHING}.",
        "cover": _cover(here),
        "commands": commands(ordered),
        "minutes": _minutes(),
        "spread": _spreads(here),
        "layers": _layers(here),
        "bfloat16": _products(here),
        "profiles": _profiles(),
    }


def of_run(record: dict[str, Any]) -> dict[str, str]:
    """What the page about this run asks for, from what `build.describe_run` kept."""
    rows = [[name, f"{seconds:.1f}"] for name, seconds in record["seconds"].items()]
    rows += [[name, "failed"] for name in record["failed"]]
    return {
        "version": dasrlib.__version__,
        "run_profile": record["profile"],
        "run_date": record["date"],
        "run_seconds": results.markdown_table(["notebook", "seconds"], rows),
        "run_machine": results.markdown_table(["where", ""], record["provenance"].items(), words=2),
    }


def _losses() -> dict[str, str]:
    """The contrastive loss of an encoder that knows nothing, and what it became (§3.2.1)."""
    laptop = profiles.get("laptop")
    moco = profiles.with_moco_recipe(laptop).recipe
    log = [row for row in weights.catalogue()[DEFAULT_WEIGHTS].log if "contrastive" in row]
    rows: list[list[object]] = [
        ["`paper`: MoCo", f"{paper.QUEUE_SIZE:,} + 1", _chance(1 + paper.QUEUE_SIZE)],
        ["`laptop` with `--encoder-recipe moco`: MoCo", f"{moco.queue_size:,} + 1",
         _chance(1 + moco.queue_size)],
        ["`laptop`, stage 1: the batch alone", laptop.stage1.batch, _chance(laptop.stage1.batch),
         *_loss_at(log, 1)],
        ["`laptop`, stage 2: a smaller batch", laptop.stage2.batch, _chance(laptop.stage2.batch),
         *_loss_at(log, 2)],
    ]  # fmt: skip
    head = ["profile and recipe", "candidates N", "ln N", "first logged", "at the end"]
    missing = results.NOTHING
    rows = [[*row, *[missing] * (len(head) - len(row))] for row in rows]
    return {
        "losses": results.markdown_table(head, rows),
        "chance": _chance(1 + paper.QUEUE_SIZE),
        "queue": f"{paper.QUEUE_SIZE:,}",
        "random_steps": f"{paper.QUEUE_SIZE // paper.BATCH_SIZE}",
        "papers_random_steps": f"{moco.queue_size // laptop.stage1.batch}",
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


def _spreads(here: dict[str, FigureRecord]) -> str:
    """What is known of how far two trainings of one model differ, for each recipe."""
    found = [
        f"{captions.anchor_link(name)}: {results.spread_in_words(record)}"
        for name, record in here.items()
        if name.startswith("ablation")
    ]
    return "\n\n".join(found) or f"How far two trainings differ: {results.NOTHING}."


def _layers(here: dict[str, FigureRecord]) -> str:
    """What the probes read from the representation, beside the opponents (§4.2)."""
    if "tsne" not in here:
        return f"The probes: {results.NOTHING}."
    data = here["tsne"].data
    rows = [
        [name, f"{100 * row['knn']:.1f} %", f"{row['r2']:.2f}"]
        for name, row in {**data["probes"], "labels shuffled": data["chance"]}.items()
    ]
    return results.markdown_table([f"{data['dataset']}, four widths", "k-NN", "R² of σ"], rows)


def _products(here: dict[str, FigureRecord]) -> str:
    """How fast each benchmarked machine multiplies in its two kinds of numbers."""
    rows = []
    for name, record in here.items():
        if name.startswith("bench-"):
            speeds = record.data["ceilings"]["matmul"]
            cells = [f"{speeds[d] / 1e9:,.1f}" if d in speeds else results.NOTHING
                     for d in ("float32", "bfloat16")]  # fmt: skip
            rows.append([record.data["device"], *cells])
    if not rows:
        return f"Speeds: {results.NOTHING}; `dasr bench` measures them."
    head = ["matrix product, 10⁹ operations a second", "float32", "bfloat16"]
    return results.markdown_table(head, rows)


def _profiles() -> str:
    rows = [
        [f"`{p.name}`", p.purpose, ", ".join(p.data),
         f"{p.stage1.iterations + p.stage2.iterations:,}"]
        for p in profiles.PROFILES.values()
    ]  # fmt: skip
    return results.markdown_table(["profile", "for", "trains on", "iterations"], rows, words=3)


def commands(records: list[FigureRecord]) -> str:
    """Which command gives which table or figure."""
    rows = [
        [captions.anchor_link(r.name), r.alt, captions.command_and_notebook(r)] for r in records
    ]
    return results.markdown_table(["figure and data", "shows", "made by"], rows, words=3)


def _cover(here: dict[str, FigureRecord]) -> str:
    """The picture of the quickstart, once it has been drawn."""
    if "quickstart" not in here:
        return ""
    return f"""```{{image}} figures/quickstart.png
:alt: {here["quickstart"].alt}
:class: cover
```"""
