"""The per-sample convolutions with PyTorch's own operations; they define the right result."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib.paper import LEAKY_SLOPE


def grouped_conv2d_reference(x: Tensor, kernels: Tensor) -> Tensor:
    """(B, C, H, W) with (B, C, k, k) -> (B, C, H, W): one F.conv2d with B·C groups."""
    b, c, h, w = x.shape
    k = kernels.shape[-1]
    # conv2d gives all samples of a batch the same kernels. So the batch is folded into the
    # channels: one sample of B·C channels, and with groups = B·C each channel has its own kernel.
    folded = x.reshape(1, b * c, h, w)
    weights = kernels.to(x.dtype).reshape(b * c, 1, k, k)
    out = F.conv2d(folded, weights, padding=k // 2, groups=b * c)
    return out.view(b, c, h, w)


def da_conv2d_reference(
    x: Tensor, kernels: Tensor, weight: Tensor, bias: Tensor, modulation: Tensor | None, leaky: bool
) -> Tensor:
    """The whole degradation-aware convolution, an operation at a time (§3.2.2)."""
    # F_1 = mix(LeakyReLU(F ⊛ k(R))), one kernel per sample and channel
    filtered = F.leaky_relu(grouped_conv2d_reference(x, kernels), LEAKY_SLOPE)
    out = F.conv2d(filtered, weight.to(x.dtype)[:, :, None, None], bias.to(x.dtype))
    if modulation is not None:
        # F_1 + F · v(R)
        out = torch.addcmul(out, x, modulation[:, :, None, None].to(out.dtype))
    return F.leaky_relu(out, LEAKY_SLOPE, inplace=True) if leaky else out
