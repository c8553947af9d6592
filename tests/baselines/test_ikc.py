"""IKC: Corrector and iteration are the public code's; P and C learn, and SFTMD does not."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from public_weights import RELATIVE, image, load_in_order, relative_error, state

from dasrlib import baselines, degradation
from dasrlib.baselines.ikc import FULL, IKC, LAPTOP, SMOKE, Corrector, IkcSizes
from dasrlib.baselines.predictor import PredictorSizes
from dasrlib.baselines.sftmd import SftmdSizes
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.network import parameter_count

SPACE = DegradationSpace.isotropic(4)
AS_RUN = IkcSizes(SftmdSizes(blocks=2))


@pytest.fixture
def smoke():
    return IKC(2, DegradationSpace.isotropic(2), SMOKE)


@pytest.fixture
def batch():
    truth = Degradations.isotropic([0.6, 1.8], 2)
    hr = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(2))
    return hr, degradation.degrade(hr, truth), truth


def test_the_corrector_agrees(golden):
    arrays = golden("rivals")
    network = load_in_order(Corrector(10), state(golden, "ikc_corrector"))
    code = torch.from_numpy(arrays["ikc_code"])
    corrected = network(image(arrays["ikc_corrector_picture"]), code)
    assert relative_error(corrected, arrays["ikc_corrector_out"]) < RELATIVE
    assert relative_error(corrected - code, arrays["ikc_corrector_residual"]) < RELATIVE


@torch.no_grad()
def test_the_iteration_agrees(golden):
    arrays, ikc = golden("rivals"), IKC(4, SPACE, AS_RUN)
    parts = (ikc.predictor, "predictor"), (ikc.corrector, "corrector"), (ikc.sftmd, "sftmd_x4")
    for part, name in parts:
        load_in_order(part, state(golden, f"ikc_{name}"))
    ikc.sftmd.training = True  # the golden run did not clamp
    steps = [*itertools.islice(ikc.iterate(image(arrays["picture"])), 4)]
    codes = torch.cat([code for code, _ in steps])
    assert relative_error(codes, arrays["ikc_loop_codes_x4"]) < RELATIVE
    # What the third correction saw.
    assert relative_error(steps[2][1], arrays["ikc_loop_sr_x4"]) < RELATIVE


def test_full_size_is_the_papers():
    ikc = baselines.build("ikc", 4, "paper")
    assert parameter_count(ikc.corrector) == 649930
    ikc.requires_grad_(True)
    assert parameter_count(ikc) == 5315351
    assert FULL.pictures == FULL.training_corrections == 7


@torch.no_grad()
def test_the_answer_is_the_last_of_seven_pictures_and_six_corrections(smoke, batch):
    smoke.eval()
    corrections = []
    smoke.corrector.register_forward_hook(lambda *_: corrections.append(1))
    sr = smoke.restore(batch[1][:1])
    assert len(corrections) == 6
    steps = [*itertools.islice(smoke.iterate(batch[1][:1]), 7)]
    assert torch.equal(sr, steps[-1][1])
    assert all(not torch.equal(sr, earlier) for _, earlier in steps[:-1])


def test_each_loss_teaches_one_network_and_none_teaches_sftmd(smoke, batch):
    smoke.train()
    taught = []
    for loss in smoke.losses(*batch):
        smoke.zero_grad(set_to_none=True)
        loss.backward()
        taught.append({k.split(".")[0] for k, p in smoke.named_parameters() if p.grad is not None})
    assert taught == [{"predictor"}, {"corrector"}, {"corrector"}]
    assert not smoke.sftmd.training
    assert not any(p.requires_grad for p in smoke.sftmd.parameters())
    assert all(p.requires_grad for p in smoke.corrector.parameters())


@torch.no_grad()
def test_a_correction_starts_from_the_code_before_the_update(smoke, batch):
    hr, lr, truth = batch
    smoke.train()
    codes, given = smoke.predictor.codes(truth.kernels), []
    smoke.corrector.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    losses = smoke.losses(hr, lr, truth)
    before = smoke.predictor(lr)
    torch.testing.assert_close(next(losses), ((before - codes) ** 2).mean())
    for parameter in smoke.predictor.parameters():
        parameter.add_(0.1)  # the update
    next(losses)
    torch.testing.assert_close(given[0], before)
    assert (smoke.predictor(lr) - before).abs().max() > 1e-3


def test_a_slope_stands_everywhere_but_last():
    corrector = Corrector(10, 8)
    assert isinstance(corrector.both[-1], torch.nn.Conv2d)
    assert {m.negative_slope for m in corrector.modules() if hasattr(m, "negative_slope")} == {0.2}
    # Δ can be as negative as positive.
    torch.nn.init.zeros_(corrector.both[-1].weight)
    torch.nn.init.constant_(corrector.both[-1].bias, -1.0)
    code = torch.zeros(1, 10)
    torch.testing.assert_close(corrector(torch.rand(1, 3, 9, 7), code), code - 1)


def test_it_takes_over_a_trained_sftmd_with_its_codes(smoke, batch):
    trained = baselines.build("sftmd", 2, "smoke", DegradationSpace.anisotropic(2))
    smoke.use_sftmd(trained)
    assert smoke.predictor.codes.same_as(trained.codes)
    assert smoke.sftmd.codes.same_as(trained.codes)
    code = trained.codes(batch[2].kernels)
    assert torch.equal(smoke.sftmd(batch[1], code), trained.eval()(batch[1], code))


def test_adam_is_ikcs_and_two_lengths_of_code_are_refused(smoke):
    assert smoke.betas == (0.9, 0.99)
    with pytest.raises(ValueError, match="the Predictor gives 15 numbers, SFTMD reads 10"):
        IKC(4, SPACE, IkcSizes(predictor=PredictorSizes(code=15)))


def test_the_reduction_is_ours_and_not_ikcs(golden):
    arrays = golden("rivals")
    hr, truth = image(arrays["ikc_hr"]), Degradations.isotropic(2.6, 4)
    blurred = torch.from_numpy(arrays["ikc_blurred"])
    ours = degradation.blur(hr, truth.kernels)
    torch.testing.assert_close(ours, blurred, rtol=0, atol=1e-5)  # the blur is the same
    darker = (degradation.degrade(hr, truth) - image(arrays["ikc_lr_x4"])).mean() * 255
    assert 0.3 < float(darker) < 0.7  # theirs, cut to 8 bit, is half a grey level darker


@torch.no_grad()
def test_a_share_of_a_batch_starts_from_another_pictures_code(batch):
    hr, lr, truth = batch
    ikc = IKC(2, DegradationSpace.isotropic(2), dataclasses.replace(SMOKE, pushed=0.5)).train()
    given, codes = [], ikc.predictor.codes(truth.kernels)
    ikc.corrector.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    losses = ikc.losses(hr, lr, truth)
    for _ in range(2):
        next(losses)
    assert torch.equal(given[0][0], codes[-1])
    assert torch.equal(given[0][1:], ikc.predictor(lr)[1:])
    assert (FULL.pushed, LAPTOP.pushed) == (0, 0.5)
