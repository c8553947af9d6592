"""A variant of one operator on tensors: cast, checked against float64, timed out of the cache."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dasrlib.bench import measure
from dasrlib.bench.measure import Check, Tensors, TimedCall, Variant

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# The largest relative error against float64 on the same inputs.
TOLERANCES = {
    # Sums of some hundred products stay under 1e-6. One product in tf32 is off by 3e-4, and tf32
    # is not float32.
    "float32": 1e-4,
    # 8 bits: rounding the result alone costs 2e-3, and the authors' way rounds four times.
    "bfloat16": 1e-2,
    # 11 bits, an eighth of that, with the same limit.
    "float16": 1e-2,
}


def cache_bytes(device: torch.device) -> int:
    """The last level's cache; of a processor a common size, since not every system says it."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).L2_cache_size
    return 32 << 20


def forward_only(function: Callable[..., Tensor]) -> Callable[..., Tensors]:
    """The function without gradients, its result in a tuple of one."""

    def forward(*inputs: Any) -> Tensors:
        with torch.inference_mode():
            return (function(*inputs),)

    return forward


def forward_and_grads(function: Callable[..., Tensor]) -> Callable[..., Tensors]:
    """From the gradient of the result and the inputs: the result, and the inputs' gradients."""

    def both(upstream: Tensor, *inputs: Tensor) -> Tensors:
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        out = function(*leaves)
        return (out.detach(), *torch.autograd.grad(out, leaves, upstream))

    return both


def operator(
    name: str,
    function: Callable[..., Tensors],
    exact: Callable[..., Tensors],
    draw: Callable[[], tuple[Any, ...]],
    device: torch.device,
    dtype: str = "float32",
    layout: str = "contiguous",
    *,
    tolerance: float | None = None,
    cast: bool = True,
    captured: bool = True,
    most_sets: int = 32,
) -> Variant:
    """A variant that computes tensors from tensors.

    function, exact: the variant and the right result, called in float64. draw: random inputs in
    float32 on the device; the first is a map, and it and others of its height and width get the
    layout. cast: the inputs to the dtype. captured: on a GPU, timed as a CUDA graph, without the
    time of the launches. most_sets: of inputs that are held.
    """
    number = measure.number_of(dtype) if cast else torch.float32

    def inputs() -> tuple[Any, ...]:
        drawn = list(draw())
        for i, value in enumerate(drawn):
            if isinstance(value, Tensor):
                is_map = value.ndim == 4 and value.shape[-2:] == drawn[0].shape[-2:]
                order = LAYOUTS[layout] if is_map else torch.contiguous_format
                drawn[i] = value.to(number).contiguous(memory_format=order)
        return tuple(drawn)

    def check() -> Check:
        drawn = inputs()
        with measure.poisoned_memory():
            out = function(*drawn)
        _, peak = measure.peak_of(lambda: function(*drawn), device)
        wide = (value.double() if isinstance(value, Tensor) else value for value in drawn)
        return out, exact(*wide), peak

    def prepare() -> TimedCall:
        first = inputs()
        held = sum(value.nbytes for value in first if isinstance(value, Tensor))
        # Four times the cache: a set has left it when its turn comes again.
        count = min(max(math.ceil(4 * cache_bytes(device) / held), 3), most_sets)
        sets = [first, *(inputs() for _ in range(count - 1))]
        if device.type != "cuda":
            turns = itertools.cycle(sets)
            return TimedCall(lambda: function(*next(turns)))

        def run() -> list[Tensors]:
            # All results are held: written again and again to one place, they would stay in the
            # cache and never cross the memory bus.
            return [function(*each) for each in sets]

        return TimedCall(_capture(run, device) if captured else run, count)

    limit = tolerance or TOLERANCES[dtype]
    return Variant(name, dtype, layout, limit, check, prepare)


def _capture(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The run as a CUDA graph."""
    here, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(here)
    with torch.cuda.stream(side):
        run()
    here.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run()

    def replay(held: object = (run, results)) -> None:  # the graph reads and writes their memory
        graph.replay()

    return replay
