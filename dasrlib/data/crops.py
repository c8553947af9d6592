"""Parts of a picture."""

from __future__ import annotations

from torch import Tensor


def crop_to_multiple(image: Tensor, scale: int) -> Tensor:
    """The picture (..., H, W) without its last rows and columns, so that both sides are multiples
    of the scale."""
    h, w = image.shape[-2:]
    return image[..., : h - h % scale, : w - w % scale]


def centre_crop(image: Tensor, size: int) -> Tensor:
    """The centre of a picture (..., H, W), at most size × size pixels."""
    h, w = image.shape[-2:]
    top, left = max(0, h - size) // 2, max(0, w - size) // 2
    return image[..., top : top + size, left : left + size]
