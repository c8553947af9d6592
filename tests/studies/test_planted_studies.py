"""§4.2's studies of models whose answers are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_runs import texture

from dasrlib import studies
from dasrlib.degradation import Degradations, degrade
from dasrlib.network import BlindSR
from dasrlib.profiles import Sizes

SIZES = Sizes(groups=1, blocks=1, channels=16, tail_channels=16)


class Off(BlindSR):
    """A model that is off by as many grey levels everywhere as its representation says.

    On flat pictures, which no blur changes, its PSNR is known. A blind one reads the levels off the
    picture's brightness, 1 for every 50 of it; Model 5 is off by its width.
    """

    def __init__(self, model: str) -> None:
        super().__init__(2, SIZES, model)
        self.seen: list[torch.Tensor] = []
        self.assumed: list[float] = []

    def represent(self, images, degradations=None):
        self.seen.append(images)
        if self.needs == "nothing":
            return images.mean(dim=(1, 2, 3))[:, None] * 255 / 50
        self.assumed.append(float(degradations.lambda1))
        return degradations.lambda1[:, None]

    def forward(self, images, degradations=None, representation=None):
        sr = F.interpolate(images, scale_factor=self.scale)
        return sr + representation[:, :, None, None] / 255


def flat(*levels: int) -> list[tuple[str, torch.Tensor]]:
    return [(f"{level}", torch.full((3, 24, 28), level / 255)) for level in levels]


def psnr_off_by(levels: float) -> float:
    """A grey level is 219/255 of a step of Y."""
    return 20 * math.log10(255 / (levels * 219 / 255))


def test_a_content_cost_is_own_minus_other_row_by_column():
    pictures = flat(50, 100, 200)  # off by 1, 2 and 4 levels with their own representations
    costs = studies.content_costs(Off("model4"), pictures, Degradations.isotropic(1.3, 2))
    # Twice as far off costs 6.02 dB, half as far gains them: below 0.
    step = 20 * math.log10(2)
    expected = torch.tensor([[0, step, 2 * step], [-step, 0, step], [-2 * step, -step, 0]])
    # PSNRs of 40 dB in float32, whose last digit is 4e-6 of one.
    torch.testing.assert_close(costs, expected, rtol=0, atol=1e-4)
    assert (costs.diagonal() == 0).all()


def test_the_rows_are_true_widths_and_the_columns_what_model_5_is_given():
    model, pictures = Off("model5"), flat(40, 120)
    found = studies.wrong_representations(model, pictures, [3.0, 1.0], [1.0, 2.0, 4.0])
    expected = torch.tensor([psnr_off_by(levels) for levels in (1, 2, 4)])
    # As above.
    torch.testing.assert_close(found, expected.expand(2, 3), rtol=0, atol=1e-4)
    assert model.assumed == [1.0, 2.0, 4.0] * 2  # the assumed widths, for each picture


def test_a_blind_model_sees_the_same_picture_under_the_assumed_width():
    model, hr = Off("model4"), texture("only one", 26, 30)[1]
    studies.wrong_representations(model, [("one", hr)], [0.5], [1.0, 2.0])
    blurs = [Degradations.isotropic(width, 2) for width in (1.0, 2.0)]
    expected = [degrade(hr[None], blur, backend="fast") for blur in blurs]
    assert all(map(torch.equal, model.seen, expected))
    assert len(model.seen) == 2  # the true width was not asked for: it is not among the assumed


def test_noise_is_the_same_every_time():
    model = Off("model4").train()
    bright = texture("bright", 26, 30)[1]
    pictures = [("bright", bright), ("dark", 0.4 * bright)]
    noisy = Degradations.isotropic(1.0, 2, noise=20)
    costs = studies.content_costs(model, pictures, noisy)
    assert not model.training
    assert (costs.diagonal() == 0).all()
    assert costs[0, 1] != 0
    assert torch.equal(studies.content_costs(model, pictures, noisy), costs)


@pytest.mark.parametrize(
    ("model", "scale", "sentence"),
    [
        ("model5", 2, "model5's representation is of the degradation alone: choose a blind model"),
        ("model4", 3, "the degradation is of scale 3, the model of 2"),
    ],
)
def test_content_costs_refuse(model, scale, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        studies.content_costs(Off(model), flat(50, 100), Degradations.isotropic(1.0, scale))
