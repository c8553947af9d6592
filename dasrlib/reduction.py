"""§3.1 (I_HR ⊗ k) ↓s: the blur, the bicubic reduction, and both in one step.

Both are linear, so the pair can be applied in fewer multiplications than one after the other. The
results are the same to float32's rounding, the borders included.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib.grouped_conv import grouped_conv2d

# LR rows that one matrix of blur_and_reduce_separable makes: a whole training patch. In a larger
# picture a matrix for all rows would be nearly all zeros.
BAND = 64


def check_blur(images: Tensor, kernels: Tensor) -> None:
    """Raises ValueError where the kernels (B or 1, k, k) cannot blur the images (B, C, H, W)."""
    b, _, h, w = images.shape
    k = kernels.shape[-1]
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

    images: (B, C, H, W). kernels: (B, k, k), k odd, or (1, k, k) for all images.
    Returns (B, C, H, W). Raises ValueError for an even k, or a picture that is not larger than k
    // 2.
    """
    check_blur(images, kernels)
    b, c, h, w = images.shape
    r = kernels.shape[-1] // 2
    padded = F.pad(images, (r,) * 4, mode="reflect")
    # A convolution is a correlation with the kernel turned round.
    weights = kernels.to(images).expand(b, -1, -1).flip(-2, -1)[:, None]
    if images.is_cuda:
        return grouped_conv2d(padded, weights)[..., r : r + h, r : r + w]
    return _correlate(padded, weights.expand(-1, c, -1, -1))


def _correlate(images: Tensor, weights: Tensor, stride: int = 1) -> Tensor:
    """Each channel of each image with its own weights, no padding: (B, C, H, W), (B, C, k, k)."""
    b, c, h, w = images.shape
    # As in §3.2.2: the batch is folded into the channels, and with B·C groups every image has its
    # own kernel.
    folded = images.reshape(1, b * c, h, w)
    out = F.conv2d(
        folded, weights.reshape(b * c, 1, *weights.shape[-2:]), None, stride, groups=b * c
    )
    return out.view(b, c, *out.shape[-2:])


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic with a = −0.5, the interpolation kernel of MATLAB's imresize."""
    x = x.abs()
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, inner, torch.where(x <= 2, outer, torch.zeros_like(x)))


# What is cached serves training too: not an inference tensor, wherever it was first asked for.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _resize_matrix(length: int, scale: float, device: torch.device) -> Tensor:
    """The (output, input) matrix that resizes a line of `length` pixels as MATLAB's imresize
    does."""
    out_length = math.ceil(length * scale - 1e-9)
    stretch = min(scale, 1.0)  # < 1 widens the kernel when reducing: the antialiasing
    support = 4.0 / stretch
    # Pixel centres of the output, in input coordinates that count pixels from 0.
    centre = (torch.arange(out_length, dtype=torch.float64) + 0.5) / scale - 0.5
    first = torch.floor(centre - support / 2)
    taps = first[:, None] + torch.arange(math.ceil(support) + 2, dtype=torch.float64)
    weights = stretch * _cubic((centre[:, None] - taps) * stretch)
    weights = weights / weights.sum(dim=1, keepdim=True)
    # The released code repeats the border pixel where MATLAB mirrors the picture; the released
    # code is what the reproduction is measured against.
    index = taps.clamp(0, length - 1).long()
    matrix = torch.zeros(out_length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, index, weights).float().to(device)


