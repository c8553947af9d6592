"""The planes of an open picture file as numpy arrays: the right levels, or a sentence for none.

Pillow reads most of them as they are. What it reads wrongly, or in 8 bits of 16, is mended here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from dasrlib.data.colour_profiles import lab_to_srgb

DEEPEST = 65535
# Pillow reads the upper byte of each value of 16 bits. In the other byte order it is the lower one.
OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
# Modes of Pillow that are read as another one.
READ_AS = {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB",
           "HSV": "RGB"}  # fmt: skip


class Planes(NamedTuple):
    """The pixels of a picture, upright, all uint8 or all uint16."""

    colour: np.ndarray  # (H, W, C)
    alpha: np.ndarray | None  # (H, W)
    space: str  # what C stands for: "L", "RGB" or "CMYK"


def refusal(opened: Image.Image) -> str | None:
    """Why a picture would be read wrongly, as the end of a sentence; None if it would not."""
    if opened.mode == "F":
        return "holds floating point values, expected 8 or 16 bits per channel"
    if not isinstance(opened, TiffImagePlugin.TiffImageFile):
        return None
    bits = _tiff_bits(opened)
    if bits > 16:
        return f"holds {bits}-bit values, expected 8 or 16 bits per channel"
    if bits > 8 and opened.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) != 1:
        return (
            f"stores its {bits}-bit channels plane by plane, which is not supported: save it with "
            "interleaved channels or with 8 bits"
        )
    if set(opened.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) & {2}:
        return "holds signed values, expected 0 for the darkest level"
    return None


def bits_lost(opened: Image.Image) -> int:
    """How many bits a channel has where only 8 of them are read; else 0. Call it before reading."""
    if opened.mode == "CMYK" and ";16" in _raw_mode(opened):
        return 16
    if opened.format == "PPM" and opened.mode == "RGB":
        args = opened.tile[0][3]  # type: ignore[attr-defined]
        largest = 255 if isinstance(args, str) else args[1]  # the mode alone, or with the maximum
        return int(largest).bit_length() if largest > 255 else 0
    depth = opened.info.get("bit_depth", 8)  # HEIC and AVIF
    return depth if isinstance(depth, int) and depth > 8 else 0


def read(opened: Image.Image, reopen: Callable[[], Image.Image]) -> Planes:
    """Read the pixels and turn them upright.

    Args:
        opened: as Pillow opened it; it is changed.
        reopen: opens the same file once more, for the lower bytes of 16-bit colours.
    """
    raw = _raw_mode(opened)
    if opened.mode in ("RGB", "RGBA") and ";16" in raw:
        return _deep_colours(opened, reopen, raw)
    if opened.mode.startswith("I"):
        white_is_zero = _photometric(opened) == 0
        largest = 2 ** _tiff_bits(opened) - 1 if opened.format == "TIFF" else DEEPEST
        turn_upright(opened)
        values = np.asarray(opened)
        scaled = values.astype(np.float64) * (DEEPEST / largest) if largest < DEEPEST else values
        grey = np.rint(scaled).astype(np.uint16)
        alpha = _opaque_but(values[..., None], opened.info.get("transparency"), np.uint16)
        return Planes((DEEPEST - grey if white_is_zero else grey)[..., None], alpha, "L")
    return _eight_bits(opened, raw)


def turn_upright(opened: Image.Image) -> None:
    """Read all pixels, and turn them as the camera's mark (EXIF) says, unless it is broken."""
    opened.load()
    try:
        ImageOps.exif_transpose(opened, in_place=True)
    except Exception:  # Pillow raises almost anything there, and the pixels are sound
        return


def _raw_mode(opened: Image.Image) -> str:
    """How the file stores a pixel, in Pillow's words; empty where that is no matter here."""
    tiles = getattr(opened, "tile", None)
    if opened.format not in ("PNG", "TIFF") or not tiles:
        return ""
    args = tiles[0][3]
    return args if isinstance(args, str) else str(args[0])


def _tiff_bits(opened: Image.Image) -> int:
    assert isinstance(opened, TiffImagePlugin.TiffImageFile)
    return max(opened.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))


