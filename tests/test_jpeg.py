"""Beyond the paper: JPEG as Pillow writes it, its place in the chain, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from smooth_pictures import picture, pixels

from dasrlib.degradation import Degradations, degrade, quantise
from dasrlib.jpeg import compress


def through_pillow(image: torch.Tensor, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels(image)).save(file, "JPEG", quality=quality, subsampling=2)  # 4:2:0
    return np.array(Image.open(file))


@pytest.mark.parametrize("quality", [1, 40, 95])
@pytest.mark.parametrize("size", [(24, 40), (13, 9), (3, 3)])
def test_each_picture_is_the_file_that_pillow_writes(quality, size):
    batch = torch.stack([picture(*size, seed) for seed in range(2)])
    compressed = compress(batch, torch.tensor([float(quality), 0.0]))
    assert np.array_equal(pixels(compressed[0]), through_pillow(batch[0], quality))
    assert torch.equal(compressed[1], batch[1])  # 0: no JPEG
    assert torch.equal(compressed, quantise(compressed))


def test_the_input_stays_as_it_was():
    batch = picture(16, 16)[None]
    before = batch.clone()
    compress(batch, torch.tensor([10.0]))
    assert torch.equal(batch, before)


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_jpeg_comes_last_after_the_noise_and_the_rounding(backend):
    hr = picture(64, 64)[None]
    plain = Degradations.anisotropic(3.0, 1.0, 0.4, 4, noise=10)
    lr = degrade(hr, plain, torch.Generator().manual_seed(3), backend)
    compressed = degrade(hr, plain.with_jpeg(30), torch.Generator().manual_seed(3), backend)
    assert torch.equal(compressed, compress(lr, torch.tensor([30.0])))
    assert not torch.equal(compressed, lr)


def test_one_degradation_serves_a_batch_of_pictures():
    hr = torch.stack([picture(32, 32, seed) for seed in range(3)])
    one = Degradations.isotropic(1.0, 4).with_jpeg(20)
    each = torch.cat([degrade(image[None], one) for image in hr])
    assert torch.equal(degrade(hr, one), each)


def test_quality_goes_with_its_degradation():
    three = Degradations.isotropic([1.0, 2.0, 3.0], 4).with_jpeg([0, 40, 95])
    assert three.has_jpeg
    assert not three[0].has_jpeg
    assert three[1:].quality.tolist() == [40, 95]
    assert three.repeat_interleave(2).quality.tolist() == [0, 0, 40, 40, 95, 95]
    assert three.to("cpu").quality.tolist() == [0, 40, 95]


@pytest.mark.parametrize("quality", [-1, 101, float("nan"), [50, 200]])
def test_a_quality_outside_is_refused(quality):
    with pytest.raises(ValueError, match=r"JPEG quality must be 1..100, or 0 for no JPEG, got"):
        Degradations.isotropic([1.0, 2.0], 4).with_jpeg(quality)
