"""§4.1: the schedule, the patches, and a run that can be cut anywhere and ends the same."""

from __future__ import annotations

import contextlib
import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dasrlib import data, paper, profiles, steps, training, weights
from dasrlib.degradation import DegradationSpace
from dasrlib.network import MODELS
from dasrlib.profiles import Stage
from dasrlib.training import Run

# Runs. Everything about them is small: 12-pixel patches at ×2, ten iterations.

STAGE1, STAGE2 = 4, 6
TINY = replace(
    profiles.get("smoke"),
    patch=12,
    stage1=Stage(iterations=STAGE1, lr=5e-4, batch=2),
    stage2=Stage(iterations=STAGE2, lr=5e-4, batch=2, warmup=2),
    validate_every=4,
    checkpoint_minutes=1e9,
)
MOCO = replace(TINY, recipe="moco", encoder_input="rgb", temperature=0.07, queue_size=5)
RECIPES = {"in-batch": TINY, "moco": MOCO}


def texture(name: str, h: int, w: int) -> tuple[str, torch.Tensor]:
    seed = sum(name.encode())
    return name, torch.rand(3, h, w, generator=torch.Generator().manual_seed(seed))


PICTURES = (
    [texture(name, 40 + 2 * i, 44) for i, name in enumerate("abc")],
    [texture("held out", 28, 31)],
)