def _photometric(opened: Image.Image) -> int | None:
    if not isinstance(opened, TiffImagePlugin.TiffImageFile):
        return None
    return opened.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)


def _opaque_but(colour: np.ndarray, level: object, dtype: type) -> np.ndarray | None:
    """Alpha of a picture in which one level or colour (H, W, C) stands for nothing at all."""
    if not isinstance(level, (int, tuple)):
        return None
    shown = (colour != np.array(level)).any(axis=-1)
    return shown.astype(dtype) * dtype(np.iinfo(dtype).max)


def _deep_colours(opened: Image.Image, reopen: Callable[[], Image.Image], raw: str) -> Planes:
    """Colours of 16 bits, of which Pillow reads one byte at a time."""
    if raw == "LA;16B":  # two values of two bytes, which pass for four channels
        found = _bytes_of(opened, "RGBA").astype(np.uint16)
        values = found[..., ::2] << 8 | found[..., 1::2]
        return Planes(values[..., :1], values[..., 1], "L")
    kind, order = raw.split(";16")
    straight = kind.replace("a", "A")
    upper = _bytes_of(opened, f"{straight};16{order}").astype(np.uint16)
    key = opened.info.get("transparency")
    with reopen() as again:
        lower = _bytes_of(again, f"{straight};16{OTHER_BYTE[order]}")
    found = upper << 8 | lower
    if found.shape[-1] == 3:
        return Planes(found, _opaque_but(found, key, np.uint16), "RGB")
    colour, alpha = found[..., :3], found[..., 3]
    if kind == "RGBa":  # stored times alpha
        divided = colour * (DEEPEST / np.maximum(alpha, 1)[..., None])
        colour = np.rint(divided.clip(0, DEEPEST)).astype(np.uint16)
    return Planes(colour, alpha, "RGB")


def _bytes_of(opened: Image.Image, raw: str) -> np.ndarray:
    """The pixels, read as if the file stored them in this raw mode."""
    changed = []
    for tile in opened.tile:  # type: ignore[attr-defined]
        args = raw if isinstance(tile[3], str) else (raw, *tile[3][1:])
        named = hasattr(tile, "_replace")  # a plain tuple in older versions of Pillow
        changed.append(tile._replace(args=args) if named else (*tile[:3], args))
    opened.tile = changed  # type: ignore[attr-defined]
    turn_upright(opened)
    return np.asarray(opened)


def _eight_bits(opened: Image.Image, raw: str) -> Planes:
    turn_upright(opened)
    key = opened.info.get("transparency")
    if opened.mode == "LAB":
        return Planes(np.asarray(lab_to_srgb(opened)), None, "RGB")
    if opened.mode == "CMYK":
        return Planes(np.asarray(opened), None, "CMYK")
    if opened.mode == "P":
        found = np.asarray(opened.convert("RGBA" if opened.has_transparency_data else "RGB"))
    else:
        wanted = READ_AS.get(opened.mode, opened.mode)
        found = np.asarray(opened if wanted == opened.mode else opened.convert(wanted))
    found = found[..., None] if found.ndim == 2 else found
    colour, alpha = found, None
    if found.shape[-1] in (2, 4):
        colour, alpha = found[..., :-1], found[..., -1]
    elif opened.mode != "P":
        if opened.mode == "1" and key is not None:
            key = 255 if key else 0
        elif raw in ("L;2", "L;4") and isinstance(key, int):
            key *= 255 // (2 ** int(raw[-1]) - 1)  # Pillow scales the pixels, and not this level
        alpha = _opaque_but(found, key, np.uint8)
    if opened.mode in ("P", "PA") and bool((colour == colour[..., :1]).all()):
        colour = colour[..., :1]  # a palette of greys
    return Planes(colour, alpha, "L" if colour.shape[-1] == 1 else "RGB")


def without_profile(cmyk: np.ndarray) -> np.ndarray:
    """Print colours (H, W, 4) as RGB by Pillow's plain formula."""
    height, width = cmyk.shape[:2]
    return np.asarray(Image.frombytes("CMYK", (width, height), cmyk.tobytes()).convert("RGB"))
