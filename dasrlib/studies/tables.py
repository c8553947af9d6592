"""§4.2, §4.3 Tables 2 and 3: what systems reach here, beside the rows that the paper prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dasrlib import data, errors, evaluation, paper
from dasrlib.degradation import Degradations
from dasrlib.evaluation import System
from dasrlib.records.run_record import Measurement
from dasrlib.weights import load

OPTIONAL = "Urban100"  # the test set without which Table 2 is measured all the same


@dataclass(frozen=True)
class Entry:
    """How a system gets into a table."""

    system: str  # its row in systems.SYSTEMS
    title: str
    weights: str | None = None  # bundled ones, with {} for the scale; None: it has none
    make: Callable[[Any], System] = load  # of the weights' name, or without one the scale

    def load(self, scale: int) -> System:
        """The system for a scale; raises ValueError where its weights are not bundled."""
        return self.make(self.weights.format(scale) if self.weights else scale)

    def weights_for(self, scales: Iterable[int]) -> list[str]:
        """The names of the weights that `load` reads for these scales."""
        return [self.weights.format(scale) for scale in scales] if self.weights else []


# A new system is a row here.
_BICUBIC = Entry("bicubic", "bicubic", make=evaluation.Bicubic)
ENTRIES: dict[str, dict[str, Entry]] = {
    "table2": {
        "dasr": Entry("model4", "DASR (Model 4)", "laptop/model4-x{}-iso"),
        "bicubic": _BICUBIC,
    },
    "table3": {
        "dasr": Entry("model4", "DASR (Model 4)", "laptop/model4-x{}-aniso"),
        "oracle": Entry("model5", "oracle (Model 5), not blind", "laptop/model5-x{}-aniso"),
        "bicubic": _BICUBIC,
    },
}


@dataclass(frozen=True)
class Block:
    """The rows of a table that share a test set, a scale and a noise level."""

    dataset: str
    scale: int
    noise: int
    kernels: Mapping[str, Sequence[float]]  # what tells the columns apart, by its sign
    degradations: Sequence[Degradations]  # one for each column
    printed: Mapping[str, Sequence[float]]  # by method, PSNR-Y in dB


@dataclass(frozen=True)
class Row:
    """One system or printed method in a block; a value for each column (§4.2, §4.3)."""

    title: str
    system: str | None  # its row in systems.SYSTEMS; None for a printed row
    dataset: str
    scale: int
    noise: int
    psnr: list[float]  # PSNR-Y, dB, the mean over the pictures
    difference: list[float]  # to the printed DASR row, dB
    ssim: list[float] | None = None  # SSIM-Y, the mean over the pictures
    seconds: float | None = None  # to restore a picture, the mean
    pictures: Mapping[str, list[float]] | None = None  # by picture, its PSNR-Y


@dataclass(frozen=True)
class TableData:
    """What plots.tables draws (§4.2, §4.3), as json by dataclasses.asdict."""

    kernels: Mapping[str, Mapping[str, Sequence[float]]]  # by scale, those of its blocks
    rows: Sequence[Row]


def sets_here() -> tuple[list[str], str | None]:
    """Table 2's test sets on this machine, and a sentence if the optional one is missing.

    Raises FileNotFoundError for another one that is missing.
    """
    found, missing = [], None
    for name in paper.TEST_SETS:
        try:
            data.paths(name)
            found.append(name)
        except FileNotFoundError as error:
            if name != OPTIONAL:
                raise
            missing = f"without {name}: {error}"
    return found, missing


def table2(datasets: Sequence[str]) -> list[Block]:
    """Isotropic kernels without noise, for each scale and test set (§4.2)."""
    return [
        Block(
            dataset, scale, 0, {"σ": widths},
            [*evaluation.isotropic_degradations(scale, widths).values()],
            {method: [*sets[dataset].values()] for method, sets in paper.table2(scale).items()},
        )
        for scale in paper.SCALES
        for widths in [paper.kernel_widths(scale)]
        for dataset in datasets
    ]  # fmt: skip


def table3() -> list[Block]:
    """Nine anisotropic kernels on Set14 at ×4, for each noise level (§4.3)."""
    triples = paper.TABLES["table3"]["kernels_lambda1_lambda2_thetadeg"]
    kernels = dict(zip(("λ1", "λ2", "θ°"), zip(*triples, strict=True), strict=True))
    printed = paper.table3()
    return [
        Block(
            "Set14", 4, noise, kernels,
            [Degradations.anisotropic(*kernel, 4, noise) for kernel in paper.TABLE3_KERNELS],
            {method: levels[noise] for method, levels in printed.items()},
        )
        for noise in printed["DASR"]
    ]  # fmt: skip


def choose(table: str, names: Iterable[str]) -> dict[str, Entry]:
    """The entries of a table by name; raises ValueError with the nearest name for another one."""
    known = ENTRIES[table]
    for name in names:
        if name not in known:
            raise ValueError(errors.unknown_name_message(f"system of {table}", name, known))
    return {name: known[name] for name in names}


Loaded = dict[int, list[tuple[Entry, System]]]


def load_systems(entries: Iterable[Entry], blocks: Sequence[Block]) -> Loaded:
    """By scale, the systems that the blocks need: what cannot be loaded is refused here."""
    entries, scales = list(entries), dict.fromkeys(block.scale for block in blocks)
    return {scale: [(entry, entry.load(scale)) for entry in entries] for scale in scales}


def measure(block: Block, loaded: Loaded) -> Iterator[Row]:
    """A block's printed rows, then the row of each system as soon as it is measured (§4.2, §4.3).

    Computes in float32, as published numbers are; the noise is the same for every system.
    """
    for method, psnr in block.printed.items():
        yield _row(block, psnr, title=method, system=None)
    pictures = data.images(block.dataset)
    degradations = {float(column): d for column, d in enumerate(block.degradations)}
    for entry, system in loaded[block.scale]:
        yield _measured(block, entry, evaluation.benchmark(system, pictures, degradations))


def _measured(block: Block, entry: Entry, rows: Sequence[Measurement[float]]) -> Row:
    pictures: dict[str, list[float]] = {}
    for row in rows:
        pictures.setdefault(row.picture, []).append(round(row.psnr, 4))
    psnr, ssim = (evaluation.mean_by_degradation(rows, c).values() for c in ("psnr", "ssim"))
    return _row(
        block,
        [round(value, 3) for value in psnr],
        title=entry.title,
        system=entry.system,
        ssim=[round(value, 4) for value in ssim],
        seconds=round(fmean(row.seconds for row in rows), 4),
        pictures=pictures,
    )


def _row(block: Block, psnr: Sequence[float], **others: Any) -> Row:
    printed = block.printed["DASR"]
    difference = [round(db - dasr, 3) for db, dasr in zip(psnr, printed, strict=True)]
    return Row(
        dataset=block.dataset, scale=block.scale, noise=block.noise, psnr=[*psnr],
        difference=difference, **others,
    )  # fmt: skip
