"""§4.1: what a run trains in its two stages, what it logs, and what it refuses at the start."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from tiny_runs import PICTURES, STAGE1, STAGE2, TINY, started, texture

from dasrlib import data, paper, training
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


def test_held_out_pictures_too_small_to_measure_are_skipped(tmp_path, clock):
    small = texture("stamp", 14, 14)
    with pytest.warns(UserWarning, match=r"1 of 2 pictures are skipped: .*stamp of 14×14"):
        run = started(tmp_path, clock, images=(PICTURES[0], [*PICTURES[1], small]))
    assert [name for name, _ in run.held_out] == ["held out"]
    with pytest.raises(ValueError, match="stamp of 14×14"):
        started(tmp_path, clock, images=(PICTURES[0], [small]))


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (texture("odd", 44, 44)[1] * 255, "expected a float picture in"),
        (texture("odd", 44, 44)[1].log(), "expected a float picture in"),
        (texture("odd", 44, 44)[1][:1], r"expected a picture \(3, H, W\), got \(1, 44, 44\)"),
    ],
)
@pytest.mark.parametrize("part", [0, 1])
def test_what_is_no_picture_is_named(tmp_path, clock, picture, said, part):
    images = [list(pictures) for pictures in PICTURES]
    images[part].append(("odd", picture))
    with pytest.raises(ValueError, match=f"the picture odd: {said}"):
        started(tmp_path, clock, images=images)


@pytest.mark.parametrize("minutes", [math.nan, -1, math.inf, "3"])
def test_minutes_that_are_none_are_refused(tmp_path, clock, minutes):
    run = started(tmp_path, clock)
    with pytest.raises(ValueError, match="minutes must be a finite number, at least 0"):
        run.train(minutes)
    assert list(tmp_path.iterdir()) == []


def test_a_line_says_what_the_run_does(tmp_path, clock, capsys):
    run = started(tmp_path, clock)
    run.train(minutes=1.5, progress=False)
    assert capsys.readouterr().err == ""
    run.train(minutes=1.5)
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith("model4 ×2, profile smoke, seed 5: 10 iterations, 2 done, 3 pictures ")
    assert said.endswith(f"(1 held out), {run.provenance['device']}, float32")


def test_tensorboard_gets_the_log_where_it_is_installed(tmp_path, clock, monkeypatch):
    drawn: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            drawn.append((folder, 0.0, purge_step))

        def add_scalar(self, *row: object) -> None:
            drawn.append(row)

        def flush(self) -> None:
            pass

        def close(self) -> None:
            drawn.append(("closed", 0.0, 0))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run = started(tmp_path, clock)
    run.train(minutes=7.5, progress=False)
    assert drawn[0] == (str(tmp_path / "tensorboard"), 0.0, 1)
    assert drawn[-1] == ("closed", 0.0, 0)
    rows = {row["iteration"]: row for row in run.log()}
    assert ("contrastive", rows[3]["contrastive"], 3) in drawn
    label = next(iter(rows[8]["psnr"]))
    assert (f"psnr {label}", rows[8]["psnr"][label], 8) in drawn


def test_the_log_grows_and_can_be_read_at_any_time(tmp_path, clock):
    run = started(tmp_path, clock)
    assert run.log() == []
    run.train(minutes=2.5, progress=False)
    assert [record["iteration"] for record in run.log()] == [3]
    assert training.Log(str(tmp_path)).rows() == run.log()  # as another process reads it
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
