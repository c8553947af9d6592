"""What is right: the formulas in float64, by other means than anything that is measured.

A mistake that the ways share with what they are compared with would not show.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib.bench import authors_code
from dasrlib.degradation import Degradations
from dasrlib.grouped_conv import Activation


def grouped_conv2d(x: Tensor, kernels: Tensor) -> Tensor:
    """grouped_conv.grouped_conv2d: the sum over the k·k places of a kernel, written out."""
    (h, w), k = x.shape[-2:], kernels.shape[-1]
    padded = F.pad(x, (k // 2,) * 4)
    places = [(i, j) for i in range(k) for j in range(k)]
    shifted = (
        padded[..., i : i + h, j : j + w] * kernels[..., i, j, None, None] for i, j in places
    )
    return torch.stack(list(shifted)).sum(dim=0)


def da_conv2d(
    x: Tensor,
    kernels: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    modulation: Tensor | None = None,
    activation: Activation | None = None,
) -> Tensor:
    """grouped_conv.da_conv2d of the grouped convolution above."""
    filtered = F.leaky_relu(grouped_conv2d(x, kernels), 0.1)
    out = torch.einsum("oc,bchw->bohw", weight, filtered)
    if bias is not None:
        out = out + bias[:, None, None]
    if modulation is not None:
        out = out + x * modulation[:, :, None, None]
    return F.leaky_relu(out, 0.1) if activation == "leaky_relu" else out


class ExactDAConv(authors_code.ReleasedDAConv):
    """DAConv with the formula's forward."""

    compute = staticmethod(da_conv2d)


def degrade(hr: Tensor, degradations: Degradations) -> Tensor:
    """degradation.degrade without noise and not rounded: the blur as a product of spectra."""
    h, w = hr.shape[-2:]
    kernels = degradations.kernels.to(hr)[:, None]
    r = kernels.shape[-1] // 2
    padded = F.pad(hr, (r, r, r, r), mode="reflect")
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=size)
    # The product's first 2r rows and columns hold what came round from the other side.
    blurred = torch.fft.irfft2(spectrum, s=size)[..., 2 * r : 2 * r + h, 2 * r : 2 * r + w]
    return authors_code.reduced(blurred, degradations.scale)
