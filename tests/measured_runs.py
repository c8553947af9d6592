"""Measured runs of the ablation with numbers that a test chose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dasrlib import paper
from dasrlib.records.run_record import Curve
from dasrlib.studies.ablation import MeasuredRun


def curve(values: Iterable[float]) -> Curve:
    """The values over the first of Table 2's kernel widths at ×4."""
    return list(zip(paper.kernel_widths(4), values, strict=False))


def measured_run(
    model: str,
    seed: int,
    psnr: Iterable[float],
    read: Mapping[str, float] | None = None,
    validations: Sequence[tuple[int, float]] = (),
) -> MeasuredRun:
    points = curve(psnr)
    return MeasuredRun(
        model, seed, points, [(width, 0.7) for width, _ in points], read, None, list(validations),
        iterations=6000, minutes=40.0, dtype="bfloat16", provenance={},
    )  # fmt: skip
