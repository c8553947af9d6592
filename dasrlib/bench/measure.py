"""Check a result, then time it.

A `Case` is one thing to compute. A `Variant` is one way of computing it; the first is the baseline.
A variant with a wrong result gets no time.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Check = tuple[Tensors, Tensors, int | None]  # the result, the right one, peak memory in bytes


class Workload(NamedTuple):
    """How long a case is timed, so many seconds but at least and at most so many rounds; and how
    large everything is."""

    seconds: float
    least: int
    most: int
    copy: int = 256 << 20  # bytes, far beyond a cache
    matmul: int = 1024  # side of the matrices
    # A training batch, and one picture: (B, C, H, W).
    maps: tuple[tuple[int, ...], ...] = ((32, 64, 48, 48), (1, 64, 256, 256))
    hr: tuple[tuple[int, ...], ...] = ((32, 3, 192, 192), (1, 3, 512, 512))
    lr: tuple[tuple[int, ...], ...] = ((8, 3, 48, 48), (1, 3, 256, 256))
    batch: int = 8  # pairs of patches in a training step
    steps: int = 1  # training steps that are timed together
    profile: str = "paper"  # of the network and its patches


WORKLOADS = {
    # A processor that emulates bfloat16 takes a minute for a training step in it: three rounds.
    "cpu": Workload(4.0, 3, 100),
    "cuda": Workload(1.0, 10, 200, copy=1 << 30, matmul=8192, batch=32, steps=10),
    "quick": Workload(
        *(0.0, 2, 2),
        copy=1 << 20,
        matmul=128,
        maps=((2, 8, 12, 10),),
        hr=((4, 3, 48, 48), (1, 3, 64, 64)),
        lr=((2, 3, 16, 16),),
        batch=4,
        profile="smoke",
    ),
}


class TimedCall(NamedTuple):
    """What is timed, and how many computations one call of it holds."""

    run: Callable[[], object]
    computations: int = 1


@dataclass(frozen=True)
class Variant:
    """One way of computing something.

    check: computes from fresh random inputs, and the right result in float64. prepare: makes it
    ready to be timed. dtype: float32, tf32, bfloat16 or float16. tolerance: of `relative_error`.
    """

    name: str
    dtype: str
    layout: str
    tolerance: float
    check: Callable[[], Check]
    prepare: Callable[[], TimedCall]


@dataclass(frozen=True)
class Case:
    """One thing to compute, and its variants.

    numbers: how many are moved, each input read once and each output written once. flops:
    multiplications and additions. Both are 0 where they are not counted.
    """

    what: str
    size: str
    variants: Sequence[Variant]
    numbers: int = 0
    flops: int = 0


def number_of(dtype: str) -> torch.dtype:
    """What holds numbers of a dtype in memory: float32 for tf32."""
    return torch.float32 if dtype == "tf32" else getattr(torch, dtype)


def relative_error(out: Tensor, truth: Tensor) -> float:
    """‖out − truth‖ / ‖truth‖; infinite for another shape and where it is not a number."""
    if out.shape != truth.shape:
        return math.inf
    truth = truth.double()
    error = float((out.double() - truth).norm() / truth.norm())
    return error if math.isfinite(error) else math.inf


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fresh memory is full of NaN, so that a place that a kernel did not write shows."""
    before = torch.are_deterministic_algorithms_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about operations without a deterministic form
        torch.use_deterministic_algorithms(True, warn_only=True)  # this fills fresh memory
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
    """What a call returns, and on a GPU the bytes that it took at its peak."""
    if device.type != "cuda":
        return call(), None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    out = call()
    torch.cuda.synchronize(device)
    return out, torch.cuda.max_memory_allocated(device) - before


def _seconds(call: TimedCall, device: torch.device) -> float:
    """The seconds of one computation, from one call."""
    if device.type != "cuda":
        start = time.perf_counter()
        call.run()
        return (time.perf_counter() - start) / call.computations
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    begin.record()
    call.run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000 / call.computations


