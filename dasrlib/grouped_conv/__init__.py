"""§3.2.2 The convolution with a kernel for each sample and channel, and the whole DA convolution in
one call.

There are two backends. "reference", PyTorch's own operations, runs everywhere and defines the right
result. "triton" is our GPU kernels.
"""

from __future__ import annotations

import os
from typing import Literal

import torch
from torch import Tensor

from dasrlib.errors import check_choice
from dasrlib.grouped_conv.reference import da_conv2d_reference, grouped_conv2d_reference

try:
    from dasrlib.grouped_conv.depthwise import grouped_conv2d_triton
    from dasrlib.grouped_conv.fused import da_conv2d_triton
except ImportError:  # only PyTorch for GPUs on Linux installs Triton
    HAS_TRITON = False
else:
    HAS_TRITON = True

Backend = Literal["auto", "triton", "reference"]
Activation = Literal["leaky_relu"]
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# Triton's interpreter runs the kernels on the CPU, for tests. Triton reads the variable on import.
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def uses_triton(x: Tensor, backend: Backend = "auto") -> bool:
    """Whether Triton computes it; raises ValueError if it was asked for and is not available."""
    check_choice("backend", backend, Backend)
    if backend == "triton" and not HAS_TRITON:
        raise ValueError('backend "triton" needs Triton, which is not installed: use "auto"')
    if backend == "triton" and not (x.is_cuda or _INTERPRETED):
        raise ValueError(f'backend "triton" needs a GPU, and x is on the {x.device}: use "auto"')
    if backend == "auto":
        return HAS_TRITON and x.is_cuda
    return backend == "triton"


def _check(x: Tensor, kernels: Tensor) -> Tensor:
    """The kernels, one for each channel; raises ValueError where they do not fit x."""
    if x.ndim != 4:
        raise ValueError(f"x must be (B, C, H, W), got {tuple(x.shape)}")
    b, c = x.shape[:2]
    k = kernels.shape[-1]
    if kernels.shape not in ((b, c, k, k), (b, 1, k, k)):
        raise ValueError(
            f"kernels must be (B, C, k, k) or (B, 1, k, k) with B, C of x {tuple(x.shape)}, "
            f"got {tuple(kernels.shape)}"
        )
    if k % 2 == 0:
        raise ValueError(f"kernel size must be odd, got {k}")
    if x.dtype not in DTYPES:
        raise ValueError(f"x must be floating point, got {x.dtype}")
    return kernels.expand(b, c, k, k)


def grouped_conv2d(x: Tensor, kernels: Tensor, backend: Backend = "auto") -> Tensor:
    """Each channel of each sample, convolved with its own kernel; zero padding (§3.2.2).

    Args:
        x: (B, C, H, W), contiguous or channels_last.
        kernels: (B, C, k, k) with k odd, or (B, 1, k, k) for a kernel that the channels share.
        backend: "triton", "reference", or "auto": Triton for tensors on a GPU if it is installed.

    Returns:
        (B, C, H, W) in x's dtype and layout.
    """
    kernels = _check(x, kernels)
    if uses_triton(x, backend):
        return grouped_conv2d_triton(x, kernels)
    return grouped_conv2d_reference(x, kernels)


def da_conv2d(
    x: Tensor,
    kernels: Tensor,
    weight: Tensor,
    bias: Tensor,
    modulation: Tensor | None = None,
    activation: Activation | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """mix(LeakyReLU(x ⊛ kernels)) + x · modulation, the degradation-aware convolution (§3.2.2).

    Args:
        x: (B, C, H, W).
        kernels: (B, C, k, k), k odd.
        weight: (C, C), of the 1×1 convolution `mix`.
        bias: (C,), of `mix`.
        modulation: (B, C); None leaves the second term out.
        activation: "leaky_relu" applies a LeakyReLU to the result, as a DA block does.
        backend: as in grouped_conv2d. "triton" computes all of it in one pass over x.

    Returns:
        (B, C, H, W) in x's dtype and layout.
    """
    if activation is not None:
        check_choice("activation", activation, Activation)
    leaky = activation == "leaky_relu"
    kernels = _check(x, kernels)
    b, c = x.shape[:2]
    parameters = {"weight": (weight, (c, c)), "bias": (bias, (c,))}
    if modulation is not None:
        parameters["modulation"] = (modulation, (b, c))
    for name, (tensor, shape) in parameters.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} must be {shape}, got {tuple(tensor.shape)}")
    if uses_triton(x, backend):
        return da_conv2d_triton(x, kernels, weight, bias, modulation, leaky)
    return da_conv2d_reference(x, kernels, weight, bias, modulation, leaky)