class Clock:
    """A minute an iteration, so that `minutes` cuts where it is told and logs can be compared."""

    run: Run | None = None

    def monotonic(self) -> float:
        return 60.0 * (self.run.iteration if self.run else 0)


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts():
    """Also where the tests run in the background and inherit that Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training, "time", clock)
    monkeypatch.setattr(training, "LOG_EVERY", 3)
    return clock


def started(folder: Path, clock: Clock, profile=TINY, model: str = "model4", **options) -> Run:
    options = {"scale": 2, "seed": 5, "images": PICTURES, "dtype": torch.float32, **options}
    clock.run = None
    run = Run(folder, model, profile, **options)
    clock.run = run
    return run


def state(run: Run) -> dict[str, torch.Tensor]:
    found = dict(run.model.state_dict())
    if run.contrast is not None:
        found |= {f"contrast.{k}": t for k, t in run.contrast.state_dict().items()}
    return found


def assert_same_end(cut: Run, whole: Run) -> None:
    for name, tensor in state(whole).items():
        assert torch.equal(state(cut)[name], tensor), name
    assert cut.log() == whole.log()
    name = "weights.safetensors"
    assert (cut.folder / name).read_bytes() == (whole.folder / name).read_bytes()


_whole: dict[str, Run] = {}


@pytest.fixture
def whole(clock, tmp_path_factory):
    """The uncut run of a recipe, trained once."""

    def trained(recipe: str) -> Run:
        if recipe not in _whole:
            run = started(tmp_path_factory.mktemp(f"whole-{recipe}"), clock, RECIPES[recipe])
            assert run.train(progress=False)
            _whole[recipe] = run
        return _whole[recipe]

    return trained


@pytest.mark.parametrize("cuts", [(2,), (STAGE1,), (7,), (1, 5, 9)])
@pytest.mark.parametrize("recipe", RECIPES)
def test_cut_and_resumed_is_uncut(tmp_path, clock, whole, recipe, cuts):
    expected = whole(recipe)
    for cut in cuts:
        run = started(tmp_path, clock, RECIPES[recipe])
        # The clock gives a minute to each iteration.
        assert not run.train(minutes=cut - run.iteration - 0.5, progress=False)
        assert run.iteration == cut
        assert not (tmp_path / "weights.safetensors").exists()
    last = started(tmp_path, clock, RECIPES[recipe])
    assert last.iteration == cuts[-1]
    assert last.train(progress=False)
    assert_same_end(last, expected)


@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_between_checkpoints_is_uncut(tmp_path, clock, whole, recipe):
    expected = whole(recipe)
    run = started(tmp_path, clock, RECIPES[recipe])
    run.train(minutes=1.5, progress=False)
    old = run.checkpoint.read_bytes()
    run.train(minutes=5.5, progress=False)
    # A power cut: the log is further than the last checkpoint.
    run.checkpoint.write_bytes(old)
    last = started(tmp_path, clock, RECIPES[recipe])
    assert last.iteration == 2
    assert last.train(progress=False)
    assert_same_end(last, expected)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("during", ["stage 1", "the first step of stage 2", "validation"])
def test_ctrl_c_in_the_middle_is_uncut(tmp_path, clock, whole, monkeypatch, recipe, during):
    expected = whole(recipe)
    run = started(tmp_path, clock, RECIPES[recipe])
    run.train(minutes=2.5, progress=False)
    with monkeypatch.context() as patched:
        owner, name = {
            "stage 1": (torch.Tensor, "backward"),
            "the first step of stage 2": (steps.F, "l1_loss"),
            "validation": (training.evaluation, "benchmark"),
        }[during]
        original = getattr(owner, name)

        def interrupted(*args, **kwargs):
            patched.setattr(owner, name, original)
            # After the encoder has seen the batch: its running statistics and, in MoCo, the queue
            # have moved on, the weights have not.
            signal.raise_signal(signal.SIGINT)
            return original(*args, **kwargs)

        patched.setattr(owner, name, interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            run.train(progress=False)
    assert run.iteration < STAGE1 + STAGE2
    last = started(tmp_path, clock, RECIPES[recipe])
    assert last.train(progress=False)
    assert_same_end(last, expected)


def test_an_interrupt_leaves_a_checkpoint(tmp_path, clock, monkeypatch):
    run = started(tmp_path, clock)
    step = run._step

    def interrupted():
        if run.iteration == 3:
            signal.raise_signal(signal.SIGINT)
        return step()

    monkeypatch.setattr(run, "_step", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        run.train(progress=False)
    assert started(tmp_path, clock).iteration in (3, 4)


def test_checkpoints_come_every_so_many_minutes(tmp_path, clock, monkeypatch):
    run = started(tmp_path, clock, replace(TINY, checkpoint_minutes=1.5))
    saved_at: list[int] = []
    monkeypatch.setattr(run, "save_checkpoint", lambda: saved_at.append(run.iteration))
    run.train(minutes=6.5, progress=False)
    assert saved_at == [2, 4, 6, 7]


@pytest.mark.parametrize("name", MODELS)
def test_models_without_contrast_skip_stage_1(tmp_path, clock, name):
    run = started(tmp_path, clock, model=name)
    if name in ("model1", "model5"):
        assert run.contrast is None
        assert [s.iterations for s in run.stages] == [0, STAGE1 + STAGE2]
    else:
        assert [s.iterations for s in run.stages] == [STAGE1, STAGE2]
    assert run.iterations == STAGE1 + STAGE2


@pytest.mark.parametrize("name", ["model1", "model5"])
def test_models_without_contrast_train_and_resume(tmp_path, clock, name):
    uncut = started(tmp_path / "whole", clock, model=name)
    assert uncut.train(progress=False)
    assert {record["stage"] for record in uncut.log()} == {2}
    assert all("sr" in record and "contrastive" not in record for record in uncut.log())
    started(tmp_path / "cut", clock, model=name).train(minutes=4.5, progress=False)
    resumed = started(tmp_path / "cut", clock, model=name)
    assert resumed.iteration == 5
    assert resumed.train(progress=False)
    assert_same_end(resumed, uncut)


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


def test_same_seed_same_weights_and_another_seed_others(tmp_path, clock, whole):
    expected = state(whole("in-batch"))["sr.head.weight"]
    other = started(tmp_path, clock, seed=6)
    other.train(progress=False)
    assert not torch.equal(state(other)["sr.head.weight"], expected)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 6},
        {"model": "model3"},
        {"scale": 3},
        {"profile": replace(TINY, patch=13)},
        {"profile": MOCO},
        {"space": DegradationSpace.anisotropic(2)},
    ],
    ids=["seed", "model", "scale", "patch", "recipe", "space"],
)
def test_a_folder_keeps_its_settings(tmp_path, clock, other):
    started(tmp_path, clock).train(minutes=0.5, progress=False)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match="holds a run with other settings") as error:
        started(tmp_path, clock, **other)
    assert str(tmp_path) in str(error.value)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_run_goes_on_in_the_dtype_it_began_in(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(training, "fastest_dtype", lambda device: torch.bfloat16)
    first = started(tmp_path, clock, dtype=None)
    assert first.dtype == torch.bfloat16
    first.train(minutes=0.5, progress=False)
    monkeypatch.setattr(training, "fastest_dtype", lambda device: torch.float32)
    assert started(tmp_path, clock, dtype=None).dtype == torch.bfloat16
    assert started(tmp_path, clock, dtype=torch.bfloat16).iteration == 1
    with pytest.raises(ValueError, match=r"holds a run in torch.bfloat16, not in torch.float32"):
        started(tmp_path, clock, dtype=torch.float32)


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
    step, given = run._step, []

    def noted():
        out = step()
        given.append([float(value) for value in out])
        return out

    monkeypatch.setattr(run, "_step", noted)
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


def test_the_end_writes_weights_and_record(tmp_path, clock, whole):
    run = whole("in-batch")
    model = weights.load(run.folder / "weights.safetensors")
    assert (model.model, model.scale, model.sizes) == ("model4", 2, TINY.sizes)
    for name, tensor in run.model.state_dict().items():
        stored = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(model.state_dict()[name], stored), name
    record = json.loads((run.folder / "weights.json").read_text())
    assert record["model"] == "model4"
    assert record["scale"] == 2
    assert record["seed"] == 5
    assert record["minutes"] == 10
    assert record["dtype"] == "float32"
    assert record["profile"]["patch"] == 12
    assert record["space"]["widths"] == [0.2, 2.0]
    assert record["log"] == run.log()
    assert {"device", "torch", "commit"} <= set(record["provenance"])


def test_a_finished_run_stays_finished(tmp_path, clock, whole):
    again = started(whole("in-batch").folder, clock)
    assert again.iteration == again.iterations
    assert again.train(progress=False)
    assert_same_end(again, whole("in-batch"))


def test_a_checkpoint_is_whole_or_not_at_all(tmp_path, clock, monkeypatch):
    run = started(tmp_path, clock)
    run.train(minutes=2.5, progress=False)
    old, beside = run.checkpoint.read_bytes(), sorted(tmp_path.iterdir())

    def breaks(state: object, path: Path) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(training.torch, "save", breaks)
        with pytest.raises(OSError, match="no space left"):
            run.train(minutes=1.5, progress=False)
    assert run.checkpoint.read_bytes() == old
    assert sorted(tmp_path.iterdir()) == beside
    assert started(tmp_path, clock).iteration == 3


def test_a_half_written_line_of_the_log_is_no_obstacle(tmp_path, clock, whole):
    run = started(tmp_path, clock)
    run.train(minutes=3.5, progress=False)
    with run.log_path.open("a") as file:
        file.write('{"iteration": 6, "sta')  # killed while writing, after the last checkpoint
    last = started(tmp_path, clock)
    assert last.iteration == 4
    assert last.train(progress=False)
    assert_same_end(last, whole("in-batch"))


def test_a_loss_that_is_no_number_stops_with_a_sentence(tmp_path, clock):
    run = started(tmp_path, clock, model="model1")
    run.train(minutes=1.5, progress=False)
    with torch.no_grad():
        run.model.sr.head.weight[0, 0, 0, 0] = math.nan
    kept = run.checkpoint.read_bytes()
    with pytest.raises(FloatingPointError, match=r"the loss is nan at iteration 2.*learning rate"):
        run.train(progress=False)
    assert [record["iteration"] for record in run.log()] == []
    # Nor is it kept where the checkpoint comes before the next line of the log.
    with pytest.raises(FloatingPointError, match=r"the loss is nan at iteration 2"):
        run.save_checkpoint()
    assert run.checkpoint.read_bytes() == kept


@pytest.mark.parametrize("scale", [2, 4])
def test_the_loss_falls(tmp_path, clock, scale):
    one = replace(
        TINY,
        stage1=Stage(iterations=0, lr=1e-3),
        stage2=Stage(iterations=40, lr=2e-3, batch=3),
        start_as_enlargement=False,
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


def test_load_images_holds_out_of_the_first_dataset_alone(tmp_path, clock):
    for name, count in (("one", 8), ("two", 4)):
        (tmp_path / name).mkdir()
        for i in range(count):
            data.save_image(texture(f"{i}", 12, 12)[1], tmp_path / name / f"{name}{i}.png")
    profile = replace(TINY, data=(str(tmp_path / "one"), str(tmp_path / "two")), held_out=2)
    train, held_out = training.load_images(profile)
    assert [name for name, _ in held_out] == ["one3", "one7"]
    assert len(train) == 10
    assert {name for name, _ in train}.isdisjoint({"one3", "one7"})