def resize_bicubic(images: Tensor, scale: float) -> Tensor:
    """Bicubic resizing as MATLAB's imresize does it: antialiased, a = −0.5 (§3.1).

    At the borders the outermost pixel is repeated, as in the released code (MATLAB mirrors).
    images: (B, C, H, W). scale: 1/4, 4, ... > 0. Returns (B, C, ⌈H·scale⌉, ⌈W·scale⌉), not rounded.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")
    rows = _resize_matrix(images.shape[-2], float(scale), images.device).to(images.dtype)
    columns = _resize_matrix(images.shape[-1], float(scale), images.device).to(images.dtype)
    return rows @ (images @ columns.T)


def blur_and_reduce(hr: Tensor, kernels: Tensor, scale: int, separable: bool = False) -> Tensor:
    """(I_HR ⊗ k) ↓s, bicubic: resize_bicubic(blur(hr, kernels), 1 / scale) in fewer operations
    (§3.1).

    hr: (B, C, H, W), H and W divisible by the scale. kernels: (B, k, k) or (1, k, k).
    separable: the kernels are outer products, as those of isotropic Gaussians are.
    Returns (B, C, H/s, W/s), not rounded. Raises ValueError as blur does.
    """
    check_blur(hr, kernels)
    kernels = kernels.to(hr)
    if separable:
        return _separable(hr, kernels, scale)
    r = kernels.shape[-1] // 2
    if r < scale // 2 or min(hr.shape[-2:]) < 4 * scale + max(r, scale):
        return resize_bicubic(blur(hr, kernels), 1 / scale)  # hardly more than borders
    return _composed(hr, kernels, scale)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _shifted_band(
    length: int, scale: int, first: int, size: int, device: torch.device
) -> tuple[Tensor, slice]:
    """R S_u for LR rows `first` and on: S_u shifts a line by u pixels, reflecting it at its ends.

    Returns (size, rows, pixels), u from −(size // 2) up, and the HR pixels that these rows read.
    """
    r = size // 2
    band = _resize_matrix(length, 1 / scale, torch.device("cpu"))[first : first + BAND]
    touched = band.any(dim=0).nonzero()
    start, stop = int(touched[0]), int(touched[-1]) + 1
    read = slice(max(0, start - r), min(length, stop + r))
    # (I ⊗ k)(j) = Σ_u k(u) I(j − u)
    pixel = torch.arange(start, stop) - torch.arange(-r, r + 1)[:, None]
    pixel = (length - 1) - ((length - 1) - pixel.abs()).abs()
    shifted = torch.zeros(size, len(band), read.stop - read.start)
    index = (pixel - read.start)[:, None].expand(-1, len(band), -1)
    shifted.scatter_add_(2, index, band[:, start:stop].expand(size, -1, -1))
    return shifted.to(device), read


def _separable(hr: Tensor, kernels: Tensor, scale: int) -> Tensor:
    """LR = A_y · HR · A_xᵀ with A = R · G: G blurs a line, R reduces it.

    Of a kernel that is an outer product, k(x, y) = g_x(x) g_y(y), the sums over rows and columns
    are its factors; and A = Σ_u g(u) R S_u, whose terms no longer depend on the kernel.
    """

    def bands(length: int, factors: Tensor) -> list[tuple[Tensor, slice]]:
        found = []
        for first in range(0, length // scale, BAND):
            shifted, read = _shifted_band(length, scale, first, factors.shape[-1], hr.device)
            matrices = factors @ shifted.flatten(1).to(hr.dtype)
            found.append((matrices.unflatten(1, shifted.shape[1:]), read))  # (B, rows, pixels)
        return found

    b, c, h, w = hr.shape
    lines = hr.reshape(b, c * h, w)
    columns = [lines[..., read] @ a.mT for a, read in bands(w, kernels.sum(dim=-2))]
    narrow = torch.cat(columns, dim=-1).view(b, c, h, w // scale)
    rows = [a[:, None] @ narrow[..., read, :] for a, read in bands(h, kernels.sum(dim=-1))]
    return torch.cat(rows, dim=-2)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _windows(length: int, scale: int, size: int, device: torch.device) -> Tensor:
    """How a kernel's line becomes that of blur and reduction together: (5, 4s + k − 1, k).

    Five kinds of LR rows: the first, the second, those that no border touches, the last but one,
    the last. Each sees its own 4s + k − 1 HR rows, reflected beyond the picture.
    """
    taps = 4 * scale
    rows = _resize_matrix(length, 1 / scale, torch.device("cpu"))
    kinds = [(0, 0), (1, 0), (2, scale // 2), (-2, length - taps), (-1, length - taps)]
    j = torch.arange(taps + size - 1)[:, None] - torch.arange(
        size
    )  # k's u-th line is read at j + u
    inside = (j >= 0) & (j < taps)
    matrices = [rows[row][(start + j).clamp(0, length - 1)] * inside for row, start in kinds]
    return torch.stack(matrices).to(device)


def _composed(hr: Tensor, kernels: Tensor, scale: int) -> Tensor:
    """One correlation of stride s with k and the cubic composed into a kernel of 4s + k − 1.

    Where the reduction repeats the border pixel of the blurred picture, two rows and two columns on
    each side, the composed kernels are others: nine regions, the inner one with one kernel, an edge
    with two, a corner with four.
    """
    (b, c, h, w), k = hr.shape, kernels.shape[-1]
    n, reach = 4 * scale + k - 1, 4 * scale + k // 2
    along_y, along_x = (_windows(length, scale, k, hr.device).to(hr.dtype) for length in (h, w))
    composed = along_y.flatten(0, 1) @ kernels.flip(-2, -1) @ along_x.flatten(0, 1).T
    composed = composed.view(-1, 5, n, 5, n).transpose(2, 3).expand(b, -1, -1, -1, -1)

    def regions(length: int) -> list[tuple[slice, slice, slice, tuple[int, int]]]:
        """Kinds of rows, the LR rows, the HR rows they read, and how far those are reflected."""
        out, r = length // scale, k // 2
        inner = (r - scale // 2,) * 2
        return [
            (slice(0, 2), slice(0, 2), slice(0, reach), (r, 0)),
            (slice(2, 3), slice(2, out - 2), slice(0, length), inner),
            (slice(3, 5), slice(out - 2, out), slice(length - reach, length), (0, r)),
        ]

    lr = hr.new_empty(b, c, h // scale, w // scale)
    for kinds_y, to_y, from_y, pad_y in regions(h):
        for kinds_x, to_x, from_x, pad_x in regions(w):
            weights = composed[:, None, kinds_y, kinds_x].expand(-1, c, -1, -1, -1, -1)
            ny, nx = weights.shape[2:4]
            seen = F.pad(hr[..., from_y, from_x], (*pad_x, *pad_y), mode="reflect")
            # An edge is one row or column of windows, each seen with two kernels, one LR row each.
            seen = seen[:, :, None].expand(-1, -1, ny * nx, -1, -1).flatten(1, 2)
            out = _correlate(seen, weights.flatten(1, 3), scale)
            out = out.view(b, c, ny, nx, *out.shape[-2:]).transpose(3, 4)
            lr[..., to_y, to_x] = out.reshape(b, c, ny * out.shape[3], -1)
    return lr