def interleaved(
    calls: Sequence[TimedCall], device: torch.device, work: Workload
) -> list[list[float]]:
    """The seconds of each, many times, in turn: a disturbance of the machine reaches all of them.

    In place of torch.utils.benchmark and triton.testing, which time one call after the other.
    """
    for call in calls:
        _seconds(call, device)  # the first call compiles, allocates and tunes
    samples = [[_seconds(call, device)] for call in calls]
    one_round = sum(s[0] * c.computations for s, c in zip(samples, calls, strict=True))
    rounds = min(max(int(work.seconds / max(one_round, 1e-9)), work.least), work.most)
    for i in range(1, rounds):
        for j in range(len(calls)):
            turn = (i + j) % len(calls)  # so that none always comes after the same one
            samples[turn].append(_seconds(calls[turn], device))
    return samples


def peaks(
    device: torch.device, work: Workload, dtypes: Sequence[str] = ("float32", "bfloat16")
) -> dict[str, Any]:
    """What the machine can do at most: "copy" in bytes a second, read and written, and "matmul" in
    operations a second by dtype; medians."""
    n = work.matmul
    source = torch.rand(work.copy // 4, device=device)
    target = torch.empty_like(source)
    calls = [TimedCall(lambda: target.copy_(source))]
    for dtype in dtypes:
        a, b = torch.randn(2, n, n, device=device).to(number_of(dtype))
        turns = itertools.cycle([(a, b), (b, a)])
        calls.append(TimedCall(lambda turns=turns: torch.mm(*next(turns))))  # type: ignore[misc]
    copy, *products = (statistics.median(s) for s in interleaved(calls, device, work))
    speeds = [2 * n**3 / seconds for seconds in products]
    return {"copy": 2 * work.copy / copy, "matmul": dict(zip(dtypes, speeds, strict=True))}


def _checked(variant: Variant) -> tuple[dict[str, Any], TimedCall | None]:
    """The row of a variant before it is timed; no call where it is wrong or does not run."""
    row: dict[str, Any] = {"variant": variant.name, "dtype": variant.dtype}
    row.update(layout=variant.layout, tolerance=variant.tolerance)
    row.update(error=None, refused=None, peak_bytes=None)
    try:
        out, truth, row["peak_bytes"] = variant.check()
        error = max(relative_error(o, t) for o, t in zip(out, truth, strict=True))
        row["error"] = error if math.isfinite(error) else None  # JSON has no infinity
        if error > variant.tolerance:
            row["refused"] = f"wrong (error {error:.1e}, at most {variant.tolerance:.0e})"
            return row, None
        del out, truth
        return row, variant.prepare()
    except Exception as error:
        # A variant that does not run here, for example for want of memory, does not stop the rest.
        row["refused"] = f"failed ({(str(error).strip() or type(error).__name__).splitlines()[0]})"
        return row, None


def rows_of(case: Case, device: torch.device, work: Workload) -> list[dict[str, Any]]:
    """A row for each variant of the case, ready for a json file.

    seconds: the quartiles [lower, median, upper] of all samples, None where the variant is wrong or
    does not run; `refused` says which. ratio: the first variant's median over this one's.
    """
    checked = [_checked(variant) for variant in case.variants]
    calls = [call for _, call in checked if call is not None]
    timed = iter(interleaved(calls, device, work) if calls else [])
    first = None
    for i, (row, call) in enumerate(checked):
        moved = case.numbers * number_of(row["dtype"]).itemsize
        row.update(what=case.what, size=case.size, bytes=moved, flops=case.flops)
        row.update(seconds=None, samples=0, ratio=None)
        if call is not None:
            samples = next(timed)
            quartiles = statistics.quantiles(samples, n=4, method="inclusive")
            row.update(seconds=quartiles, samples=len(samples))
            first = quartiles[1] if i == 0 else first
            row["ratio"] = first / quartiles[1] if first else None
    return [row for row, _ in checked]
