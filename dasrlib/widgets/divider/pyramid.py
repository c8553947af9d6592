"""A window of a very large picture: no more pixels are read or sent than the screen shows.

Pictures here are bytes, (H, W, 3).
"""

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

Look = dict[str, float]  # top, left, bottom, right in SR pixels, and "pixels": its width on screen


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
    """A picture in three sizes: whole, and reduced by `step` and by step², to means over squares.

    A window of the whole of a phone's picture then reads some hundred thousand pixels, not 192
    million.
    """

    def __init__(self, height: int, width: int, step: int) -> None:
        self.height, self.width = height, width
        # Zeros take no memory before they are written to.
        self.sizes = {
            factor: np.zeros((-(-height // factor), -(-width // factor), 3), np.uint8)
            for factor in (1, step, step**2)
        }

    def put(self, top: int, left: int, picture: np.ndarray) -> None:
        """A part at its place; top and left divide by step²."""
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
    """Each square of factor × factor pixels by its mean."""
    if factor == 1:
        return picture
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).reduce(factor))


class LazyBicubic:
    """A picture upscaled by bicubic, of which only the part that is looked at is computed.

    As degradation.resize_bicubic does it, to a grey level or, where it overshoots black or white,
    two more. Pillow's, on one core: the network keeps the others busy, and torch would wait.
    """

    def __init__(self, lr: np.ndarray, scale: int) -> None:
        # The outermost pixel repeated, as there.
        padded = np.pad(lr, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge")
        self.lr, self.scale = Image.fromarray(padded), scale
        # Upscaled and reduced again: both are linear, so together they are one small kernel, their
        # response to one bright pixel.
        dot = torch.zeros(1, 1, 9, 9)
        dot[..., 4, 4] = 1
        kernel = F.avg_pool2d(resize_bicubic(dot, scale), scale)[0, 0, 2:7, 2:7]
        low_passed = self.lr.filter(ImageFilter.Kernel((5, 5), kernel.flatten().tolist(), scale=1))
        self.small = ImagePyramid(lr.shape[0], lr.shape[1], scale)
        self.small.put(0, 0, np.asarray(low_passed)[REACH:-REACH, REACH:-REACH])

    def window(self, box: Box, factor: int) -> np.ndarray:
        """A part of it, in SR pixels, reduced by a factor."""
        s = self.scale
        if factor >= s:
            return self.small.window(box.over(s), factor // s)
        size = box.right - box.left, box.bottom - box.top
        top, left, bottom, right = (end / s + REACH for end in box)
        sr = self.lr.resize(size, Image.Resampling.BICUBIC, (left, top, right, bottom))
        return reduced(np.asarray(sr), factor)


def encode_png_or_jpeg(picture: np.ndarray) -> bytes:
    """A file that a browser shows: exact where its pixels can be told apart.

    A window of more pixels is seen at their true size or smaller, and as a JPEG of quality 95 it is
    written in a tenth of the time and a quarter of the bytes.
    """
    file, shown = io.BytesIO(), Image.fromarray(picture)
    if shown.width * shown.height <= EXACT:
        shown.save(file, format="png", compress_level=1)
    else:
        shown.save(file, format="jpeg", quality=95, subsampling=0)
    return file.getvalue()


def align_to_grid(look: Look, factor: int, height: int, width: int) -> Box:
    """The box of whole squares of factor × factor pixels that covers a part of a picture."""

    def along(low: float, high: float, length: int) -> tuple[int, int]:
        start = math.floor(min(max(low, 0), length - 1) / factor) * factor
        return start, min(math.ceil(max(high, start + 1) / factor) * factor, length)

    top, bottom = along(look["top"], look["bottom"], height)
    left, right = along(look["left"], look["right"], width)
    return Box(top, left, bottom, right)
