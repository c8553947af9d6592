"""Single picture files: read, checked and written."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin
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

    Grey is repeated to three channels, grey of up to 16 bits is read in full, transparency is
    composited over white, a camera's rotation mark (EXIF) is applied, and colours of another
    profile become those of sRGB. A broken profile is ignored, with a warning. Raises ValueError for
    a file that is not a whole picture of 8 to 16 bits per channel.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the path to the picture")
    unreadable = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error)
    try:
        with Image.open(path) as opened:
            depth = _depth(opened, path)
            picture = ImageOps.exif_transpose(opened)  # a copy: all pixels are read here
    except _UnusualDepth:
        raise
    except (*unreadable, Image.DecompressionBombError) as error:
        kinds = ", ".join(sorted(set(FORMATS.values())))
        raise ValueError(
            f"{path} cannot be read as a picture ({type(error).__name__}): expected a whole file "
            f"of {kinds}"
        ) from error
    return _rgb(_to_srgb(picture, path), path, *depth)


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


class _UnusualDepth(ValueError):
    """A TIFF whose values Pillow would read wrongly."""


def _depth(picture: Image.Image, path: Path) -> tuple[int, bool]:
    """The largest value of deep grey, and whether its zero is white; refuses what is read wrongly.

    Pillow inverts white-is-zero pictures of 8 bits itself, and knows no deep planes or signs.
    """
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return 65535, False
    tags = picture.tag_v2
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if bits > 8 and tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) != 1:
        raise _UnusualDepth(
            f"{path} stores its {bits}-bit channels plane by plane, which is not supported: save "
            "it with interleaved channels or with 8 bits"
        )
    if bits <= 16 and set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) & {2}:
        raise _UnusualDepth(f"{path} holds signed values, expected 0 for the darkest level")
    zero_is_white = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return 2 ** min(bits, 16) - 1 if bits > 8 else 65535, zero_is_white


def _to_srgb(picture: Image.Image, path: Path) -> Image.Image:
    """The picture in the colours of sRGB, which a picture without a profile has already."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(given).lower():
            return picture
        srgb = ImageCms.createProfile("sRGB")
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(picture, given, srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(f"{path}: its colour profile is ignored ({error})", stacklevel=3)
        return picture
    return picture if converted is None else converted


def _rgb(picture: Image.Image, path: Path, largest: int, zero_is_white: bool) -> Tensor:
    """What Pillow read from the file, as `load_image` returns it."""
    if picture.mode == "F":
        raise ValueError(f"{path} holds floating point values, expected 8 or 16 bits per channel")
    if picture.mode.startswith("I"):  # "I;16", or "I" where a format has no narrower name for it
        values = torch.from_numpy(np.asarray(picture).astype(np.float32))
        if values.min() < 0 or values.max() > largest:
            raise ValueError(f"{path} holds 32-bit values, expected 8 or 16 bits per channel")
        grey = 1 - values / largest if zero_is_white else values / largest
        if isinstance(picture.info.get("transparency"), int):  # this level is transparent (PNG)
            grey = grey.where(values != picture.info["transparency"], 1)
        return grey.repeat(3, 1, 1)
    transparent = picture.has_transparency_data
    pixels = np.asarray(picture.convert("RGBA" if transparent else "RGB"))
    # Turned while they are still bytes: a quarter of the memory to move.
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(255)
    if not transparent:
        return planes
    colour, alpha = planes[:3], planes[3:]
    return colour * alpha + (1 - alpha)
