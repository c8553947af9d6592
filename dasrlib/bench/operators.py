"""Ways of one operator on tensors: cast, checked against float64, timed out of the cache."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dasrlib.bench.measure import TOLERANCES, Check, Repeat, Tensors, peak_of, poisoned_memory

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def name_of(dtype: torch.dtype) -> str:
    """ "float32" for torch.float32."""
    return str(dtype).removeprefix("torch.")


def cache_bytes(device: torch.device) -> int:
    """The last level's cache; of a processor a common size, since none tells its own everywhere."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).L2_cache_size
    return 32 << 20


def with_gradients(function: Callable[..., Tensor], leaves: int) -> Callable[..., Tensors]:
    """The function's result followed by the gradients for its first `leaves` inputs.

    What it gives takes the gradient for the result before the inputs.
    """

    def both(upstream: Tensor, *inputs: Any) -> Tensors:
        wanted = [tensor.detach().requires_grad_() for tensor in inputs[:leaves]]
        out = function(*wanted, *inputs[leaves:])
        return (out.detach(), *torch.autograd.grad(out, wanted, upstream))

    return both


def alone(function: Callable[..., Tensor]) -> Callable[..., Tensors]:
    """The function, its result in a tuple of one and without a graph for gradients."""

    def forward(*inputs: Any) -> Tensors:
        with torch.no_grad():
            return (function(*inputs),)

    return forward


@dataclass
class Operator:
    """A way of computing tensors from tensors.

    function, exact: the way and the definition of right, from the drawn inputs to tensors; exact is
    called in float64. draw: fresh random inputs in float32 on the device; the first is a map, and
    it and the others of its height and width get the layout. in_graph: timed as a CUDA graph, where
    the time is the GPU's; else that of calls one after the other, with what launching them takes.
    """

    name: str
    function: Callable[..., Tensors]
    exact: Callable[..., Tensors]
    draw: Callable[[], tuple[Any, ...]]
    device: torch.device
    number: torch.dtype = torch.float32
    layout: str = "contiguous"
    tolerance: float = 0.0
    in_graph: bool = True
    dtype: str = field(init=False)

    def __post_init__(self) -> None:
        self.dtype = name_of(self.number)
        self.tolerance = self.tolerance or TOLERANCES[self.number]

    def _inputs(self) -> tuple[Any, ...]:
        drawn = self.draw()

        def cast(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            is_map = value.ndim == 4 and value.shape[-2:] == drawn[0].shape[-2:]
            layout = LAYOUTS[self.layout] if is_map else torch.contiguous_format
            return value.to(self.number).contiguous(memory_format=layout)

        return tuple(cast(value) for value in drawn)

    def check(self) -> Check:
        inputs = self._inputs()
        with poisoned_memory():
            out = self.function(*inputs)
        _, peak = peak_of(lambda: self.function(*inputs), self.device)
        wide = (value.double() if isinstance(value, Tensor) else value for value in inputs)
        return Check(out, self.exact(*wide), peak)

    def repeat(self) -> Repeat:
        first = self._inputs()
        held = sum(value.nbytes for value in first if isinstance(value, Tensor))
        # Four times the cache: a set has left it when its turn comes again.
        count = min(max(math.ceil(4 * cache_bytes(self.device) / held), 3), 32)
        sets = [first, *(self._inputs() for _ in range(count - 1))]
        if self.device.type == "cuda":
            return self._captured(sets) if self.in_graph else self._in_a_row(sets)
        turns = itertools.cycle(sets)
        return Repeat(lambda: self.function(*next(turns)))

    def _in_a_row(self, sets: list[tuple[Any, ...]]) -> Repeat:
        def go() -> None:
            for inputs in sets:
                self.function(*inputs)

        return Repeat(go, len(sets))

    def _captured(self, sets: list[tuple[Any, ...]]) -> Repeat:
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(3):
                self.function(*sets[0])
        torch.cuda.current_stream(self.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            # Every call's results are kept: written over and over to one place they would stay in
            # the cache and never cross the memory bus.
            kept = [self.function(*inputs) for inputs in sets]

        def replay(held: object = (kept, sets)) -> None:
            graph.replay()

        return Repeat(replay, len(sets))
