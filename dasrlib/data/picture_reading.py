"""A picture file as a `Picture`: any depth, profile and rotation, or a sentence that refuses it."""

from __future__ import annotations

import importlib
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dasrlib.data import planes
from dasrlib.data.colour_profiles import ProfileError, to_srgb
from dasrlib.data.exif import ROTATION, kept_exif
from dasrlib.data.picture import Picture

# Pillow's formats for pictures. It knows others, for pages and icons, and runs programs for some.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA",
           "TIFF", "WEBP")  # fmt: skip
# By these a folder's pictures are told from its other files.
EXTENSIONS = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
              ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp")  # fmt: skip
MOST_PIXELS = 2**30
# The rest of a picture in these formats belongs to the first one: previews, depth maps.
ONE_PICTURE = ("MPO", "HEIF", "AVIF")
UNREADABLE = (OSError, EOFError, SyntaxError, ValueError, KeyError, TypeError, OverflowError,
              struct.error, zlib.error)  # fmt: skip
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_pillows_limit = threading.Lock()


class Header(NamedTuple):
    """What is known of a picture before its pixels are read."""

    height: int  # upright
    width: int


class Refused(ValueError):
    """A whole picture that is not read all the same."""


def read_header(path: str | Path) -> Header:
    """The size of a picture file; its pixels are not read. Raises as `read_picture` does."""
    with _opened(Path(path).expanduser()) as opened:
        width, height = opened.size
        # Pillow gives the size of an upright TIFF. Its own getexif of a PNG reads all pixels.
        exif = Image.Image.getexif(opened) if opened.format != "TIFF" else {}
        turned = exif.get(ROTATION, 1) > 4
        return Header(width, height) if turned else Header(height, width)


def read_picture(path: str | Path) -> Picture:
    """Read one picture file: upright, in the colours of sRGB, with its transparency and EXIF.

    Grey stays grey and 16 bits stay 16 bits. Of several pictures in a file the first is read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a whole picture of 8 to 16 bits per channel, or of a kind that would
            be read wrongly; the sentence says which.
    """
    path = Path(path).expanduser()
    remarks = []
    with _opened(path) as opened:
        frames = getattr(opened, "n_frames", 1)
        if frames > 1 and opened.format not in ONE_PICTURE:
            remarks.append(f"only the first of its {frames} pictures is read")
        if lost := planes.bits_lost(opened):
            remarks.append(f"its {lost} bits per channel are read as 8")
        profile = opened.info.get("icc_profile")
        is_lab = opened.mode == "LAB"
        colour, alpha, space = planes.read(opened, lambda: _open(path))
        exif = b""
        try:
            exif = kept_exif(opened)
        except Exception:  # of any kind, while the pixels are sound
            remarks.append("its EXIF is broken and left out")
    if profile and not is_lab:
        try:
            colour, space = to_srgb(colour, profile, space), "L" if space == "L" else "RGB"
        except ProfileError as error:
            remarks.append(f"its colour profile is ignored ({error})")
    if space == "CMYK":
        colour = planes.without_profile(colour)
        remarks.append("its print colours (CMYK) have no profile: expect other tones")
    bits = 16 if colour.dtype == np.uint16 else 8
    alpha_tensor = None if alpha is None else _tensor(alpha[..., None])
    return Picture(_tensor(colour), alpha_tensor, bits, exif, tuple(remarks))


def _tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, C) -> (C, H, W), uint8 as it is, uint16 as float32 in [0, 1]."""
    # Turned while they are still narrow: a quarter of the memory to move.
    turned = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if turned.dtype == np.uint8:
        return torch.from_numpy(turned if turned.flags.writeable else turned.copy())
    return torch.from_numpy(turned.astype(np.float32)).div_(planes.DEEPEST)


def _open(path: Path) -> Image.Image:
    Image.init()
    known = [name for name in FORMATS if name in Image.OPEN]
    with _pillows_limit:  # a large photograph is no attack; MOST_PIXELS is the limit here
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=known)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it; all that goes wrong inside becomes a sentence with its name."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the path to the picture")
    try:
        _register_heic(path)
        with _open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise Refused(
                    f"{path} has {opened.width}×{opened.height} pixels: at most "
                    f"{MOST_PIXELS // 10**6} megapixels are read, cut it into parts"
                )
            if said := planes.refusal(opened):
                raise Refused(f"{path} {said}")
            yield opened
    except Refused:
        raise
    except UNREADABLE as error:
        kinds = "BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP"
        raise ValueError(
            f"{path} cannot be read as a picture ({type(error).__name__}): expected a whole file "
            f"of {kinds}, with 8 or 16 bits per channel"
        ) from error


def _register_heic(path: Path) -> None:
    """Teach Pillow HEIC where pillow-heif is installed, if this is such a file; else refuse it."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] != b"ftyp" or head[8:12] not in HEIC_BRANDS:
        return
    if find_spec("pillow_heif") is None:
        raise Refused(
            f"{path} is a HEIC picture, which needs pillow-heif: pip install 'dasrlib[heic]', or "
            "save it as JPEG or PNG"
        )
    importlib.import_module("pillow_heif").register_heif_opener()
