"""§4.4: noise and JPEG are read off representations; what weights were not trained for is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dasrlib import data, estimates, weights
from dasrlib.degradation import Degradations, DegradationSpace, degrade
from dasrlib.estimates import Estimate, advice, estimate, fit, untrained_for
from dasrlib.network import BlindSR
from dasrlib.records.run_record import Readout, RunRecord
from dasrlib.representation import luminance_and_detail

SPACE = DegradationSpace.photo(4)


class Detail(nn.Module):
    """Represents a picture by the strength of its detail, and of the steps at each column of 8."""

    def represent(self, lr: Tensor) -> Tensor:
        luminance, detail = luminance_and_detail(lr)
        steps = luminance.diff(dim=-1).abs().mean(dim=(1, 2))  # (B, W - 1)
        phases = torch.stack([steps[:, phase::8].mean(dim=1) for phase in range(8)], dim=1)
        return torch.cat([detail.std(dim=(1, 2, 3))[:, None], phases, phases.log()], dim=1)


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
    blind = BlindSR(4)
    half = Readout([[0.0] * 256] * 2, [10.0, 50.0], [0.0, 0.0])  # reads noise 10, quality 50
    known = {
        "iso": record(),
        estimates.READER: replace(record(noise=25.0, quality=[40, 95]), readout=half),
    }
    monkeypatch.setattr(weights, "record", known.get)
    monkeypatch.setattr(weights, "load", lambda name: blind.eval())
    lr = torch.rand(3, 40, 40)
    first, second = advice(lr, "iso")
    assert first.endswith("reads: noise level about 10 of 255, JPEG quality about 50")
    assert second.startswith("iso was trained without noise and JPEG: ")
    assert estimates.READER in second
    assert len(advice(lr, estimates.READER)) == 1
    assert len(advice(lr, "a file without its json")) == 1
