"""The convolution in which every sample and channel has its own kernel (§3.2.2)."""

from __future__ import annotations

from torch import Tensor

from dasrlib.grouped_conv.reference import grouped_conv2d_reference

BACKENDS = {"reference": grouped_conv2d_reference}


def grouped_conv2d(x: Tensor, kernels: Tensor, backend: str = "auto") -> Tensor:
    """Each channel of each sample, convolved with its own kernel; zero padding (§3.2.2).

    x: (B, C, H, W). kernels: (B, C, k, k), k odd. Returns (B, C, H, W).
    backend: "reference" (the framework's grouped convolution) or "auto", which picks for the
    device. Raises ValueError for shapes that do not fit, an even k, or an unknown backend.
    """
    k = kernels.shape[-1]
    if kernels.ndim != 4 or kernels.shape[:2] != x.shape[:2] or kernels.shape[-2] != k:
        raise ValueError(
            f"kernels must be (B, C, k, k) with B, C of x {tuple(x.shape)}, "
            f"got {tuple(kernels.shape)}"
        )
    if k % 2 == 0:
        raise ValueError(f"kernel size must be odd, got {k}")
    if backend == "auto":
        backend = "reference"
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {['auto', *BACKENDS]}, got {backend!r}")
    return BACKENDS[backend](x, kernels)
