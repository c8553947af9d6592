"""§3.2.1: one picture with two degradations, patch by patch, pair by pair, half by half."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_runs import texture

from dasrlib import data, evaluation, figures, network, weights
from dasrlib.degradation import Degradations, DegradationSpace, degrade
from dasrlib.network import BlindSR
from dasrlib.profiles import Sizes
from dasrlib.studies import spatial_degradations as study

TWO = Degradations.isotropic([0.4, 3.2], 4)
HR = texture("picture", 160, 320)[1]


def test_each_half_has_its_own_degradation():
    lr = study.two_halves(HR, TWO)
    for i, columns in ((0, slice(0, 40)), (1, slice(40, 80))):
        alone = degrade(HR[None], TWO[i], backend="fast")[0]
        assert torch.equal(lr[..., columns], alone[..., columns])


def test_a_seam_goes_over_from_one_half_to_the_other():
    left, right = degrade(HR[None].expand(2, -1, -1, -1), TWO, backend="fast")
    lr = study.two_halves(HR, TWO, seam=8)
    assert torch.equal(lr[..., :36], left[..., :36])
    assert torch.equal(lr[..., 44:], right[..., 44:])
    shares = [0.9375, 0.8125, 0.6875, 0.5625, 0.4375, 0.3125, 0.1875, 0.0625]
    for column, share in zip(range(36, 44), shares, strict=True):
        mixed = share * left[..., column] + (1 - share) * right[..., column]
        assert torch.allclose(lr[..., column], mixed, atol=1e-6)


def test_patches_are_where_rows_and_columns_say():
    lr = torch.rand(3, 50, 70)
    patches, (rows, columns) = study.patch_grid(lr, 8)
    assert (rows, columns) == (3, 5)
    assert torch.equal(patches[columns + 2], lr[:, 8:40, 16:48])


def read(images):
    """1 for a mid-grey picture, 3 for a darker one or one with a dark part."""
    return torch.where(images.mean(dim=(1, 2, 3)) > 0.39, 1.0, 3.0)[:, None]


def roughness(images):
    """Two directions with a right angle between them: smooth patches, and rough ones."""
    smooth = images.std(dim=(1, 2, 3)) < 0.05
    return torch.stack([smooth, ~smooth], dim=1).float()


class Planted(BlindSR):
    """An encoder with known answers, and an SR network that is off by as many grey levels
    everywhere as its representation says."""

    def __init__(self) -> None:
        super().__init__(4, Sizes(1, 1, 16, tail_channels=16))
        self.encoder.forward = lambda images: (read(images), roughness(images))

    def represent(self, images, degradations=None):
        return read(images)

    def forward(self, images, degradations=None, representation=None):
        return F.interpolate(images, scale_factor=4) + representation[:, :, None, None] / 255


def test_psnr_of_a_half_is_by_whose_representation_was_used():
    hr = torch.full((3, 128, 320), 102 / 255)
    hr[:, :, 160:] = 51 / 255  # darker: there the representation is 3, and that of the whole too
    psnr = study.half_psnr(Planted(), hr, Degradations.isotropic([0.0, 0.0], 4))
    part = hr[:, :, :99]
    off_by = {n: evaluation.psnr_y(part + n / 255, part, 4) for n in (1, 3)}
    assert off_by[1] - off_by[3] > 9
    for half, levels in {"left": (3, 1, 3), "right": (3, 3, 1)}.items():
        found = [psnr[half][source] for source in ("whole", "own", "other")]
        assert found == pytest.approx([off_by[n] for n in levels], abs=0.01)


def test_cosines_are_of_the_pairs_that_they_are_called_by():
    pictures = [texture(name, 160, 320) for name in ("one", "two", "three")]
    assert study.pair_cosines(Planted(), pictures, TWO) == {
        "same picture, same width": [1, 1, 1],
        "same picture, two widths": [0, 0, 0],
        "two pictures, same width": [1, 1],
    }


def test_a_probe_reads_the_widths_of_a_map():
    torch.manual_seed(0)
    model = network.build("model4", 4, "laptop").eval()  # untrained: blurred noise is easy to read
    pictures = [texture(name, 160, 160) for name in "abcdef"]
    probe, r2 = study.fit_width_probe(model, pictures, DegradationSpace.isotropic(4))
    assert r2 > 0.5
    widths = study.width_map(model, probe, study.two_halves(HR, TWO), stride=16)
    assert widths.shape == (1, 4)
    assert widths[0, -1] > widths[0, 0] + 1


# The stored figure


def test_a_stored_half_comes_out_again():
    if data.available()[study.TEST_SET] is None:
        pytest.skip(f"{study.TEST_SET} is not on this machine")
    stored = figures.read("two-degradations").data
    picture = dict(data.images(study.TEST_SET))["img_006"]
    model = weights.load("laptop/model4-x4-iso")
    again = study.half_psnr(model, picture, Degradations.isotropic(stored["widths"], 4))
    for half, row in stored["halves"]["img_006"].items():
        assert again[half] == pytest.approx(row, abs=0.02)


def test_the_stored_map_rises_over_the_seam():
    found = figures.read("two-degradations").data["maps"][0]
    columns = np.asarray(found["widths"]).mean(axis=0)
    third = len(columns) // 3
    assert columns[-third:].mean() > columns[:third].mean() + 1
