"""The colours of a picture's ICC profile as those of sRGB, by Pillow's colour management."""

from __future__ import annotations

import io
import itertools

import numpy as np
from PIL import Image, ImageCms

# A profile that changes no colour by more than this, of 255, is one of sRGB's own.
SAME = 2
ROWS = 64  # converted at once, where floats are needed


class ProfileError(ValueError):
    """A profile that is broken, or one for another kind of picture."""


def to_srgb(pixels: np.ndarray, profile: bytes, space: str) -> np.ndarray:
    """Pixels in the colours of sRGB.

    Pillow's colour management knows 8 bits alone. Deeper values are converted linearly between the
    nearest that 8 bits have.

    Args:
        pixels: (H, W, C) in the profile's colours, uint8 or uint16; CMYK uint8 alone.
        profile: an ICC profile.
        space: "L", "RGB" or "CMYK", which is what C stands for.

    Returns:
        (H, W, 1) for grey and (H, W, 3) for all others, of the same dtype.

    Raises:
        ProfileError: the profile is broken or does not fit these pixels.
    """
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Many a grey picture has the profile of the camera's colours.
        of_colours = given.profile.xcolor_space.strip() == "RGB"
        mode = "RGB" if space == "L" and of_colours else space
        transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise ProfileError(str(error)) from error
    if space == "L":
        return _through_curve(pixels, transform, mode)
    if space == "RGB":
        some = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 3), axis=-1).reshape(1, -1, 3)
        if np.abs(_through(transform, some.astype(np.uint8), "RGB") - some).max() <= SAME:
            return pixels
        if pixels.dtype != np.uint8:
            return _deep_through(transform, pixels)
    return _through(transform, pixels, mode)


def lab_to_srgb(picture: Image.Image) -> Image.Image:
    """A picture of CIELAB, which needs no profile."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
    assert converted is not None  # as it is not in place
    return converted


def _through(transform: ImageCms.ImageCmsTransform, pixels: np.ndarray, mode: str) -> np.ndarray:
    """(H, W, C) uint8 in this mode of Pillow -> (H, W, 3) uint8."""
    height, width = pixels.shape[:2]
    picture = Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())
    return np.asarray(transform.apply(picture))


def _through_curve(
    pixels: np.ndarray, transform: ImageCms.ImageCmsTransform, mode: str
) -> np.ndarray:
    """Grey, by what becomes of the 256 levels."""
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(len(mode), axis=2)
    curve = _through(transform, levels, mode)[0, :, 1].astype(float)
    if np.abs(curve - np.arange(256)).max() <= SAME:
        return pixels
    largest = np.iinfo(pixels.dtype).max
    values = np.interp(np.arange(largest + 1), np.linspace(0, largest, 256), curve * largest / 255)
    return values.round().astype(pixels.dtype)[pixels]


def _deep_through(transform: ImageCms.ImageCmsTransform, pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint16, each between the eight colours of 8 bits that enclose it."""
    converted = np.empty_like(pixels)
    for first in range(0, len(pixels), ROWS):
        level = pixels[first : first + ROWS].astype(np.float32) / 257
        below = np.floor(level)
        above = level - below
        total = np.zeros_like(level)
        for corner in itertools.product((0, 1), repeat=3):
            colour = np.minimum(below + corner, 255).astype(np.uint8)
            share = np.where(corner, above, 1 - above).prod(axis=-1, keepdims=True)
            total += share * _through(transform, colour, "RGB")
        converted[first : first + ROWS] = (total * 257).round().astype(np.uint16)
    return converted
