"""§4.2, §4.3: every system of the tables is put together as its name says."""

from __future__ import annotations

import pytest
import torch

from dasrlib import compositions, evaluation, systems, weights
from dasrlib.baselines import Assumed, Denoised, Predicted
from dasrlib.degradation import Degradations, degrade

HERE = [
    (name, scale, space)
    for name in systems.SYSTEMS
    if name not in ("dncnn", "predictor")
    for scale in (2, 3, 4)
    for space in ("iso", "aniso")
    if compositions.is_here(name, scale, space)
]


@pytest.fixture
def lr():
    picture = torch.rand(1, 3, 72, 60, generator=torch.Generator().manual_seed(1))
    return degrade(picture, Degradations.isotropic(1.0, 4))


@pytest.mark.parametrize(("name", "scale", "space"), HERE)
def test_a_system_is_what_its_name_says(name, scale, space):
    system = compositions.load(name, scale, space)
    assert (system.scale, system.needs) == (scale, systems.SYSTEMS[name].needs)
    inner = system.system if isinstance(system, Denoised) else system
    assert isinstance(system, Denoised) == name.startswith("dncnn-")
    assert isinstance(inner, Predicted) == name.endswith("-predicted")
    assert isinstance(inner, Assumed) == name.endswith("-assumed")
    if isinstance(inner, Predicted):  # one basis of kernels for both
        told = getattr(inner.system, "codes", None)
        assert told is None or told.same_as(inner.predictor.codes)


def test_every_weight_that_is_bundled_is_used_by_a_system_or_a_notebook():
    used = {stored for name, scale, space in HERE
            for stored in compositions.weights_of(name, scale, space)}  # fmt: skip
    others = {"laptop/photo-x4"}  # §4.4 has no table
    assert {n for n in weights.catalogue() if n.startswith("laptop/")} - used <= others


def test_a_predicted_system_is_told_what_the_predictor_reads(lr):
    told, guess = compositions.load("srmdnf"), compositions.load("srmdnf-predicted")
    with torch.inference_mode():
        code = guess.predictor(lr)
        expected = told(lr, code)
        assert torch.equal(guess.restore(lr), expected)
        other = guess.restore(lr.flip(-1) * 0.5)
    assert other.shape == expected.shape


def test_the_network_that_zssr_makes_is_counted():
    assert compositions.parameters(evaluation.Bicubic(4)) == 0
    zssr = compositions.load("zssr")
    assert compositions.parameters(zssr) == 9 * (3 * 32 + 6 * 32 * 32 + 32 * 3)
    predicted = compositions.load("zssr-predicted")
    predictor = sum(p.numel() for p in predicted.predictor.parameters())
    assert compositions.parameters(predicted) == compositions.parameters(zssr) + predictor


def test_an_assumed_system_is_told_the_middle_of_the_range(lr):
    told, fixed = compositions.load("srmdnf"), compositions.load("srmdnf-assumed")
    with torch.inference_mode():
        expected = told.restore(lr, Degradations.isotropic(2.1, 4))
        assert torch.equal(fixed.restore(lr, Degradations.isotropic(0.5, 4)), expected)
    assert compositions.assumed(4, "aniso").noise.item() == 5


def test_a_system_without_weights_or_with_a_misspelt_name_is_refused():
    with pytest.raises(ValueError, match="no system is named 'srmdfn': did you mean 'srmdnf'"):
        compositions.load("srmdfn")
    with pytest.raises(ValueError, match="model1-x2-iso"):
        compositions.load("model1", 2)
    for name in ("dncnn", "predictor"):  # they make no SR picture
        with pytest.raises(ValueError, match="no system is named"):
            compositions.load(name)


def test_the_parameters_of_all_networks_are_counted():
    parts = [weights.load_system(f"laptop/{n}-x4-iso") for n in ("srmdnf", "predictor")]
    count = sum(p.numel() for part in parts for p in part.parameters())
    assert compositions.parameters(compositions.load("srmdnf-predicted")) == count
    assert compositions.parameters(evaluation.Bicubic(4)) == 0
