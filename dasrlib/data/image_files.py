"""Single picture files as tensors: the short way in and out of `Picture`."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from dasrlib.data.picture import Picture, to_float, to_uint8
from dasrlib.data.picture_reading import read_picture
from dasrlib.data.picture_writing import check_format, write_picture
from dasrlib.records.atomic_write import check_writable


def load_image(path: str | Path) -> Tensor:
    """Read one picture as float32 RGB in [0, 1], (3, H, W).

    Grey is repeated to three channels, 16 bits are read in full, transparency is composited over
    white, a camera's rotation mark (EXIF) is applied, and colours of another profile become those
    of sRGB. What is not as expected, a broken profile for one, is said in a warning. Raises
    ValueError for a file that is not a whole picture of 8 to 16 bits per channel.
    """
    return to_float(_over_white(path)).expand(3, -1, -1).contiguous()


def load_image_uint8(path: str | Path) -> Tensor:
    """Read one picture as 8-bit RGB, uint8, (3, H, W): a quarter of the memory of `load_image`."""
    return to_uint8(_over_white(path)).expand(3, -1, -1).contiguous()


def _over_white(path: str | Path) -> Tensor:
    picture = read_picture(path)
    for remark in picture.remarks:
        warnings.warn(f"{path}: {remark}", stacklevel=3)
    return picture.over_white().pixels


def save_image(image: Tensor, path: str | Path) -> None:
    """Write (3, H, W), float (clamped to [0, 1]) or uint8, as 8 bits; an existing file is replaced.

    The file extension chooses the format. Only JPEG (quality 95) loses anything.
    """
    path = check_writable(path, overwrite=True)
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image must be 3xHxW, got shape {tuple(image.shape)}")
    check_format(path, *image.shape[1:])
    if image.is_floating_point() and not torch.isfinite(image).all():
        raise ValueError(f"image for {path.name} holds NaN or infinity, expected values in [0, 1]")
    write_picture(Picture(image), path)
