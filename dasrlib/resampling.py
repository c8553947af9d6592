"""§3.1 ⊗ and ↓s: blur and bicubic resizing, as the formulas."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib.errors import check_batch


def check_blur(images: Tensor, kernels: Tensor) -> None:
    """Raises ValueError where the kernels (B or 1, k, k) cannot blur the images (B, C, H, W)."""
    check_batch(images)
    b, _, h, w = images.shape
    k = kernels.shape[-1]
    if kernels.ndim != 3 or kernels.shape[-2] != k:
        raise ValueError(f"expected square kernels (B, k, k), got {tuple(kernels.shape)}")
    if k % 2 == 0:
        raise ValueError(f"kernel size must be odd, got {k}")
    if kernels.shape[0] not in (1, b):
        raise ValueError(f"expected 1 kernel or {b}, one per image, got {kernels.shape[0]}")
    if min(h, w) <= k // 2:
        raise ValueError(
            f"a picture of {h}×{w} is too small for a {k}×{k} kernel: "
            f"each side must be at least {k // 2 + 1} pixels"
        )


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """I ⊗ k with one kernel per image and reflected borders (§3.1).

    Args:
        images: (B, C, H, W), each side longer than k // 2.
        kernels: (B, k, k) with k odd, or (1, k, k) for all images.

    Returns:
        (B, C, H, W).
    """
    check_blur(images, kernels)
    padded = F.pad(images, (kernels.shape[-1] // 2,) * 4, mode="reflect")
    # F.conv2d does not flip its weights; a convolution flips the kernel.
    weights = kernels.to(images).flip(-2, -1)[:, None]
    return correlate(padded, weights.expand(*images.shape[:2], -1, -1))


def correlate(images: Tensor, weights: Tensor, stride: int = 1) -> Tensor:
    """Each channel of each image with its own weights, no padding: (B, C, H, W), (B, C, k, k)."""
    b, c, h, w = images.shape
    # The batch is folded into the channels, as grouped_conv.reference explains (§3.2.2).
    folded = images.reshape(1, b * c, h, w)
    filters = weights.reshape(b * c, 1, *weights.shape[-2:])
    out = F.conv2d(folded, filters, stride=stride, groups=b * c)
    return out.view(b, c, *out.shape[-2:])


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic with a = −0.5, the interpolation kernel of MATLAB's imresize."""
    x = x.abs()
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, inner, torch.where(x <= 2, outer, torch.zeros_like(x)))


# The cached matrix serves inference and training. Autograd refuses tensors made in inference mode.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
def resize_matrix(length: int, scale: float, device: torch.device) -> Tensor:
    """The (output, input) matrix that resizes a line of `length` pixels, as MATLAB's imresize."""
    out_length = math.ceil(length * scale - 1e-9)
    stretch = min(scale, 1.0)  # < 1 widens the cubic when downsampling: the antialiasing
    support = 4.0 / stretch
    # Pixel centres of the output, in input coordinates that count pixels from 0.
    centre = (torch.arange(out_length, dtype=torch.float64) + 0.5) / scale - 0.5
    first = torch.floor(centre - support / 2)
    taps = first[:, None] + torch.arange(math.ceil(support) + 2, dtype=torch.float64)
    weights = stretch * cubic((centre[:, None] - taps) * stretch)
    weights = weights / weights.sum(dim=1, keepdim=True)
    # MATLAB mirrors the picture at its borders. The authors' code repeats the border pixel, and
    # the reproduction is compared with the authors' code.
    index = taps.clamp(0, length - 1).long()
    matrix = torch.zeros(out_length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, index, weights).float().to(device)


def resize_bicubic(images: Tensor, scale: float) -> Tensor:
    """Bicubic resizing as MATLAB's imresize does it: antialiased, a = −0.5 (§3.1).

    Args:
        images: (B, C, H, W).
        scale: of the sides, > 0: 1/4 downsamples, 4 upsamples.

    Returns:
        (B, C, ⌈H·scale⌉, ⌈W·scale⌉), not rounded.
    """
    check_batch(images)
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive, got {scale}")
    rows = resize_matrix(images.shape[-2], float(scale), images.device).to(images.dtype)
    columns = resize_matrix(images.shape[-1], float(scale), images.device).to(images.dtype)
    return rows @ (images @ columns.T)
