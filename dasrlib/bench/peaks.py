"""What this machine can do at most: copy memory, and multiply matrices."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import torch

from dasrlib.bench.measure import Budget, Repeat, interleaved
from dasrlib.bench.operators import name_of

DTYPES = (torch.float32, torch.bfloat16)


def measure(
    device: torch.device,
    budget: Budget,
    quick: bool = False,
    dtypes: tuple[torch.dtype, ...] = DTYPES,
) -> dict[str, Any]:
    """copy, in bytes a second read and written, and matmul by dtype, in floating-point operations
    a second; medians.

    dtypes: those to multiply in; a processor without bfloat16 units takes minutes over bfloat16.
    """
    cuda = device.type == "cuda"
    size = (1 << 20) if quick else (1 << 30) if cuda else (256 << 20)  # bytes, far beyond a cache
    n = 128 if quick else 8192 if cuda else 1024
    source = torch.rand(size // 4, device=device)
    target = torch.empty_like(source)
    repeats = [Repeat(lambda: target.copy_(source))]
    for dtype in dtypes:
        pairs = [
            (torch.randn(n, n, device=device).to(dtype), torch.randn(n, n, device=device).to(dtype))
            for _ in range(2)
        ]
        turns = itertools.cycle(pairs)
        repeats.append(Repeat(lambda turns=turns: torch.mm(*next(turns))))  # type: ignore[misc]
    copy, *products = interleaved(repeats, device, budget)
    return {
        "copy": 2 * size / statistics.median(copy),
        "matmul": {
            name_of(dtype): 2 * n**3 / statistics.median(taken)
            for dtype, taken in zip(dtypes, products, strict=True)
        },
    }
