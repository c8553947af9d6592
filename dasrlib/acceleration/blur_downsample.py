"""§3.1 (I_HR ⊗ k) ↓s in one step: resize_bicubic(blur(hr, k), 1 / s) in fewer multiplications.

Blur and bicubic downsampling are both linear, and so is the one after the other. The results are
the same to float32's rounding, the borders included.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib.resampling import blur, check_blur, correlate, resize_bicubic, resize_matrix

# LR rows that one matrix of `_separable` makes: a whole training patch. In a larger picture a
# matrix for all rows would be nearly all zeros.
BAND = 64


def blur_downsample(hr: Tensor, kernels: Tensor, scale: int, separable: bool = False) -> Tensor:
    """(I_HR ⊗ k) ↓s, bicubic (§3.1): resize_bicubic(blur(hr, kernels), 1 / scale).

    Args:
        hr: (B, C, H, W), H and W divisible by the scale.
        kernels: (B, k, k), or (1, k, k) for all images; each sums to 1.
        scale: s.
        separable: each kernel is the outer product of a column and a row, as an isotropic
            Gaussian is. Two small matrix products are then enough.

    Returns:
        (B, C, H/s, W/s), not rounded.
    """
    check_blur(hr, kernels)
    kernels = kernels.to(hr)
    r = kernels.shape[-1] // 2
    if separable:
        return _separable(hr, kernels, scale)
    # The regions of _composed need a picture that is larger than its borders.
    if r >= scale // 2 and min(hr.shape[-2:]) >= 4 * scale + max(r, scale):
        return _composed(hr, kernels, scale)
    return resize_bicubic(blur(hr, kernels), 1 / scale)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _shifted_band(
    length: int, scale: int, first: int, size: int, device: torch.device
) -> tuple[Tensor, slice]:
    """R S_u for the LR rows from `first` on; S_u shifts a line by u pixels, reflected at its ends.

    Returns (size, rows, pixels), u from −(size // 2) up, and the HR pixels that these rows read.
    """
    r = size // 2
    band = resize_matrix(length, 1 / scale, torch.device("cpu"))[first : first + BAND]
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
    """LR = A_y · HR · A_xᵀ with A = R · G: G blurs a line, R downsamples it.

    If a kernel is an outer product, k(x, y) = g_x(x) g_y(y), its sums over rows and over columns
    are the factors. And A = Σ_u g(u) R S_u, where R S_u does not depend on the kernel.
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
    """Matrices that make a line of the composed kernel from a line of k: (5, 4s + k − 1, k).

    There is one for each kind of LR row: the first, the second, those that no border touches, the
    last but one, the last. Each kind reads 4s + k − 1 HR rows, reflected beyond the picture.
    """
    taps = 4 * scale
    rows = resize_matrix(length, 1 / scale, torch.device("cpu"))
    kinds = [(0, 0), (1, 0), (2, scale // 2), (-2, length - taps), (-1, length - taps)]
    # The u-th line of k is read at j + u.
    j = torch.arange(taps + size - 1)[:, None] - torch.arange(size)
    inside = (j >= 0) & (j < taps)
    matrices = [rows[row][(start + j).clamp(0, length - 1)] * inside for row, start in kinds]
    return torch.stack(matrices).to(device)


def _composed(hr: Tensor, kernels: Tensor, scale: int) -> Tensor:
    """One correlation of stride s with a kernel of 4s + k − 1, composed of k and the cubic.

    In the two outer rows and columns of each side the downsampling repeats the border pixel of the
    blurred picture, and the composed kernel is another. So there are nine regions: the inner one
    has one kernel, an edge two, a corner four.
    """
    (b, c, h, w), k = hr.shape, kernels.shape[-1]
    n, reach = 4 * scale + k - 1, 4 * scale + k // 2
    along_y, along_x = (_windows(length, scale, k, hr.device).to(hr.dtype) for length in (h, w))
    composed = along_y.flatten(0, 1) @ kernels.flip(-2, -1) @ along_x.flatten(0, 1).T
    composed = composed.view(-1, 5, n, 5, n).transpose(2, 3).expand(b, -1, -1, -1, -1)

    def regions(length: int) -> list[tuple[slice, slice, slice, tuple[int, int]]]:
        """Kinds of rows, the LR rows, the HR rows they read, and the width of their reflection."""
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
            # On an edge each of two kernels gives one LR row or column.
            seen = seen[:, :, None].expand(-1, -1, ny * nx, -1, -1).flatten(1, 2)
            out = correlate(seen, weights.flatten(1, 3), scale)
            out = out.view(b, c, ny, nx, *out.shape[-2:]).transpose(3, 4)
            lr[..., to_y, to_x] = out.reshape(b, c, ny * out.shape[3], -1)
    return lr
