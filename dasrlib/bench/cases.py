"""What is measured of the operators: the two convolutions of §3.2.2 and the degradation of §3.1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dasrlib import degradation
from dasrlib.bench import authors_code, ground_truth
from dasrlib.bench.measure import Case
from dasrlib.bench.operators import LAYOUTS, Operator, alone, with_gradients
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.grouped_conv import Backend, da_conv2d, grouped_conv2d

SIZES = ((32, 64, 48, 48), (1, 64, 256, 256))  # a training batch, and one picture
QUICK_SIZES = ((2, 8, 12, 10),)
KERNEL = 3


def _dtypes(device: torch.device) -> tuple[torch.dtype, ...]:
    both = (torch.float32, torch.bfloat16)
    return (*both, torch.float16) if device.type == "cuda" else both


def _backends(device: torch.device) -> tuple[Backend, ...]:
    # On the CPU Triton runs in an interpreter, which is for tests.
    return ("reference", "triton") if device.type == "cuda" else ("reference",)


def _convolution(
    group: str,
    what: str,
    functions: Mapping[str, Callable[..., Tensor]],
    right: Callable[..., Tensor],
    draw: Callable[[tuple[int, ...], bool], tuple[Tensor, ...]],
    flops: Callable[[int], int],
    device: torch.device,
    quick: bool,
) -> Iterator[Case]:
    """A convolution of maps (B, C, H, W), forward and with all gradients, in every dtype, size and
    layout.

    functions: by name, from x and the parameters; the first is the baseline, and `right` what all
    of them should give. draw: x and the parameters for a size, and whether gradients will be
    compared. flops: from C, of one number of the result.
    """

    def inputs(size: tuple[int, ...], backward: bool) -> tuple[Tensor, ...]:
        upstream = (torch.randn(size, device=device),) if backward else ()
        return (*upstream, *draw(size, backward))

    for size in QUICK_SIZES if quick else SIZES:
        x, *parameters = draw(size, False)
        weights = sum(parameter.numel() for parameter in parameters)
        for backward in (False, True):
            wrap: Any = partial(with_gradients, leaves=1 + len(parameters)) if backward else alone
            for dtype in _dtypes(device):
                yield Case(
                    group,
                    f"{what} forward + backward" if backward else f"{what} forward",
                    "×".join(map(str, size)),
                    [
                        Operator(
                            name,
                            wrap(function),
                            wrap(right),
                            partial(inputs, size, backward),
                            device,
                            dtype,
                            layout,
                        )
                        for name, function in functions.items()
                        for layout in LAYOUTS
                    ],
                    # Forward: x in, the result out. Backward: x and the result's gradient in, x's
                    # out; the parameters in again, their gradients out.
                    numbers=5 * x.numel() + 3 * weights if backward else 2 * x.numel() + weights,
                    # As many again for the gradient of x, and for those of the parameters.
                    flops=flops(size[1]) * x.numel() * (3 if backward else 1),
                )


def grouped_conv(device: torch.device, quick: bool) -> Iterator[Case]:
    """grouped_conv2d, the framework's and ours (§3.2.2)."""
    functions: dict[str, Callable[..., Tensor]] = {
        name: partial(grouped_conv2d, backend=name) for name in _backends(device)
    }

    def draw(size: tuple[int, ...], backward: bool) -> tuple[Tensor, ...]:
        kernels = torch.randn(*size[:2], KERNEL, KERNEL, device=device)
        return torch.randn(size, device=device), kernels

    yield from _convolution(
        "grouped_conv",
        "grouped_conv2d",
        functions,
        ground_truth.grouped_conv2d,
        draw,
        lambda c: 2 * KERNEL**2,
        device,
        quick,
    )


def draw_da_conv(size: tuple[int, ...], backward: bool, device: torch.device) -> tuple[Tensor, ...]:
    """Random x, kernels, weight, bias and modulation of a DA convolution.

    Where gradients are compared, both LeakyReLUs are kept off their kink: a value that rounds to
    its other side has ten times the gradient, which is no error of the kernel and yet 5 % of the
    norm in bfloat16.
    """
    b, c = size[:2]
    x = torch.randn(size, device=device)
    kernels = torch.randn(b, c, KERNEL, KERNEL, device=device) / KERNEL
    weight = torch.randn(c, c, device=device) / c**0.5
    bias, modulation = torch.randn(c, device=device), torch.rand(b, c, device=device)
    if backward:
        # x is positive and a kernel has one sign, so that what it filters has that sign too; and a
        # bias is larger than what it is added to.
        x = 0.5 + torch.rand(size, device=device)
        kernels = (
            (0.1 + torch.rand_like(kernels)) / 5 * torch.randn(b, c, 1, 1, device=device).sign()
        )
        bias = 10 * bias.sign()
    return x, kernels, weight, bias, modulation


def da_conv(device: torch.device, quick: bool) -> Iterator[Case]:
    """The DA convolution with the LeakyReLU that follows it: an operation at a time, and fused
    (§3.2.2)."""
    functions: dict[str, Callable[..., Tensor]] = {
        "eager": partial(authors_code.da_conv2d, activation="leaky_relu")
    }
    for name in _backends(device):
        functions[name] = partial(da_conv2d, activation="leaky_relu", backend=name)
    yield from _convolution(
        "da_conv",
        "DA convolution",
        functions,
        partial(ground_truth.da_conv2d, activation="leaky_relu"),
        partial(draw_da_conv, device=device),
        lambda c: 2 * KERNEL**2 + 2 * c + 2,  # depth-wise, 1×1, modulation
        device,
        quick,
    )


def blur(device: torch.device, quick: bool) -> Iterator[Case]:
    """Blur and bicubic reduction by 4: the released way, its variants, and degradation.degrade
    (§3.1)."""
    from dasrlib.bench.blur import VARIANTS

    scale = 4
    spaces = {
        "isotropic": DegradationSpace.isotropic(scale),
        "anisotropic": DegradationSpace.anisotropic(scale, noise=0.0),
    }
    functions: dict[str, Callable[..., Tensor]] = {
        "released": authors_code.degrade,
        **VARIANTS,
        "degrade": partial(degradation.degrade, backend="fast"),
    }

    def draw(images: int, side: int, space: DegradationSpace) -> tuple[Tensor, Degradations]:
        hr = torch.rand(images, 3, side, side, device=device)
        # Patches come in pairs that share their degradation.
        drawn = space.sample(max(images // 2, 1)).repeat_interleave(min(images, 2))
        return hr, drawn.to(device)

    for name, space in spaces.items():
        for images, side in ((4, 48), (1, 64)) if quick else ((32, 192), (1, 512)):
            yield Case(
                "blur",
                f"blur and reduction by {scale}, {name}",
                f"{images}×3×{side}×{side}",
                [
                    Operator(
                        variant,
                        alone(function),
                        alone(ground_truth.degrade),
                        partial(draw, images, side, space),
                        device,
                        # Rounded to 256 levels, it is off by half a level at most, 4e-3 of grey.
                        tolerance=4e-3 if variant == "degrade" else 0.0,
                        in_graph=False,  # as training and the console call it
                    )
                    for variant, function in functions.items()
                ],
                numbers=images * 3 * (side**2 + (side // scale) ** 2),
            )
