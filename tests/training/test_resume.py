"""§4.1: a run can be cut anywhere, resumes to the same end, and its folder keeps what it is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import MOCO, PICTURES, RECIPES, STAGE1, STAGE2, TINY, started

from dasrlib import training, weights
from dasrlib.degradation import DegradationSpace
from dasrlib.training import Run, step


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts():
    """Also where the tests run in the background and inherit that Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def state(run: Run) -> dict[str, torch.Tensor]:
    found = dict(run.model.state_dict())
    if run.learner is not None:
        found |= {f"learner.{k}": t for k, t in run.learner.state_dict().items()}
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
    old = run.checkpoints.path.read_bytes()
    run.train(minutes=5.5, progress=False)
    # A power cut: the log is further than the last checkpoint.
    run.checkpoints.path.write_bytes(old)
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
            "the first step of stage 2": (step.F, "l1_loss"),
            "validation": (training.validation.evaluation, "benchmark"),
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
    sample = run._sample_batch

    def interrupted(batch, iteration):
        if iteration == 3:
            signal.raise_signal(signal.SIGINT)
        return sample(batch, iteration)

    monkeypatch.setattr(run, "_sample_batch", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        run.train(progress=False)
    assert started(tmp_path, clock).iteration in (3, 4)


def test_checkpoints_come_every_so_many_minutes(tmp_path, clock, monkeypatch):
    run = started(tmp_path, clock, replace(TINY, checkpoint_minutes=1.5))
    saved_at: list[int] = []
    monkeypatch.setattr(run, "save_checkpoint", lambda: saved_at.append(run.iteration))
    run.train(minutes=6.5, progress=False)
    assert saved_at == [2, 4, 6, 7]


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


def test_same_seed_same_weights_and_another_seed_others(tmp_path, clock, whole):
    expected = state(whole("in-batch"))["sr.head.weight"]
    other = started(tmp_path, clock, seed=6)
    other.train(progress=False)
    assert not torch.equal(state(other)["sr.head.weight"], expected)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"seed": 6}, "(seed: 5 is stored, 6 was asked for)"),
        ({"model": "model3"}, "(model: 'model4' is stored, 'model3' was asked for)"),
        ({"scale": 3}, "scale: 2 is stored, 3 was asked for"),
        ({"profile": replace(TINY, patch=13)}, "(profile.patch: 12 is stored, 13 was asked for)"),
        ({"profile": MOCO}, "profile.recipe.queue_size: 0 is stored, 5 was asked for"),
        ({"space": DegradationSpace.anisotropic(2)}, "space.noise: 0.0 is stored, 25.0 was asked"),
    ],
    ids=["seed", "model", "scale", "patch", "recipe", "space"],
)
def test_a_folder_keeps_its_settings(tmp_path, clock, other, says):
    started(tmp_path, clock).train(minutes=0.5, progress=False)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match="holds a run with other settings") as error:
        started(tmp_path, clock, **other)
    assert str(tmp_path) in str(error.value)
    assert says in str(error.value)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_run_goes_on_in_the_dtype_it_began_in(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(training.run, "fastest_dtype", lambda device: torch.bfloat16)
    first = started(tmp_path, clock, dtype=None)
    assert first.dtype == torch.bfloat16
    first.train(minutes=0.5, progress=False)
    monkeypatch.setattr(training.run, "fastest_dtype", lambda device: torch.float32)
    assert started(tmp_path, clock, dtype=None).dtype == torch.bfloat16
    assert started(tmp_path, clock, dtype=torch.bfloat16).iteration == 1
    with pytest.raises(ValueError, match=r"holds a run in torch.bfloat16, not in torch.float32"):
        started(tmp_path, clock, dtype=torch.float32)


def test_the_end_writes_weights_and_record(tmp_path, clock, whole):
    run = whole("in-batch")
    model = weights.load(run.folder / "weights.safetensors")
    assert (model.name, model.scale, model.sizes) == ("model4", 2, TINY.sizes)
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
    old, beside = run.checkpoints.path.read_bytes(), sorted(tmp_path.iterdir())

    def breaks(state: object, path: Path) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(training.run.torch, "save", breaks)
        with pytest.raises(OSError, match="no space left"):
            run.train(minutes=1.5, progress=False)
    assert run.checkpoints.path.read_bytes() == old
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


# What a machine does to files


def flip_a_bit(content: bytes) -> bytes:
    """In the middle, where the weights are."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "text": lambda content: b"hello world",
    "half": lambda content: content[: len(content) // 2],
    "a bit": flip_a_bit,
    "an archive of nothing": lambda content: b"PK\3\4" + bytes(40),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_is_used(tmp_path, clock, whole, damage):
    run = started(tmp_path, clock)
    run.train(minutes=2.5, progress=False)
    run.train(minutes=2.5, progress=False)
    path = run.checkpoints.path
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.warns(
        UserWarning, match=r"checkpoint\.pt is damaged .*: going on from iteration 3"
    ):
        last = started(tmp_path, clock)
    assert last.train(progress=False)
    assert_same_end(last, whole("in-batch"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_alone_is_refused_in_one_sentence(tmp_path, clock, damage):
    run = started(tmp_path, clock)
    run.save_checkpoint()
    path = run.checkpoints.path
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged .*remove it to start anew"):
        started(tmp_path, clock)


def test_another_programs_checkpoint_is_refused(tmp_path, clock):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged \(KeyError\)"):
        started(tmp_path, clock)


def test_damaged_lines_of_the_log_are_skipped_and_counted(tmp_path, clock):
    run = started(tmp_path, clock)
    run.train(minutes=3.5, progress=False)
    kept = run.log()
    with run.log_path.open("ab") as file:
        file.write(b"\xff\xfe\n[1, 2]\n")
    with pytest.warns(UserWarning, match=r"log\.jsonl: 2 damaged lines are skipped"):
        assert run.log() == kept


def test_a_second_process_in_the_folder_is_refused(tmp_path, clock):
    run = started(tmp_path, clock)
    words = (
        "import sys, pathlib\n"
        "from dasrlib.training.checkpoint import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", words, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match="another process is training in"):
            run.train(progress=False)
    finally:
        other.communicate()
    assert run.train(progress=False)  # it is free again


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_machine_that_shuts_down_leaves_a_checkpoint(tmp_path, clock, whole, monkeypatch, name):
    if not hasattr(signal, name):
        pytest.skip(f"this system has no {name}")
    run = started(tmp_path, clock)
    iterate = run.iterate

    def told_to_end():
        for losses in iterate():
            if run.iteration == 5:
                signal.raise_signal(getattr(signal, name))
            yield losses

    monkeypatch.setattr(run, "iterate", told_to_end)
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # a test under nohup ignores SIGHUP
    try:
        with pytest.raises(KeyboardInterrupt):
            run.train(progress=False)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    last = started(tmp_path, clock)
    assert last.iteration == 5
    assert last.train(progress=False)
    assert_same_end(last, whole("in-batch"))


def test_the_record_of_a_finished_run_is_not_rewritten(tmp_path, clock):
    started(tmp_path, clock).train(progress=False)
    written = (tmp_path / "weights.json").read_bytes()
    again = started(tmp_path, clock)
    again.provenance = {"device": "another machine"}
    assert again.train(progress=False)
    assert (tmp_path / "weights.json").read_bytes() == written


def test_a_run_goes_on_with_its_own_pictures_alone(tmp_path, clock):
    run = started(tmp_path, clock)
    run.train(minutes=2.5, progress=False)
    changed = [(name, picture.clone()) for name, picture in PICTURES[0]]
    changed[1][1][0, 0, 0] = 1 - changed[1][1][0, 0, 0]
    a, b, c = PICTURES[0]
    others = {
        r"3 other pictures than these 3 \(changed: b\)": changed,
        r"3 other pictures than these 2 \(missing: c\)": [a, b],
        r"3 other pictures than these 3 \(missing: a; new: d\)": [b, c, ("d", a[1])],
        r"3 other pictures than these 3 \(in another order\)": [b, a, c],
    }
    for said, pictures in others.items():
        with pytest.raises(ValueError, match=f"holds a run on {said}: train on the same ones"):
            started(tmp_path, clock, images=(pictures, PICTURES[1]))
    assert started(tmp_path, clock).train(progress=False)
    record = json.loads((tmp_path / "weights.json").read_text())
    assert record["pictures"] == run.pictures
    assert record["pictures"]["count"] == 3


def test_the_record_has_an_entry_for_each_sitting(tmp_path, clock):
    first = started(tmp_path, clock)
    first.train(minutes=2.5, progress=False)
    kept = first.checkpoints.path.read_bytes()
    first.train(minutes=3.5, progress=False)
    first.checkpoints.path.write_bytes(kept)  # what came after it was lost
    second = started(tmp_path, clock)
    second.provenance = {"device": "another machine"}
    second.train(minutes=0, progress=False)
    assert second.train(progress=False)
    sittings = weights.record(tmp_path / "weights.safetensors").sittings
    assert [sitting["iterations"] for sitting in sittings] == [[0, 3], [3, 4], [4, 10]]
    assert [sitting["minutes"] for sitting in sittings] == [3, 1, 6]
    assert [sitting["device"] for sitting in sittings] == [
        first.provenance["device"],
        "another machine",
        "another machine",
    ]


def test_what_killed_writes_left_is_removed_and_nothing_else(tmp_path, clock):
    run = started(tmp_path, clock)
    run.train(minutes=1.5, progress=False)
    before = sorted(tmp_path.iterdir())
    (tmp_path / ".checkpoint.pt.ab_1x9yz.pt").write_bytes(b"half")
    (tmp_path / ".log.jsonl.abcdefgh.jsonl").write_bytes(b"half")
    mine = tmp_path / ".checkpoint.pt.my own copy.pt"
    mine.write_bytes(b"mine")
    run.train(minutes=0.5, progress=False)
    found = [path for path in sorted(tmp_path.iterdir()) if path.name != "checkpoint.previous.pt"]
    assert found == sorted([*before, mine])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sets no limit to a file")
@pytest.mark.parametrize("full_at", ["checkpoint", "log", "weights"])
def test_a_full_disk_is_a_sentence_and_leaves_a_checkpoint(tmp_path, clock, whole, full_at):
    """The system itself refuses to write more; a limit to a file's size stands for the disk."""
    import resource

    run = started(tmp_path, clock)
    run.train(minutes={"weights": 8.5}.get(full_at, 4.5), progress=False)
    at = run.iteration
    largest = {"checkpoint": 100_000, "log": run.log_path.stat().st_size + 20, "weights": 100_000}
    if full_at == "log":
        run._log.begin(at)
        run._log.begin = lambda iteration: None
    if full_at == "weights":
        run.save_checkpoint = lambda: None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest[full_at], hard))
    try:
        with pytest.raises(OSError, match=r"cannot write into .* MB are free.*make room") as error:
            run.train(minutes=3.5 if full_at != "weights" else None, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    last = started(tmp_path, clock)
    assert last.iteration == at
    assert last.train(progress=False)
    assert_same_end(last, whole("in-batch"))


def test_a_real_kill_at_any_moment_is_uncut(tmp_path, clock, whole):
    """Another process, a checkpoint at each iteration, SIGKILL while it writes one."""
    words = (
        "import os, sys, pathlib, signal, torch\n"
        "from dataclasses import replace\n"
        "from tiny_runs import TINY, Clock, started\n"
        "from dasrlib import training\n"
        "clock = training.run.time = Clock()\n"
        "training.run.LOG_EVERY = 3\n"
        "run = started(pathlib.Path(sys.argv[1]), clock, TINY)\n"
        "save = torch.save\n"
        "def killed(state, path):\n"
        "    save(state, path)\n"
        "    if run.iteration == 6:\n"
        "        os.truncate(path, 999)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.save = killed\n"
        "run.profile = replace(run.profile, checkpoint_minutes=0.5)\n"
        "run.train(progress=False)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    ended = subprocess.run(
        [sys.executable, "-c", words, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode in (-9, 1), ended.stderr  # Windows has no SIGKILL
    assert len(list(tmp_path.glob(".checkpoint.pt.*"))) == 1, ended.stderr
    last = started(tmp_path, clock)
    assert last.iteration == 5
    assert last.train(progress=False)
    assert_same_end(last, whole("in-batch"))
    assert list(tmp_path.glob(".checkpoint.pt.*")) == []
