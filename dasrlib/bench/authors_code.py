"""The authors' way, the baseline: float32, contiguous, an operation at a time.

The arithmetic is that of the authors' published code; the code is written anew.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib.degradation import Degradations
from dasrlib.grouped_conv import Activation
from dasrlib.resampling import cubic


def da_conv2d(
    x: Tensor,
    kernels: Tensor,
    weight: Tensor,
    bias: Tensor,
    modulation: Tensor | None = None,
    activation: Activation | None = None,
) -> Tensor:
    """grouped_conv.da_conv2d, an operation at a time: each reads and writes the whole map."""
    b, c, h, w = x.shape
    k = kernels.shape[-1]
    weights = kernels.reshape(b * c, 1, k, k)
    out = F.conv2d(x.reshape(1, b * c, h, w), weights, padding=k // 2, groups=b * c)
    out = F.conv2d(F.leaky_relu(out.view(b, c, h, w), 0.1), weight[:, :, None, None], bias)
    if modulation is not None:
        out = out + x * modulation[:, :, None, None]
    return F.leaky_relu(out, 0.1) if activation == "leaky_relu" else out


def _downsample_width(images: Tensor, s: int) -> Tensor:
    """The last dimension downsampled by s: the pixels under the cubic, gathered by index."""
    width = images.shape[-1]
    centre = (torch.arange(width // s, device=images.device, dtype=images.dtype) + 0.5) * s - 0.5
    taps = (centre - 2 * s).floor()[:, None] + torch.arange(4 * s + 2, device=images.device)
    weights = cubic((centre[:, None] - taps) / s)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (images[..., taps.clamp(0, width - 1).long()] * weights).sum(dim=-1)


def downsample_bicubic(images: Tensor, scale: int) -> Tensor:
    """Bicubic downsampling by indexing, (B, C, H, W) -> (B, C, H/s, W/s) (§3.1)."""
    narrow = _downsample_width(images, scale)
    return _downsample_width(narrow.transpose(-2, -1), scale).transpose(-2, -1)


def degrade(hr: Tensor, degradations: Degradations) -> Tensor:
    """degradation.degrade without noise and without rounding: a grouped convolution at full size,
    then the downsampling by indexing (§3.1)."""
    b, c, h, w = hr.shape
    k = degradations.kernels.shape[-1]
    padded = F.pad(hr, (k // 2,) * 4, mode="reflect")
    weights = degradations.kernels.to(hr).repeat_interleave(c, dim=0)[:, None]
    blurred = F.conv2d(padded.view(1, b * c, *padded.shape[-2:]), weights, groups=b * c)
    return downsample_bicubic(blurred.view(b, c, h, w), degradations.scale)
