"""§4.4: noise and JPEG are read off representations; what weights were not trained for is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dasrlib import data, estimates, weights
from dasrlib.degradation import Degradations, DegradationSpace, degrade
from dasrlib.estimates import Estimate, advice, estimate, fit, untrained_for
from dasrlib.records.run_record import RunRecord
from dasrlib.representation import luminance_and_detail
from dasrlib.systems import DEFAULT_WEIGHTS, PHOTO_WEIGHTS

SPACE = DegradationSpace.photo(4)


class Detail(nn.Module):
    """Represents a picture by the strength of its detail, and of the steps at each column of 8."""

    def represent(self, lr: Tensor) -> Tensor:
        luminance, detail = luminance_and_detail(lr)
        steps = luminance.diff(dim=-1).abs().mean(dim=(1, 2))  # (B, W - 1)
        phases = torch.stack([steps[:, phase::8].mean(dim=1) for phase in range(8)], dim=1)
        return torch.cat([detail.std(dim=(1, 2, 3))[:, None], phases, (phases + 1e-4).log()], dim=1)


@pytest.fixture(scope="module")
def pictures() -> data.Pictures:
    return [(name, data.centre_crop(image, 192)) for name, image in data.images("samples")]


def test_a_readout_reads_pictures_it_was_not_fitted_on(pictures):
    readout = fit(Detail(), (pictures[1:], pictures[:1]), SPACE)
    # To say the mean always: off by 9.1 levels (a quarter at 0, else uniform), and by 21 of JPEG.
    assert readout.error[0] < 5
    assert readout.error[1] < 20
    hr = pictures[0][1][None]
    found = []
    for noise in (0.0, 20.0):
        lr = degrade(hr, Degradations.isotropic(1.0, 4, noise), torch.Generator().manual_seed(0))
        found.append(estimate(lr[0], Detail(), readout).noise)
    assert found[1] > found[0] + 5


def test_the_errors_are_of_the_second_pictures(pictures):
    grey = [("grey", torch.full((3, 192, 192), 0.5))]
    readout = fit(Detail(), (pictures[:3], grey), SPACE, seed=5)
    generator = torch.Generator().manual_seed(6)
    drawn = SPACE.sample(estimates.DRAWS // 10, generator)
    lr = degrade(grey[0][1][None].expand(len(drawn), -1, -1, -1), drawn, generator, "fast")
    read = Detail().represent(lr) @ torch.tensor(readout.weight).T + torch.tensor(readout.bias)
    assert readout.error[0] == pytest.approx((read[:, 0] - drawn.noise).abs().mean().item(), 1e-3)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Estimate(0.4, 99.0), "no visible noise, no visible JPEG"),
        (Estimate(12.3, 54.7), "noise level about 12 of 255, JPEG quality about 55"),
    ],
)
def test_an_estimate_in_words(found, words):
    assert str(found) == words


def record(**space: object) -> RunRecord:
    return replace(weights.record("laptop/model4-x4-iso"), space={"noise": 0.0, **space})


@pytest.mark.parametrize(
    ("found", "space", "missing"),
    [
        (Estimate(10, 50), {}, ["noise", "JPEG"]),
        (Estimate(10, 100), {}, ["noise"]),
        (Estimate(10, 50), {"noise": 25.0}, ["JPEG"]),
        (Estimate(10, 50), {"noise": 25.0, "quality": [40, 95]}, []),
        (Estimate(0, 100), {}, []),
    ],
)
def test_what_a_training_had_not(found, space, missing):
    assert untrained_for(found, record(**space)) == missing


def test_advice_names_what_fits(monkeypatch):
    known = {"iso": record(), estimates.READER: record(noise=25.0, quality=[40, 95])}
    monkeypatch.setattr(weights, "record", known.get)
    dirty = Estimate(10, 50)
    said = advice(dirty, "iso")
    assert said is not None
    assert said.startswith("iso was trained without noise and JPEG: ")
    assert f"--weights {estimates.READER} fits" in said
    assert advice(dirty, estimates.READER) is None
    assert advice(Estimate(0, 100), "iso") is None
    assert advice(dirty, "a file without its json") is None


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (Estimate(10, 100), PHOTO_WEIGHTS),
        (Estimate(0, 60), PHOTO_WEIGHTS),
        (Estimate(0, 100), DEFAULT_WEIGHTS),
        (Estimate(estimates.VISIBLE_NOISE, 100 - estimates.VISIBLE_LOSS), DEFAULT_WEIGHTS),
    ],
)
def test_the_weights_that_fit(found, name):
    assert estimates.fitting_weights(found) == name


@pytest.mark.parametrize(
    ("noise", "quality", "name"),
    [(0.0, 0.0, DEFAULT_WEIGHTS), (20.0, 0.0, PHOTO_WEIGHTS), (0.0, 50.0, PHOTO_WEIGHTS)],
)
def test_the_bundled_reader_knows_clean_pictures_from_others(noise, quality, name):
    """Of three samples that it was not trained on."""
    drawn = Degradations.isotropic(1.2, 4, noise).with_jpeg(quality)
    for title, picture in data.images("samples")[:3]:
        hr = data.crop_to_multiple(picture, 4)[None]
        lr = degrade(hr, drawn, torch.Generator().manual_seed(0))[0]
        assert estimates.fitting_weights(estimates.read(lr)) == name, title
