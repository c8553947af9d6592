"""§4.2, §4.3 Tables 2 and 3: what systems reach here, beside the rows that the paper prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dasrlib import compositions, data, evaluation, paper
from dasrlib.degradation import Degradations
from dasrlib.evaluation import System
from dasrlib.records.run_record import Measurement
from dasrlib.systems import SYSTEMS

OPTIONAL = "Urban100"  # the test set without which Table 2 is measured all the same
# The paper's names of two of the systems.
TITLES = {"model4": "DASR (Model 4)", "model5": "oracle (Model 5), not blind"}
# What is measured where nothing is asked for: as much as a quarter of an hour allows. A large test
# set has, at ×4, the systems that are printed and fast. Those that learn on the picture are on Set5
# at ×2, where MZSR is printed.
LARGE_SETS = ("B100", "Urban100")
FAST = ("bicubic", "rcan", "srmdnf-predicted", "model4")
SMALLEST, LEARN_ON_THE_PICTURE = "Set5", ("zssr", "mzsr")
TABLE2 = (
    "bicubic", "srcnn", "rcan", "srmdnf", "srmdnf-predicted", "srmdnf-assumed",
    "sftmd", "sftmd-predicted", "sftmd-assumed", "zssr", "mzsr", "mzsr-predicted",
    "mzsr-assumed", "ikc", "model5", "model5-predicted", "model5-assumed", "model4",
)  # fmt: skip
TABLE3 = (
    "bicubic", "rcan", "dncnn-rcan", "srmdnf-predicted", "dncnn-srmdnf-predicted", "ikc",
    "dncnn-ikc", "srmd", "srmd-predicted", "srmd-assumed", "model5", "model4",
)  # fmt: skip


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
    parameters: int | None = None  # of all its networks
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


def measured_on(block: Block, names: Sequence[str], asked: bool = False) -> list[str]:
    """Which of the systems are measured in a block: those whose weights are there for its scale.

    Args:
        block: of table2 or table3.
        names: of systems.SYSTEMS.
        asked: whether somebody asked for these systems; else a large test set has fewer rows.

    Raises:
        ValueError: a name is not known.
    """
    space = space_of(block)
    there = [name for name in names if compositions.is_here(name, block.scale, space)]
    if asked:
        return there
    if block.dataset in LARGE_SETS:
        return [name for name in there if name in FAST and block.scale == 4]
    if (block.dataset, block.scale) == (SMALLEST, 2):
        return there
    return [name for name in there if not name.startswith(LEARN_ON_THE_PICTURE)]


def by_system(rows: Sequence[Row], dataset: str = "Set14", scale: int = 4) -> dict[str, Any]:
    """What was measured of each system in one block: PSNR by column, seconds, weights."""
    return {
        row.system: {
            "psnr": row.psnr, "seconds": row.seconds, "parameters": row.parameters,
        }
        for row in rows
        if row.system and (row.dataset, row.scale) == (dataset, scale)
    }  # fmt: skip


def space_of(block: Block) -> compositions.Space:
    """What the networks that a block measures were trained for: Table 2 has isotropic kernels."""
    return "iso" if "σ" in block.kernels else "aniso"


def require_weights(names: Sequence[str], blocks: Sequence[Block]) -> None:
    """Raises ValueError, before the work, for a system that no block could measure."""
    for name in names:
        if not any(compositions.is_here(name, b.scale, space_of(b)) for b in blocks):
            compositions.load(name, blocks[-1].scale, space_of(blocks[-1]))


def measure(block: Block, names: Sequence[str]) -> Iterator[Row]:
    """A block's printed rows, then the row of each system as soon as it is measured (§4.2, §4.3).

    Computes in float32, as published numbers are; the noise is the same for every system.
    """
    for method, psnr in block.printed.items():
        yield _row(block, psnr, title=method, system=None)
    pictures = data.images(block.dataset)
    degradations = {float(column): d for column, d in enumerate(block.degradations)}
    for name in names:
        system = compositions.load(name, block.scale, space_of(block))
        yield _measured(block, name, system, evaluation.benchmark(system, pictures, degradations))


def _measured(block: Block, name: str, system: System, rows: Sequence[Measurement[float]]) -> Row:
    pictures: dict[str, list[float]] = {}
    for row in rows:
        pictures.setdefault(row.picture, []).append(round(row.psnr, 4))
    psnr, ssim = (evaluation.mean_by_degradation(rows, c).values() for c in ("psnr", "ssim"))
    return _row(
        block,
        [round(value, 3) for value in psnr],
        title=TITLES.get(name, SYSTEMS[name].title),
        system=name,
        ssim=[round(value, 4) for value in ssim],
        seconds=round(fmean(row.seconds for row in rows), 4),
        parameters=compositions.parameters(system),
        pictures=pictures,
    )


def _row(block: Block, psnr: Sequence[float], **others: Any) -> Row:
    printed = block.printed["DASR"]
    difference = [round(db - dasr, 3) for db, dasr in zip(psnr, printed, strict=True)]
    return Row(
        dataset=block.dataset, scale=block.scale, noise=block.noise, psnr=[*psnr],
        difference=difference, **others,
    )  # fmt: skip
