"""What is measured of the operators: the two convolutions of §3.2.2 and the degradation of §3.1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dasrlib import degradation
from dasrlib.acceleration.blur_downsample import blur_downsample
from dasrlib.bench import authors_code, ground_truth
from dasrlib.bench.measure import Case, Workload
from dasrlib.bench.operators import LAYOUTS, forward_and_grads, forward_only, operator
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.grouped_conv import Backend, da_conv2d, grouped_conv2d

KERNEL, SCALE = 3, 4
DEPTHWISE = 2 * KERNEL**2  # flop
DTYPES = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "bfloat16", "float16")}
# On the CPU Triton runs in an interpreter, which is for tests.
BACKENDS: dict[str, tuple[Backend, ...]] = {"cpu": ("reference",), "cuda": ("reference", "triton")}


def draw_da_conv(size: tuple[int, ...], backward: bool, device: torch.device) -> tuple[Tensor, ...]:
    """Random x, kernels, weight, bias and modulation of a DA convolution.

    Where gradients are compared, both LeakyReLUs are kept off their kink. A value that rounds to
    the other side of it has ten times the gradient: no error of the kernel, and yet 5 % of the norm
    in bfloat16.
    """
    b, c = size[:2]
    x = torch.randn(size, device=device)
    kernels = torch.randn(b, c, KERNEL, KERNEL, device=device) / KERNEL
    weight = torch.randn(c, c, device=device) / c**0.5
    bias, modulation = torch.randn(c, device=device), torch.rand(b, c, device=device)
    if backward:
        # x is positive and a kernel has one sign, so that the filtered map has that sign too. A
        # bias is larger than the sum that it is added to.
        x = 0.5 + torch.rand_like(x)
        signs = torch.randn(b, c, 1, 1, device=device).sign()
        kernels = (0.1 + torch.rand_like(kernels)) / 5 * signs
        bias = 10 * bias.sign()
    return x, kernels, weight, bias, modulation


def _draw(
    size: tuple[int, ...], backward: bool, device: torch.device, reads: int
) -> tuple[Tensor, ...]:
    """The first `reads` tensors of a DA convolution, after the gradient of its result."""
    upstream = (torch.randn(size, device=device),) if backward else ()
    return (*upstream, *draw_da_conv(size, backward, device)[:reads])


def _convolution(
    what: str,
    functions: Mapping[str, Callable[..., Tensor]],
    exact: Callable[..., Tensor],
    reads: int,
    flops: Callable[[int], int],
    device: torch.device,
    work: Workload,
) -> Iterator[Case]:
    """Forward and with all gradients, in every size, dtype and layout; the first function is the
    baseline. flops: of one number of the result, from C."""
    settings = itertools.product(work.maps, (False, True), DTYPES[device.type])
    for size, backward, dtype in settings:
        draw = partial(_draw, size, backward, device, reads)
        wrap: Any = forward_and_grads if backward else forward_only
        n, weights = math.prod(size), sum(tensor.numel() for tensor in draw()[1 - reads :])
        yield Case(
            f"{what} forward + backward" if backward else f"{what} forward",
            "×".join(map(str, size)),
            [
                operator(name, wrap(function), wrap(exact), draw, device, dtype, layout)
                for name, function in functions.items()
                for layout in LAYOUTS
            ],
            # Forward: x in, the result out. Backward: x and the result's gradient in, x's out; the
            # parameters in again, their gradients out.
            numbers=5 * n + 3 * weights if backward else 2 * n + weights,
            # As many again for the gradient of x, and for those of the parameters.
            flops=flops(size[1]) * n * (3 if backward else 1),
        )


def grouped_conv(device: torch.device, work: Workload) -> Iterator[Case]:
    """grouped_conv2d, PyTorch's and ours (§3.2.2)."""
    backends = BACKENDS[device.type]
    functions = {str(name): partial(grouped_conv2d, backend=name) for name in backends}
    exact = ground_truth.grouped_conv2d
    return _convolution("grouped_conv2d", functions, exact, 2, lambda c: DEPTHWISE, device, work)


def da_conv(device: torch.device, work: Workload) -> Iterator[Case]:
    """The DA convolution with the LeakyReLU that follows it: an operation at a time, and fused
    (§3.2.2)."""
    functions: dict[str, Callable[..., Tensor]] = {"eager": authors_code.da_conv2d}
    functions |= {name: partial(da_conv2d, backend=name) for name in BACKENDS[device.type]}
    leaky = {name: partial(f, activation="leaky_relu") for name, f in functions.items()}
    exact = partial(ground_truth.da_conv2d, activation="leaky_relu")

    def flops(c: int) -> int:
        return DEPTHWISE + 2 * c + 2  # depth-wise, 1×1, modulation

    return _convolution("DA convolution", leaky, exact, 5, flops, device, work)


def blur(device: torch.device, work: Workload) -> Iterator[Case]:
    """Blur and bicubic downsampling by 4: the authors' way, the formula, and degradation.degrade
    (§3.1)."""

    def formula(hr: Tensor, d: Degradations) -> Tensor:
        return degradation.resize_bicubic(degradation.blur(hr, d.kernels), 1 / d.scale)

    def one_strided_kernel(hr: Tensor, d: Degradations) -> Tensor:
        return blur_downsample(hr, d.kernels, d.scale)

    functions: dict[str, Callable[..., Tensor]] = {
        "authors": authors_code.degrade,
        "reference": formula,
        "one strided kernel": one_strided_kernel,
        "degrade": partial(degradation.degrade, backend="fast"),
    }

    def draw(size: tuple[int, ...], space: DegradationSpace) -> tuple[Tensor, Degradations]:
        # Patches come in pairs that share their degradation.
        pairs = space.sample(max(size[0] // 2, 1)).repeat_interleave(min(size[0], 2))
        return torch.rand(size, device=device), pairs.to(device)

    spaces = {
        "isotropic": DegradationSpace.isotropic(SCALE),
        "anisotropic": DegradationSpace.anisotropic(SCALE, noise=0.0),
    }
    for (kind, space), size in itertools.product(spaces.items(), work.hr):
        yield Case(
            f"blur and downsampling by {SCALE}, {kind}",
            "×".join(map(str, size)),
            [
                operator(
                    name,
                    forward_only(function),
                    forward_only(ground_truth.degrade),
                    partial(draw, size, space),
                    device,
                    # Rounded to 256 levels it is off by half a level at most, 4e-3 of grey.
                    tolerance=4e-3 if name == "degrade" else None,
                    captured=False,  # as training and the console call it
                )
                for name, function in functions.items()
            ],
            numbers=size[0] * 3 * (size[2] * size[3]) * (SCALE**2 + 1) // SCALE**2,
        )
