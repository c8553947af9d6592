"""Windows of a very large picture: each level is the mean of what it covers, bicubic in parts is
bicubic, and what is sent can be seen."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from smooth_pictures import picture, pixels

from dasrlib import data
from dasrlib.degradation import quantise, resize_bicubic
from dasrlib.widgets.divider.pyramid import (
    Box,
    ImagePyramid,
    LazyBicubic,
    align_to_grid,
    encode_png_or_jpeg,
    reduced,
)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_in_parts_is_bicubic(scale):
    lr = picture(41, 37)
    whole = pixels(quantise(resize_bicubic(lr[None], scale))[0]).astype(int)
    found = LazyBicubic(pixels(lr), scale)
    box = Box(3, 5, 41 * scale, 30 * scale - 1)  # a border of the picture, and none
    assert np.abs(found.window(box, 1) - whole[box.slices]).max() <= 1
    all_of_it = Box(0, 0, 41 * scale, 37 * scale)
    small = reduced(whole.astype(np.uint8), scale).astype(int)
    assert np.abs(found.window(all_of_it, scale) - small).max() <= 1


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8, 12, 16, 32])
def test_levels_reduce_to_the_mean_of_what_they_cover(factor):
    whole = pixels(picture(100, 130))
    levels = ImagePyramid(100, 130, 4)
    levels.put(0, 0, whole)
    assert levels.factor(factor + 0.5) == factor
    box = align_to_grid({"top": 17, "left": 9, "bottom": 80, "right": 125}, factor, 100, 130)
    expected = reduced(whole[box.slices], factor).astype(int)
    difference = np.abs(levels.window(box, factor) - expected)
    # At the border, the mean of a cut square is one of means over cut squares.
    assert difference[: 100 // factor, : 130 // factor].max() <= 2


def test_a_small_window_is_exact_and_a_large_one_is_a_jpeg():
    photo = dict(data.images("samples"))["chelsea"]
    small, large = (pixels(photo[:, :side, :side]) for side in (100, 300))
    large = np.tile(large, (2, 2, 1))
    read = [Image.open(io.BytesIO(encode_png_or_jpeg(part))) for part in (small, large)]
    assert [image.format for image in read] == ["PNG", "JPEG"]
    assert np.array_equal(np.asarray(read[0]), small)
    assert np.abs(np.asarray(read[1]).astype(int) - large).mean() < 2
