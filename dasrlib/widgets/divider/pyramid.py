"""A window of a very large picture, as sharp as the screen: no more pixels are read or sent than it
shows."""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter

from dasrlib.degradation import resize_bicubic

REACH = 3  # LR pixels that bicubic reads on each side of one, and one more
EXACT = 2**16  # pixels of a window up to which it is sent as a png


class Box(NamedTuple):
    """A part of a picture, in its pixels, the ends not included."""

    top: int
    left: int
    bottom: int
    right: int

    def over(self, factor: int) -> Box:
        """The same part of the picture reduced by a factor, rounded outwards."""
        return Box(
            self.top // factor, self.left // factor,
            -(-self.bottom // factor), -(-self.right // factor),
        )  # fmt: skip

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


class ImagePyramid:
    """A picture of bytes in three sizes: whole, and reduced by `step` and by step².

    A window of the whole of a phone's picture then reads some hundred thousand pixels, not 192
    million. Reducing is the mean over squares. height, width: pixels.
    """

    def __init__(self, height: int, width: int, step: int) -> None:
        self.height, self.width = height, width
        # Zeros take no memory before they are written to.
        self.sizes = {
            factor: np.zeros((-(-height // factor), -(-width // factor), 3), np.uint8)
            for factor in (1, step, step**2)
        }

    @classmethod
    def of(cls, picture: np.ndarray, step: int) -> ImagePyramid:
        """A picture (H, W, 3) of bytes that is whole already."""
        levels = cls(picture.shape[0], picture.shape[1], step)
        levels.put(0, 0, picture)
        return levels

    def put(self, top: int, left: int, picture: np.ndarray) -> None:
        """A part (H, W, 3) at its place; top and left divide by step²."""
        for factor, level in self.sizes.items():
            small = reduced(picture, factor)
            y, x = top // factor, left // factor
            level[y : y + small.shape[0], x : x + small.shape[1]] = small

    def factor(self, wanted: float) -> int:
        """The largest factor up to the one wanted by which a window can be reduced."""
        level = max(size for size in self.sizes if size <= max(1.0, wanted))
        return level * max(1, int(wanted / level))

    def window(self, box: Box, factor: int) -> np.ndarray:
        """A part of the picture, reduced; its ends divide by it or are the picture's."""
        level = max(size for size in self.sizes if factor % size == 0 and size <= factor)
        return reduced(self.sizes[level][box.over(level).slices], factor // level)


def reduced(picture: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, 3) of bytes, each square of factor × factor pixels by its mean."""
    if factor == 1:
        return picture
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).reduce(factor))


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """(H, W, 3) of bytes, bicubic, as degradation.resize_bicubic does it, to a grey level or, where
    it overshoots black or white, two more.

    Pillow's, on one core: the network keeps the others busy, and torch would wait for them.
    """
    r = REACH  # the outermost pixel repeated, as there
    padded = Image.fromarray(np.pad(lr, ((r, r), (r, r), (0, 0)), mode="edge"))
    size = (scale * padded.width, scale * padded.height)
    sr = np.asarray(padded.resize(size, Image.Resampling.BICUBIC))
    return sr[scale * r : -scale * r, scale * r : -scale * r]


def low_passed(lr: np.ndarray, scale: int, band: int = 256) -> np.ndarray:
    """A picture upscaled by bicubic and reduced again to its own size; (H, W, 3) of bytes.

    Both are linear, so together they are one small kernel: their response to one bright pixel.
    """
    dot = torch.zeros(1, 1, 9, 9)
    dot[..., 4, 4] = 1
    kernel = F.avg_pool2d(resize_bicubic(dot, scale), scale)[0, 0, 2:7, 2:7]
    both = ImageFilter.Kernel((5, 5), kernel.flatten().tolist(), scale=1)
    out = np.empty_like(lr)
    for top in range(0, len(lr), band):
        rows = np.arange(top - 2, min(top + band, len(lr)) + 2).clip(0, len(lr) - 1)
        part = np.pad(lr[rows], ((0, 0), (2, 2), (0, 0)), mode="edge")
        out[top : top + band] = np.asarray(Image.fromarray(part).filter(both))[2:-2, 2:-2]
    return out


class LazyBicubic:
    """A picture upscaled by bicubic, of which only the part that is looked at is computed.

    lr: (H, W, 3) of bytes.
    """

    def __init__(self, lr: np.ndarray, scale: int) -> None:
        self.lr, self.scale = lr, scale
        self.small = ImagePyramid.of(low_passed(lr, scale), scale)

    def window(self, box: Box, factor: int) -> np.ndarray:
        """A part of it, in SR pixels, reduced by a factor, (H, W, 3) of bytes."""
        s = self.scale
        if factor >= s:
            return self.small.window(box.over(s), factor // s)
        own = box.over(s)
        # Its border is interpolated from pixels outside it.
        top, left = max(0, own.top - REACH), max(0, own.left - REACH)
        seen = self.lr[top : own.bottom + REACH, left : own.right + REACH]
        y, x = box.top - s * top, box.left - s * left
        sr = bicubic(seen, s)[y : y + box.bottom - box.top, x : x + box.right - box.left]
        return reduced(sr, factor)


def encode_png_or_jpeg(picture: np.ndarray) -> bytes:
    """(H, W, 3) of bytes as a file that a browser shows: exact where its pixels can be told apart.

    A window of more pixels is seen at their true size or smaller, and as a JPEG of quality 95 it is
    written in a tenth of the time and a quarter of the bytes.
    """
    file, shown = io.BytesIO(), Image.fromarray(picture)
    if shown.width * shown.height <= EXACT:
        shown.save(file, format="png", compress_level=1)
    else:
        shown.save(file, format="jpeg", quality=95, subsampling=0)
    return file.getvalue()


def align_to_grid(
    part: tuple[float, float, float, float], factor: int, height: int, width: int
) -> Box:
    """The box of whole squares of factor × factor pixels that covers a part of a picture.

    part: top, left, bottom, right.
    """

    def along(low: float, high: float, length: int) -> tuple[int, int]:
        start = math.floor(min(max(low, 0), length - 1) / factor) * factor
        end = math.ceil(min(max(high, start + 1), length) / factor) * factor
        return start, min(end, length)

    (y0, y1), (x0, x1) = along(part[0], part[2], height), along(part[1], part[3], width)
    return Box(y0, x0, y1, x1)
