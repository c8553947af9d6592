"""Single picture files: read, checked and written."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dasrlib.records.atomic_write import atomic_write, check_writable

# The Pillow format by file extension. In a folder, files with these extensions count as pictures.
FORMATS = {".bmp": "BMP", ".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF",
           ".tiff": "TIFF", ".webp": "WEBP"}  # fmt: skip
# The longest side in pixels of the formats that have a limit; that of JPEG is libjpeg's own.
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}


def load_image(path: str | Path) -> Tensor:
    """Read one picture as float32 RGB in [0, 1], (3, H, W).

    Grey is repeated to three channels, 16-bit grey read in full, transparency composited over white
    and a camera's rotation mark (EXIF) applied. Raises ValueError for a file that is not a whole
    picture of 8 or 16 bits per channel.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the path to the picture")
    unreadable = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error)
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)  # a copy: all pixels are read here
    except (*unreadable, Image.DecompressionBombError) as error:
        kinds = ", ".join(sorted(set(FORMATS.values())))
        raise ValueError(
            f"{path} cannot be read as a picture ({type(error).__name__}): expected a whole file "
            f"of {kinds}"
        ) from error
    return _rgb(picture, path)


def load_image_uint8(path: str | Path) -> Tensor:
    """Read one picture as 8-bit RGB, uint8, (3, H, W): a quarter of the memory of `load_image`."""
    return to_uint8(load_image(path))


def to_uint8(image: Tensor) -> Tensor:
    """A picture in [0, 1] as uint8, rounded; a uint8 picture is returned unchanged."""
    return image if image.dtype == torch.uint8 else (image * 255).round().to(torch.uint8)


def check_format(path: Path, height: int = 1, width: int = 1) -> None:
    """Raise ValueError for a file that `save_image` could not write; call it before the work."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"cannot write {path.name}: expected an extension among {', '.join(FORMATS)}"
        )
    kind = FORMATS[path.suffix.lower()]
    longest = LONGEST_SIDE.get(kind)
    if longest is not None and max(height, width) > longest:
        raise ValueError(
            f"cannot write {path.name} of {width}×{height} pixels: {kind} holds at most {longest} "
            "a side, use .png"
        )


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
    if image.dtype != torch.uint8:
        image = to_uint8(image.detach().float().clamp(0, 1))
    picture = Image.fromarray(image.cpu().permute(1, 2, 0).contiguous().numpy())
    kind = FORMATS[path.suffix.lower()]
    with atomic_write(path) as temporary:
        picture.save(temporary, format=kind, **SAVE_OPTIONS.get(kind, {}))


def _rgb(picture: Image.Image, path: Path) -> Tensor:
    """What Pillow read from the file, as `load_image` returns it."""
    if picture.mode == "F":
        raise ValueError(f"{path} holds floating point values, expected 8 or 16 bits per channel")
    if picture.mode.startswith("I"):  # "I;16", or "I" where a format has no narrower name for it
        grey = torch.from_numpy(np.asarray(picture).astype(np.float32)) / 65535
        if grey.min() < 0 or grey.max() > 1:
            raise ValueError(f"{path} holds 32-bit values, expected 8 or 16 bits per channel")
        return grey.repeat(3, 1, 1)
    transparent = picture.has_transparency_data
    pixels = np.asarray(picture.convert("RGBA" if transparent else "RGB"))
    # Turned while they are still bytes: a quarter of the memory to move.
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(255)
    if not transparent:
        return planes
    colour, alpha = planes[:3], planes[3:]
    return colour * alpha + (1 - alpha)
