"""The right results: the formulas in float64, computed in another way than anything measured.

A mistake that a variant shared with its reference would stay unseen.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib.degradation import Degradations
from dasrlib.grouped_conv import Activation


def grouped_conv2d(x: Tensor, kernels: Tensor) -> Tensor:
    """grouped_conv.grouped_conv2d: the sum over the k·k places of a kernel, written out."""
    (h, w), k = x.shape[-2:], kernels.shape[-1]
    padded = F.pad(x, (k // 2,) * 4)
    places = [(i, j) for i in range(k) for j in range(k)]
    shifted = [
        padded[..., i : i + h, j : j + w] * kernels[..., i, j, None, None] for i, j in places
    ]
    return torch.stack(shifted).sum(dim=0)


def da_conv2d(
    x: Tensor,
    kernels: Tensor,
    weight: Tensor,
    bias: Tensor,
    modulation: Tensor | None = None,
    activation: Activation | None = None,
) -> Tensor:
    """grouped_conv.da_conv2d of the grouped convolution above."""
    filtered = F.leaky_relu(grouped_conv2d(x, kernels), 0.1)
    out = torch.einsum("oc,bchw->bohw", weight, filtered) + bias[:, None, None]
    if modulation is not None:
        out = out + x * modulation[:, :, None, None]
    return F.leaky_relu(out, 0.1) if activation == "leaky_relu" else out


def degrade(hr: Tensor, degradations: Degradations) -> Tensor:
    """degradation.degrade without noise and without rounding: the blur as a product of spectra."""
    h, w = hr.shape[-2:]
    kernels = degradations.kernels.to(hr)[:, None]
    r = kernels.shape[-1] // 2
    padded = F.pad(hr, (r, r, r, r), mode="reflect")
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=size)
    # The product is circular: its first 2r rows and columns hold values from the other side.
    blurred = torch.fft.irfft2(spectrum, s=size)[..., 2 * r : 2 * r + h, 2 * r : 2 * r + w]
    # The border pixel is repeated as far as the cubic reaches, two LR pixels.
    s = degradations.scale
    repeated = F.pad(blurred, (2 * s,) * 4, mode="replicate")
    sides = [side // s for side in repeated.shape[-2:]]
    small = F.interpolate(repeated, sides, mode="bicubic", antialias=True)
    return small[..., 2:-2, 2:-2]
