"""§4.1: the systems that DASR is compared with are trained by the same loop, and come back."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import PICTURES, STAGE1, STAGE2, TINY, started
from torch import Tensor, nn

from dasrlib import profiles, training, weights
from dasrlib.baselines import TRAINED, Baseline
from dasrlib.baselines.schedules import LAPTOP
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.profiles import Stage
from dasrlib.records.run_record import RunRecord
from dasrlib.training.baseline_step import BaselineStep
from dasrlib.training.step import Batch
from dasrlib.training.trained_systems import profile_for

LR = torch.rand(1, 3, 14, 13, generator=torch.Generator().manual_seed(3))
DEGRADATION = Degradations.isotropic(1.3, 2)
NOISY = DegradationSpace.anisotropic(2)


@torch.inference_mode()
def answer(system: Baseline) -> Tensor:
    """The SR picture, or the Predictor's code."""
    system.eval()
    return system(LR) if system.name == "predictor" else system.restore(LR, DEGRADATION)


@pytest.fixture
def sftmd(tmp_path_factory, clock):
    """The file of a trained SFTMD, told the kernels of the space, and its run."""

    def trained(space=None):
        run = started(tmp_path_factory.mktemp("sftmd"), clock, model="sftmd", space=space)
        assert run.train(progress=False)
        return run.folder / "weights.safetensors"

    return trained


# Blind, told, without a picture, at LR size, with several updates an iteration, with two stages.
@pytest.mark.parametrize("name", ["srcnn", "srmd", "predictor", "dncnn", "ikc", "mzsr"])
def test_a_run_resumes_to_the_same_end_and_its_weights_come_back(tmp_path, clock, sftmd, name):
    options = {"model": name, "space": NOISY}
    if name == "ikc":
        options["sftmd"] = sftmd(NOISY)
    whole = started(tmp_path / "whole", clock, **options)
    stages = [STAGE1, STAGE2] if name == "mzsr" else [0, STAGE1 + STAGE2]
    assert [stage.iterations for stage in whole.stages] == stages
    untrained = answer(whole.model)
    assert whole.train(progress=False)
    assert (answer(whole.model) - untrained).abs().max() > 1e-4
    for iterations in (3, 7):
        cut = started(tmp_path / "cut", clock, **options)
        assert not cut.train(minutes=iterations - cut.iteration - 0.5, progress=False)
        assert cut.iteration == iterations
    last = started(tmp_path / "cut", clock, **options)
    assert last.iteration == 7
    assert last.train(progress=False)
    assert last.log() == whole.log()
    file = "weights.safetensors"
    assert (last.folder / file).read_bytes() == (whole.folder / file).read_bytes()
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(last.model.state_dict()[key], tensor), key

    loaded = weights.load_system(whole.folder / file)
    assert (loaded.name, loaded.scale) == (name, whole.model.scale)
    assert (loaded.sizes, loaded.space) == (whole.model.sizes, NOISY)
    for parameter in whole.model.parameters():
        parameter.data = parameter.data.half().float()  # as the file has them
    assert torch.equal(answer(loaded), answer(whole.model))
    for key, tensor in whole.model.named_buffers():
        assert torch.equal(loaded.state_dict()[key], tensor), key  # to the last bit

    record = RunRecord.read(whole.folder / "weights.json")
    assert (record.model, record.scale, record.readout) == (name, 2, None)
    assert record.space["noise"] == NOISY.noise  # what was asked for
    assert record.log == whole.log()
    measure = "code_error" if name == "predictor" else "psnr"
    assert list(record.log[-1][measure]) == list(whole.validate())
    assert all(math.isfinite(value) for value in record.log[-1][measure].values())
    assert {row["stage"] for row in record.log} == ({1, 2} if name == "mzsr" else {2})
    assert all(row["loss"] > 0 for row in record.log)


def test_an_unknown_name_is_refused_in_a_sentence(tmp_path, clock):
    with pytest.raises(ValueError, match="no model is named 'srmdfn': did you mean 'srmdnf'"):
        started(tmp_path, clock, model="srmdfn")
    with pytest.raises(ValueError, match="no model is named 'rcna': did you mean 'rcan'"):
        profile_for("rcna", "laptop")


def test_a_baseline_has_its_own_schedule_in_a_profile_by_name():
    laptop = profile_for("srmdnf", "laptop")
    assert laptop.stage1.iterations == 0
    assert laptop.stage2 == LAPTOP["srmdnf"]
    assert profile_for("model4", "laptop") == profiles.get("laptop")
    assert profile_for("rcan", "gpu").stage2.iterations == 32_000


@pytest.mark.parametrize(
    ("name", "noise", "kernels"),
    [("srmd", True, True), ("srmdnf", False, True), ("rcan", False, False), ("dncnn", True, False)],
)
def test_it_trains_on_the_degradations_that_it_assumes(tmp_path, clock, name, noise, kernels):
    run = started(tmp_path, clock, model=name, space=NOISY)
    for iteration in range(10):
        drawn = run._sample_batch(8, iteration).degradations
        assert bool(drawn.noise.any()) == noise
        assert bool(drawn.lambda1.any()) == kernels
        assert len(drawn.noise.unique()) == (8 if noise else 1)  # no level is shared
    assert "noise" in " ".join(run.validate())  # it is measured under all


