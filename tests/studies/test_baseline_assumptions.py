"""§4.2: what the studies of notebook 06 measure is what their names say."""

from __future__ import annotations

import pytest
import torch
from smooth_pictures import picture

from dasrlib import baselines, compositions, data, evaluation
from dasrlib.baselines.internal_learning import Adaptation
from dasrlib.data import centre_crop
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.plots.packed_images import unpacked
from dasrlib.studies import baseline_assumptions as study

PICTURES = [("one", picture(40, 48, 0)), ("two", picture(48, 40, 1))]


class Told(torch.nn.Module):
    """Bicubic upsampling that gets darker by what it is told: λ1 / 100."""

    scale = 4

    def restore(self, lr, degradation=None):
        return evaluation.Bicubic(4).restore(lr) - degradation.lambda1.item() / 100


class Steps:
    """After step t the picture is bicubic upsampling and an error of 1 / 2^t."""

    scale = 2

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def adapt(self, lr, degradation=None):
        for t in range(self.steps + 1):
            yield Adaptation(t, None, 1.0, lambda t=t: evaluation.Bicubic(2).restore(lr) - 0.5**t)


def test_a_row_of_the_ridge_is_the_true_width_and_a_column_the_told_one():
    psnr = study.told_wrong(Told(), PICTURES, (0.2, 4.0), (0.0, 20.0))
    assert psnr.shape == (2, 2)
    assert (psnr[:, 0] > psnr[:, 1] + 3).all()  # told 20: darker by a fifth
    assert (psnr[0] > psnr[1]).all()  # a true width of 4 is harder than one of 0.2


def test_corrections_begin_with_the_predicted_code_or_with_the_pushed_one():
    torch.manual_seed(0)
    ikc = baselines.build("ikc", 4, "smoke", DegradationSpace.isotropic(4)).eval()
    predicted = study.corrections(ikc, PICTURES, 2.4, count=3)
    pushed = study.corrections(ikc, PICTURES, 2.4, start=1.2, count=3)
    assert len(predicted["psnr"]) == len(predicted["error"]) == 3
    codes = [ikc.predictor.codes(Degradations.isotropic(w, 4).kernels) for w in (2.4, 1.2)]
    first = float((codes[1] - codes[0]).norm() / codes[0].norm())
    assert pushed["error"][0] == pytest.approx(first, rel=1e-5)
    assert predicted["error"][0] != pytest.approx(first, rel=1e-2)


def test_a_start_at_the_truth_has_no_error():
    ikc = baselines.build("ikc", 4, "smoke", DegradationSpace.isotropic(4)).eval()
    found = study.corrections(ikc, PICTURES, 2.4, start=2.4, count=1)
    assert found["error"] == [0.0]
    assert found["width"] == pytest.approx([2.4])


def test_steps_that_not_every_picture_had_are_left_out():
    found = study.adaptation(Steps(5), PICTURES, Degradations.isotropic(0.6, 2))
    assert found["steps"] == [0, 1, 2, 3, 5]
    assert found["psnr"] == sorted(found["psnr"])
    assert found["psnr"][3] > found["psnr"][2] + 3  # half the error: 6 dB, while it is large


def test_a_crop_is_cut_from_the_whole_restored_picture():
    whole = picture(96, 96, 3)
    degradation = Degradations.isotropic(1.2, 4)
    found = study.crop_by_all(whole, {"bicubic": evaluation.Bicubic(4)}, degradation, 8)
    _, sr = evaluation.degrade_and_restore(evaluation.Bicubic(4), whole, degradation)
    crop = unpacked(found["sr"]["bicubic"])
    assert crop.shape == (3, 32, 32)
    places = sr.unfold(1, 32, 4).unfold(2, 32, 4)  # (3, rows, columns, 32, 32)
    nearest = (places - crop[:, None, None]).abs().amax(dim=(0, 3, 4)).min()
    assert nearest <= 0.51 / 255  # packed as bytes
    assert found["psnr"]["bicubic"] == pytest.approx(evaluation.psnr_y(sr, whole, 4), abs=6e-4)


@pytest.mark.parametrize("width", [1.2, 2.4])
def test_corrections_lead_back_from_a_width_that_was_pushed_off(width):
    ikc = compositions.load("ikc")
    chelsea = centre_crop(dict(data.images("samples"))["chelsea"], 128)
    found = study.corrections(ikc, [("chelsea", chelsea)], width, study.PUSHES[width], count=7)
    start, end = found["width"][0], found["width"][-1]
    assert abs(end - width) < 0.5 * abs(start - width)
