"""§3.1 (I_HR ⊗ k) ↓s in other ways than degradation.degrade's, to be measured beside it.

Each takes hr (B, 3, H, W) and as many degradations, or one, and returns LR (B, 3, H/s, W/s), float,
without noise and not rounded. All of them are exact, the borders included.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib.acceleration.blur_downsample import blur_downsample
from dasrlib.degradation import Degradations
from dasrlib.resampling import blur, resize_bicubic


def in_turn(hr: Tensor, degradations: Degradations) -> Tensor:
    """The full-size blur, one convolution with B·3 groups, then the reduction by two matrices."""
    return resize_bicubic(blur(hr, degradations.kernels), 1 / degradations.scale)


def _fast_length(length: int) -> int:
    """The next length that a Fourier transform halves, thirds and fifths down to 1."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def fourier(hr: Tensor, degradations: Degradations) -> Tensor:
    """The blur as a product of Fourier transforms, then the reduction by two matrices."""
    (h, w), k = hr.shape[-2:], degradations.kernels.shape[-1]
    padded = F.pad(hr, (k // 2,) * 4, mode="reflect")
    # Of the circular convolution the first k − 1 rows and columns wrap round: they are left out.
    size = (_fast_length(padded.shape[-2]), _fast_length(padded.shape[-1]))
    spectrum = torch.fft.rfft2(padded, size)
    spectrum = spectrum * torch.fft.rfft2(degradations.kernels.to(hr), size)[:, None]
    blurred = torch.fft.irfft2(spectrum, size)[..., k - 1 : k - 1 + h, k - 1 : k - 1 + w]
    return resize_bicubic(blurred, 1 / degradations.scale)


def composed(hr: Tensor, degradations: Degradations) -> Tensor:
    """Blur and reduction as one strided kernel: what degrade does where a kernel is not
    separable."""
    return blur_downsample(hr, degradations.kernels, degradations.scale)


VARIANTS: dict[str, Callable[[Tensor, Degradations], Tensor]] = {
    "blur, then reduction": in_turn,
    "Fourier": fourier,
    "composed": composed,
}
