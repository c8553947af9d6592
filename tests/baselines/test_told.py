"""Systems made of systems: predicted, assumed, denoised."""

from __future__ import annotations

import pytest
import torch

from dasrlib import baselines, evaluation, network
from dasrlib.baselines import Assumed, Denoised, Predicted
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.systems import SYSTEMS

TRUTH = Degradations.isotropic(1.7, 2, noise=12.0)


@pytest.fixture
def lr():
    return torch.rand(1, 3, 12, 13, generator=torch.Generator().manual_seed(1))


class Recorder:
    """A system that keeps what it was given, and enlarges by bicubic."""

    name, scale, needs = "srmd", 2, "kernel and noise"

    def restore(self, lr, degradation=None):
        self.lr, self.told = lr, degradation
        return evaluation.Bicubic(2).restore(lr)


def build(name, **others):
    return baselines.build(name, 2, "smoke", **others).eval()


@torch.inference_mode()
def test_predicted_tells_the_code_as_it_is_where_the_basis_is_shared(lr):
    predictor, srmdnf = build("predictor"), build("srmdnf")
    system = Predicted(predictor, srmdnf).eval()
    assert (system.name, system.scale, system.needs) == ("srmdnf-predicted", 2, "nothing")
    expected = srmdnf(lr, predictor(lr))
    assert torch.equal(system.restore(lr), expected)
    assert torch.equal(system.restore(lr, TRUTH), expected)  # the truth is not read
    # With another basis the same numbers mean another kernel, and the kernel itself is told.
    other = build("srmdnf", space=DegradationSpace.anisotropic(2))
    told = Predicted(predictor, other).restore(lr)
    assert torch.equal(told, other.restore(lr, predictor.predict(lr)))
    assert (told - other(lr, predictor(lr))).abs().max() > 1e-4


@torch.inference_mode()
def test_predicted_tells_any_system_that_is_not_blind(lr):
    inner = Recorder()
    Predicted(build("predictor"), inner, noise=8.0).restore(lr, TRUTH)
    assert inner.told.noise.tolist() == [8.0]  # and not the truth's 12
    assert inner.told.kernels.shape == (1, 21, 21)
    assert float(inner.told.kernels.sum()) == pytest.approx(1.0)
    oracle = network.build("model5", 2, "smoke").eval()
    assert Predicted(build("predictor"), oracle).restore(lr).shape == (1, 3, 24, 26)


def test_assumed_tells_one_kernel_whatever_the_truth_is(lr):
    inner, assumed = Recorder(), Degradations.isotropic(0.6, 2)
    system = Assumed(inner, assumed)
    assert (system.name, system.needs) == ("srmd-assumed", "nothing")
    system.restore(lr, TRUTH)
    assert inner.told is assumed
    with pytest.raises(ValueError, match="expected one degradation to assume, got 2"):
        Assumed(inner, Degradations.isotropic([1.0, 2.0], 2))


@torch.inference_mode()
def test_the_systems_behind_a_denoiser_see_the_denoised_picture(lr):
    denoiser, inner = build("dncnn"), Recorder()
    system = Denoised(denoiser, inner)
    assert (system.name, system.scale, system.needs) == ("dncnn-srmd", 2, "kernel and noise")
    system.restore(lr, TRUTH)
    clean = denoiser(lr).clamp(0, 1)
    assert not torch.equal(clean, lr)
    assert torch.equal(inner.lr, clean)
    assert inner.told.noise.tolist() == [0.0]  # the kernel is told, the noise is gone
    assert torch.equal(inner.told.kernels, TRUTH.kernels)
    # So does a predictor inside it.
    predictor, srmdnf = build("predictor"), build("srmdnf")
    sr = Denoised(denoiser, Predicted(predictor, srmdnf)).restore(lr)
    assert torch.equal(sr, srmdnf(clean, predictor(clean)))
    assert (sr - srmdnf(clean, predictor(lr))).abs().max() > 0


def test_a_wrapper_holds_its_weights_and_is_measured_like_any_system():
    system = Denoised(build("dncnn"), Predicted(build("predictor"), build("srmdnf")))
    parts = ("denoiser.", "system.predictor.", "system.system.")
    assert {key.split(".")[0] for key in system.state_dict()} == {"denoiser", "system"}
    assert all(any(k.startswith(part) for k in system.state_dict()) for part in parts)
    assert evaluation.device_of(system) == torch.device("cpu")
    pictures = [("one", torch.rand(3, 32, 40))]
    for measured in (system, Denoised(build("dncnn"), evaluation.Bicubic(2)), build("srmdnf")):
        (row,) = evaluation.benchmark(measured, pictures, {1.2: Degradations.isotropic(1.2, 2)})
        assert row.system == measured.name
    assert not system.training


def test_the_papers_rows_have_their_titles():
    denoiser, srmdnf = build("dncnn"), build("srmdnf")
    told = Predicted(build("predictor"), srmdnf), Assumed(srmdnf, Degradations.isotropic(1.0, 2))
    behind = (Denoised(denoiser, inner) for inner in (build("rcan"), told[0], build("ikc")))
    for system in (*told, *behind):
        assert SYSTEMS[system.name].needs == system.needs == "nothing"


def test_refusals():
    with pytest.raises(ValueError, match="rcan is blind: it would not read a kernel"):
        Predicted(build("predictor"), build("rcan"))
    with pytest.raises(ValueError, match="bicubic is blind"):
        Assumed(evaluation.Bicubic(2), TRUTH)
    with pytest.raises(ValueError, match="the predictor is of scale 4, srmdnf of 2"):
        Predicted(baselines.build("predictor", 4, "smoke"), build("srmdnf"))
    with pytest.raises(ValueError, match="the degradation is of scale 4, srmdnf of 2"):
        Assumed(build("srmdnf"), Degradations.isotropic(1.0, 4))
    with pytest.raises(ValueError, match="rcan is no denoiser: it enlarges by 2"):
        Denoised(build("rcan"), build("srcnn"))
