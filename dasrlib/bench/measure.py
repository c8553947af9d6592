"""How a number is made: the result is checked first, then the ways of getting it are timed in turn.

A way (`Way`) is one variant of one thing to compute, `Case` the thing with its ways, the first of
which is what the others are compared with. A way whose result is wrong gets no time.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]

# The largest error, ‖out − truth‖ / ‖truth‖ against float64 on the same inputs.
TOLERANCES = {
    # Sums of some hundred products stay under 1e-6; one product in tf32 is off by 3e-4, and tf32
    # is not float32.
    torch.float32: 1e-4,
    # 8 bits: rounding the result alone costs 2e-3, and the eager composition rounds four times.
    torch.bfloat16: 1e-2,
    # 11 bits, an eighth of that; it is held to the same.
    torch.float16: 1e-2,
}


ITEM = {"float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2}  # bytes of a number in memory


class Budget(NamedTuple):
    """How long a case is timed: so many seconds, but at least and at most so many rounds."""

    seconds: float
    least: int
    most: int


QUICK = Budget(seconds=0.0, least=2, most=2)
# A processor without units for bfloat16 takes a minute for a step of training in it: three rounds.
BUDGETS = {"cpu": Budget(4.0, 3, 100), "cuda": Budget(1.0, 10, 200)}


class Check(NamedTuple):
    """What a way computed from fresh random inputs, what is right, and its peak memory in bytes."""

    out: Tensors
    truth: Tensors
    peak: int | None = None


class Repeat(NamedTuple):
    """What is timed, and how many calls of the way it holds."""

    go: Callable[[], object]
    calls: int = 1


class Way(Protocol):
    """One way of computing something; its dtype is the name of one in ITEM."""

    name: str
    dtype: str
    layout: str
    tolerance: float

    def check(self) -> Check:
        """One run on fresh random inputs, beside the same in float64."""

    def repeat(self) -> Repeat:
        """The way made ready to be timed."""


@dataclass(frozen=True)
class Case:
    """One thing to compute, and the ways of doing so; the first is what the others are compared
    with.

    numbers: how many are moved, each input read once and each output written once. flops:
    multiplications and additions. Both are 0 where they are not counted.
    """

    group: str
    what: str
    size: str
    ways: Sequence[Way]
    numbers: int = 0
    flops: int = 0


def relative_error(out: Tensor, truth: Tensor) -> float:
    """‖out − truth‖ / ‖truth‖; infinite for another shape and for anything that is no number."""
    if out.shape != truth.shape:
        return math.inf
    truth = truth.double()
    error = float((out.double() - truth).norm() / truth.norm())
    return error if math.isfinite(error) else math.inf


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fresh memory is full of NaN: what a kernel leaves unwritten shows."""
    before = torch.are_deterministic_algorithms_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what has no deterministic form; none is asked for
        torch.use_deterministic_algorithms(True, warn_only=True)  # which fills what is empty
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether float32 convolutions and products on a GPU may round their inputs to tf32."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def peak_of(call: Callable[[], Any], device: torch.device) -> tuple[Any, int | None]:
    """What a call gives, and the bytes it took at its peak beyond those held before (CUDA)."""
    if device.type != "cuda":
        return call(), None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    out = call()
    torch.cuda.synchronize(device)
    return out, torch.cuda.max_memory_allocated(device) - before


def _seconds(repeat: Repeat, device: torch.device) -> float:
    """The seconds of one call of the way, from one go."""
    if device.type != "cuda":
        clock = time.perf_counter()
        repeat.go()
        return (time.perf_counter() - clock) / repeat.calls
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    repeat.go()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000 / repeat.calls


def interleaved(
    repeats: Sequence[Repeat], device: torch.device, budget: Budget
) -> list[list[float]]:
    """The seconds a call of each takes, many times, in turn: what disturbs one disturbs all."""
    for repeat in repeats:
        _seconds(repeat, device)  # the first go compiles, allocates and tunes
    samples = [[_seconds(repeat, device)] for repeat in repeats]
    per_round = sum(s[0] * r.calls for s, r in zip(samples, repeats, strict=True))
    rounds = min(max(int(budget.seconds / max(per_round, 1e-9)), budget.least), budget.most)
    for i in range(1, rounds):
        for j in range(len(repeats)):
            turn = (i + j) % len(repeats)  # so that none always comes after the same one
            samples[turn].append(_seconds(repeats[turn], device))
    return samples


def _verdict(way: Way) -> tuple[dict[str, Any], Repeat | None]:
    """What is known of a way before it is timed; no Repeat where it is wrong or cannot run."""
    row: dict[str, Any] = {
        "variant": way.name,
        "dtype": way.dtype,
        "layout": way.layout,
        "tolerance": way.tolerance,
        "error": None,
        "refused": None,
        "peak_bytes": None,
    }
    try:
        out, truth, row["peak_bytes"] = way.check()
        if len(out) != len(truth):
            raise RuntimeError(f"gave {len(out)} results, expected {len(truth)}")
        error = max(relative_error(o, t) for o, t in zip(out, truth, strict=True))
        del out, truth
        row["error"] = error if math.isfinite(error) else None  # json knows no infinity
        # Not `error > tolerance`: of a NaN that would be False.
        if not error <= way.tolerance:
            row["refused"] = f"wrong (error {error:.1e}, at most {way.tolerance:.0e})"
            return row, None
        return row, way.repeat()
    except Exception as error:
        # One way that does not run here, for want of memory say, does not cost the others.
        row["refused"] = f"failed ({(str(error).strip() or type(error).__name__).splitlines()[0]})"
        return row, None


def rows_of(case: Case, device: torch.device, budget: Budget) -> list[dict[str, Any]]:
    """A row for each way of the case, ready for a json file.

    seconds: the median and the quartiles [lower, median, upper] of all samples, None where the way
    is wrong or does not run, and `refused` says which. ratio: the first way's median over this
    one's.
    """
    rows, repeats = zip(*(_verdict(way) for way in case.ways), strict=True)
    right = [i for i, repeat in enumerate(repeats) if repeat is not None]
    timed = interleaved([repeats[i] for i in right], device, budget) if right else []
    taken = dict(zip(right, timed, strict=True))
    first = statistics.median(taken[0]) if 0 in taken else None
    for i, row in enumerate(rows):
        row.update(group=case.group, what=case.what, size=case.size)
        row.update(bytes=case.numbers * ITEM[row["dtype"]], flops=case.flops)
        row.update(seconds=None, samples=0, ratio=None)
        if i in taken:
            lower, median, upper = statistics.quantiles(taken[i], n=4, method="inclusive")
            row.update(seconds=[lower, median, upper], samples=len(taken[i]))
            row["ratio"] = first / median if first else None
    return list(rows)
