"""§4.1: what a run trains in its two stages, what it logs, and what it refuses at the start."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import PICTURES, STAGE1, STAGE2, TINY, started, texture

from dasrlib import data, paper
from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Stage
from dasrlib.systems import MODELS
from dasrlib.training.step import LossMeter


@pytest.mark.parametrize("name", MODELS)
def test_models_without_contrast_skip_stage_1(tmp_path, clock, name):
    run = started(tmp_path, clock, model=name)
    if name in ("model1", "model5"):
        assert run.learner is None
        assert [s.iterations for s in run.stages] == [0, STAGE1 + STAGE2]
    else:
        assert [s.iterations for s in run.stages] == [STAGE1, STAGE2]
    assert run.iterations == STAGE1 + STAGE2


def test_stage_1_trains_the_encoder_alone_and_stage_2_everything(tmp_path, clock):
    run = started(tmp_path, clock)
    start = {name: t.clone() for name, t in run.model.named_parameters()}

    def moved() -> set[str]:
        changed = {
            n.split(".")[0] for n, t in run.model.named_parameters() if not torch.equal(t, start[n])
        }
        start.update({name: t.clone() for name, t in run.model.named_parameters()})
        return changed

    run.train(minutes=STAGE1 - 0.5, progress=False)
    assert run.iteration == STAGE1
    assert moved() == {"encoder"}
    run.train(minutes=0.5, progress=False)
    assert run.iteration == STAGE1 + 1
    assert moved() == {"encoder", "sr"}


def test_a_run_leaves_the_callers_random_state_as_it_was(tmp_path, clock):
    before = torch.get_rng_state()
    started(tmp_path, clock)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_space_of_another_scale_is_refused(tmp_path, clock):
    with pytest.raises(ValueError, match="scale"):
        started(tmp_path, clock, space=DegradationSpace.isotropic(4))


def test_a_held_out_picture_too_small_to_measure_is_refused_at_the_start(tmp_path, clock):
    small = (PICTURES[0], [texture("stamp", 14, 14)])
    with pytest.raises(ValueError, match="stamp"):
        started(tmp_path, clock, images=small)


def test_the_log_grows_and_can_be_read_at_any_time(tmp_path, clock):
    run = started(tmp_path, clock)
    assert run.log() == []
    run.train(minutes=2.5, progress=False)
    assert [record["iteration"] for record in run.log()] == [3]
    run.train(progress=False)
    # Every third; the stages' ends at 4 and 10; a validation four iterations into stage 2, at 8.
    log = [json.loads(line) for line in run.log_path.read_text().splitlines()]
    assert [record["iteration"] for record in log] == [3, 4, 6, 8, 9, 10]
    assert [record["stage"] for record in log] == [1, 1, 2, 2, 2, 2]
    assert [record["minutes"] for record in log] == [3, 4, 6, 8, 9, 10]
    assert ["psnr" in record for record in log] == [False, False, False, True, False, True]
    assert ["sr" in record for record in log] == [record["stage"] == 2 for record in log]
    assert all(0 < record["contrastive"] < 10 for record in log)
    assert all(5 < psnr < 50 for psnr in log[-1]["psnr"].values())


def test_the_log_holds_means_of_what_the_steps_gave(tmp_path, clock, monkeypatch):
    run = started(tmp_path, clock)
    add, given = LossMeter.add, []

    def noted(self, losses):
        given.append([float(value) for value in losses])
        add(self, losses)

    monkeypatch.setattr(LossMeter, "add", noted)
    run.train(progress=False)
    losses = torch.tensor(given, dtype=torch.float64)
    third, sixth = run.log()[0], run.log()[2]
    # Logged with five decimals.
    assert third["contrastive"] == pytest.approx(float(losses[:3, 1].mean()), abs=1e-5)
    assert sixth["sr"] == pytest.approx(float(losses[4:6, 0].mean()), abs=1e-5)
    assert (losses[:STAGE1, 0] == 0).all()
    assert (losses[STAGE1:, 0] > 0).all()


def test_validation_is_over_the_papers_widths_of_the_scale(tmp_path, clock):
    run = started(tmp_path, clock)
    assert [float(label) for label in run.validate()] == list(paper.kernel_widths(2))


def test_a_loss_that_is_no_number_stops_with_a_sentence(tmp_path, clock):
    run = started(tmp_path, clock, model="model1")
    run.train(minutes=1.5, progress=False)
    with torch.no_grad():
        run.model.sr.head.weight[0, 0, 0, 0] = math.nan
    kept = run.checkpoints.path.read_bytes()
    with pytest.raises(FloatingPointError, match=r"the loss is nan at iteration 2.*learning rate"):
        run.train(progress=False)
    assert [record["iteration"] for record in run.log()] == []
    # Nor is it kept where the checkpoint comes before the next line of the log.
    with pytest.raises(FloatingPointError, match=r"the loss is nan at iteration 2"):
        run.save_checkpoint()
    assert run.checkpoints.path.read_bytes() == kept


@pytest.mark.parametrize("scale", [2, 4])
def test_the_loss_falls(tmp_path, clock, scale):
    one = replace(
        TINY,
        stage1=Stage(iterations=0, lr=1e-3),
        stage2=Stage(iterations=40, lr=2e-3, batch=3),
        init_as_nearest_neighbour=False,
        validate_every=1000,
    )
    name, noise = texture("one", 16, 16)
    smooth = torch.nn.functional.interpolate(noise[None], scale_factor=4, mode="bilinear")[0]
    images = ([(name, smooth.clamp(0, 1))], [])
    run = started(tmp_path, clock, one, "model1", scale=scale, images=images)
    run.train(progress=False)
    losses = [record["sr"] for record in run.log()]
    # From random weights, off by tens of grey levels; nothing subtle is asked.
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_an_anisotropic_noisy_space_trains(tmp_path, clock):
    run = started(tmp_path, clock, space=DegradationSpace.anisotropic(2))
    assert run.train(minutes=4.5, progress=False) is False
    assert run.iteration == 5


def test_a_noisy_run_ends_with_a_readout_fitted_on_pictures_in_0_to_1(tmp_path, clock):
    """Pictures to train on are held as bytes, 0..255."""
    train = [(name, data.to_uint8(image)) for name, image in PICTURES[0]]
    space = DegradationSpace.anisotropic(2)
    run = started(tmp_path, clock, space=space, images=(train, PICTURES[1]))
    for (_, fitted), (_, image) in zip(run.readout_pictures, PICTURES[0], strict=True):
        h, w = fitted.shape[-2:]
        torch.testing.assert_close(fitted, image[:, :h, :w], atol=0.51 / 255, rtol=0)
    assert run.train()
    stored = json.loads((tmp_path / "weights.json").read_text())["readout"]
    assert len(stored["weight"]) == len(stored["error"]) == 2