class Recorded(Baseline):
    """Two losses on two weights; notes what the first weight was when each was asked for."""

    def __init__(self) -> None:
        super().__init__("rcan", 2)
        self.first = nn.Parameter(torch.tensor(1.0))
        self.second = nn.Parameter(torch.tensor(1.0))
        self.seen: list[tuple[float, float]] = []

    def losses(self, hr, lr, degradations):
        for weight in (self.first, self.second):
            self.seen.append((self.first.item(), self.second.item()))
            yield 3 * weight

    def parameter_groups(self, rate):
        return [{"params": [self.first], "lr": rate}, {"params": [self.second], "lr": rate / 10}]


def test_weights_are_updated_after_each_loss_at_the_rate_of_their_group():
    system = Recorded()
    step = BaselineStep(system)
    degradations = Degradations.isotropic(1.0, 2)
    lr, hr = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 8, 8)
    batch = Batch(lr, lr, hr, degradations.encoding, degradations.lambda1, degradations)
    step.set_learning_rate(0.1)
    assert float(step(batch).sr) == 6
    # Adam's first update is as long as its rate; the second loss does not move the first weight.
    assert system.seen[1] == pytest.approx((0.9, 1.0))
    assert system.first.item() == pytest.approx(0.9)
    assert system.second.item() == pytest.approx(0.99)
    again = BaselineStep(system)
    again.resume(step.optimizer.state_dict())
    again.set_learning_rate(0.2)
    assert [group["lr"] for group in again.optimizer.param_groups] == pytest.approx([0.2, 0.02])


def test_ikc_keeps_the_sftmd_that_it_was_given(tmp_path, clock, sftmd):
    path = sftmd()
    run = started(tmp_path, clock, model="ikc", sftmd=path)
    given = weights.load_system(path).state_dict()
    assert run.train(progress=False)
    for key, tensor in run.model.sftmd.state_dict().items():
        assert torch.equal(tensor, given[key]), key
    stored = json.loads((tmp_path / "weights.json").read_text())["sftmd"]
    assert stored["name"] == f"{path.parent.name}/weights"
    other = sftmd(replace(DegradationSpace.isotropic(2), widths=(0.2, 1.0)))
    with pytest.raises(ValueError, match=r"sftmd\.sha256"):
        started(tmp_path, clock, model="ikc", sftmd=other)
    with pytest.raises(ValueError, match=r"the degradations of .* differ"):
        started(tmp_path / "new", clock, model="ikc", sftmd=other)


def test_the_predictor_of_ikc_starts_from_a_trained_one(tmp_path, clock, sftmd):
    trained = started(tmp_path / "predictor", clock, model="predictor")
    assert trained.train(progress=False)
    path = tmp_path / "predictor" / "weights.safetensors"
    run = started(tmp_path / "ikc", clock, model="ikc", sftmd=sftmd(), predictor=path)
    given = weights.load_system(path).state_dict()
    for key, tensor in run.model.predictor.state_dict().items():
        assert torch.equal(tensor, given[key]), key
    assert run.train(progress=False)
    record = RunRecord.read(tmp_path / "ikc" / "weights.json")
    assert record.predictor["name"] == "predictor/weights"
    with pytest.raises(ValueError, match="holds sftmd: ikc is trained from a predictor"):
        started(tmp_path / "other", clock, model="ikc", sftmd=sftmd(), predictor=sftmd())
    with pytest.raises(ValueError, match="predictor is for ikc alone, rcan has none in it"):
        started(tmp_path / "rcan", clock, model="rcan", predictor=path)


def test_an_sftmd_that_is_missing_or_not_wanted_is_refused(tmp_path, clock):
    with pytest.raises(ValueError, match="ikc is trained around a trained SFTMD"):
        started(tmp_path, clock, model="ikc")
    with pytest.raises(ValueError, match="rcan has none in it"):
        started(tmp_path, clock, model="rcan", sftmd="laptop/model4-x4-iso")
    with pytest.raises(ValueError, match="holds model4: ikc is trained around sftmd"):
        started(tmp_path, clock, model="ikc", sftmd="laptop/model4-x4-iso")


def test_load_says_that_a_baseline_is_no_dasr_network(tmp_path, clock):
    run = started(tmp_path, clock, model="rcan")
    path = weights.save(run.model, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="holds rcan, which has no degradation representation"):
        weights.load(path)


def test_the_loss_of_a_told_system_falls(tmp_path, clock):
    short = replace(
        TINY,
        stage1=Stage(iterations=0, lr=1e-3),
        stage2=Stage(iterations=60, lr=2e-3, batch=3),
        init_as_nearest_neighbour=False,
        validate_every=1000,
    )
    smooth = nn.functional.interpolate(PICTURES[0][0][1][None], scale_factor=4, mode="bilinear")
    images = ([("one", smooth[0].clamp(0, 1))], [])
    run = started(tmp_path, clock, short, "srmdnf", images=images)
    run.train(progress=False)
    losses = [row["loss"] for row in run.log()]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


@pytest.mark.parametrize("name", TRAINED)
def test_weights_of_every_network_come_back(tmp_path, name):
    network = training.trained_systems.untrained(
        name, profiles.get("smoke"), DegradationSpace.isotropic(2)
    )
    loaded = weights.load_system(weights.save(network, tmp_path / "net.safetensors"))
    assert isinstance(loaded, type(network))
    assert (loaded.name, loaded.sizes) == (name, network.sizes)
