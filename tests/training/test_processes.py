"""§4.1: two processes with half of a batch each train as one process with the batch does."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import PICTURES, TINY, started
from torch import nn
from two_processes_settings import CASES

from dasrlib import training, weights
from dasrlib.degradation import DegradationSpace
from dasrlib.representation import IN_BATCH
from dasrlib.training import processes
from dasrlib.training.patches import PatchPairs
from dasrlib.training.processes import Processes, SharedBatchNorm
from dasrlib.training.step import sample_batch

HERE = Path(__file__).parent
CONVOLUTIONS = ("0", "3", "6", "9", "12", "15")  # of Encoder.features
# What is left is rounding, of sums in another order, which Adam magnifies: it divides a gradient by
# its own size.
OF_WEIGHTS, OF_LOSSES = 5e-5, 2e-3


def followed(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Within OF_WEIGHTS in the mean of each tensor, but for biases before a BatchNorm.

    It takes them away again: their gradient is rounding alone, and Adam makes whole steps of it.
    The running means follow them.
    """
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        in_front = tensor.ndim == 1 and name.rsplit(".", 2)[-2] in CONVOLUTIONS
        if (in_front and "features" in name) or name.endswith("running_mean"):
            continue
        assert (found[name] - tensor).float().abs().mean() <= OF_WEIGHTS, name


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folder that two processes left, and what they said at the end."""
    pytest.importorskip("lightning_fabric", reason="several processes need Lightning Fabric")
    folder = tmp_path_factory.mktemp("both")
    places = [str(HERE), str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [sys.executable, *torchrun, str(HERE / "two_processes.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return folder, ended


def held(folder: Path, case: str, rank: int) -> dict[str, torch.Tensor]:
    return torch.load(folder / f"{case}-{rank}.pt", weights_only=True)


@pytest.fixture
def one(tmp_path, monkeypatch, clock):
    """The run of a case in this process."""
    monkeypatch.setattr(training.run, "LOG_EVERY", 1)

    def trained(case: str) -> training.Run:
        profile, space = CASES[case]
        run = started(tmp_path, clock, profile, space=space)
        assert run.train(progress=False)
        return run

    return trained


@pytest.mark.parametrize("case", CASES)
def test_two_processes_follow_one(both, one, case):
    folder, ended = both
    assert (folder / f"{case}-0.pt").exists(), ended.stderr[-3000:]
    run = one(case)
    followed(held(folder, case, 0), run.learner.state_dict())
    record = weights.record(folder / case / "weights.safetensors")
    assert record.sittings[0]["processes"] == 2
    for ours, right in zip(record.log, run.log(), strict=True):
        assert ours["iteration"] == right["iteration"]
        for loss in ("contrastive", "sr"):
            assert ours.get(loss, 0) == pytest.approx(right.get(loss, 0), abs=OF_LOSSES)


@pytest.mark.parametrize("case", CASES)
def test_both_processes_hold_the_same_numbers(both, case):
    """The queue among them: its keys came from both, in one order."""
    first, second = (held(both[0], case, rank) for rank in (0, 1))
    for name, tensor in first.items():
        assert torch.equal(second[name], tensor), name
    if case == "queue":
        assert int(first["queue_start"]) == 3 * 4 % first["queue"].shape[1]


def test_a_process_that_dies_ends_the_job_and_leaves_a_checkpoint(both, clock):
    folder, ended = both
    assert ended.returncode != 0
    # torchrun may end the other process before that one can say its own sentence.
    said = "process 0 of 2 stops: another one is gone" in ended.stderr
    assert said or "Signal 9 (SIGKILL)" in ended.stderr
    assert said == ("run the same command again" in ended.stderr)
    profile, space = CASES["queue"]
    rest = started(folder / "dies", clock, profile, space=space)  # one process goes on
    assert rest.iteration == 2
    assert rest.train(progress=False)
    followed(dict(rest.learner.state_dict()), held(folder, "queue", 0))


# Without other processes


def of_two(rank: int) -> Processes:
    found = Processes()
    found.count, found.rank = 2, rank
    return found


def test_the_parts_of_a_batch_are_the_batch():
    batch = torch.arange(6)
    parts = [batch[of_two(rank).part_of(6)] for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), batch)
    assert torch.equal(batch[Processes().part_of(6)], batch)


@pytest.mark.parametrize("space", [DegradationSpace.isotropic(2), DegradationSpace.photo(2)])
def test_a_part_has_the_pixels_that_it_has_in_the_whole_batch(space):
    patches = PatchPairs(PICTURES[0], 24)
    for recipe in (IN_BATCH, replace(IN_BATCH, positives="same-degradation")):
        whole = sample_batch(patches, space, 3, recipe, 4, 7)
        parts = [
            sample_batch(patches, space, 3, recipe, 4, 7, of_two(rank).part_of(4))
            for rank in (0, 1)
        ]
        for tensor, *halves in zip(whole.tensors, *(part.tensors for part in parts), strict=True):
            torch.testing.assert_close(torch.cat(halves), tensor, atol=1.01 / 255, rtol=0)
        noise = torch.cat([part.degradations.noise for part in parts])
        assert torch.equal(noise, whole.degradations.noise)


def test_shared_statistics_are_those_of_the_whole_batch():
    """Both parts are in this process: the second is what `gather` adds."""
    torch.manual_seed(1)
    whole, x = nn.BatchNorm2d(5), torch.randn(6, 5, 4, 3) * 3 + 2
    nn.init.normal_(whole.weight)
    expected = whole(x)
    shared = nn.Sequential(nn.BatchNorm2d(5))
    shared[0].load_state_dict({**nn.BatchNorm2d(5).state_dict(), "weight": whole.weight.detach()})
    parts = of_two(0)
    other = torch.stack([x[3:].mean((0, 2, 3)), x[3:].var((0, 2, 3), unbiased=False)])[None]
    parts.gather = lambda own: torch.cat([own, other])
    parts.share_batchnorm(shared)
    assert isinstance(shared[0], SharedBatchNorm)
    torch.testing.assert_close(shared(x[:3]), expected[:3])
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(shared[0].state_dict()[name], value)
    torch.testing.assert_close(shared.eval()(x), whole.eval()(x))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"profile": TINY}, "3 processes cannot share a batch of 2 equally"),
        ({"model": "srmdnf"}, "srmdnf is trained by one process, not by 3"),
    ],
)
def test_what_several_processes_cannot_train_is_refused(
    tmp_path, clock, monkeypatch, options, said
):
    three = Processes()
    three.count = 3
    monkeypatch.setattr(processes, "started", lambda: three)
    with pytest.raises(ValueError, match=said):
        started(tmp_path, clock, **options)


def test_fabric_is_asked_for_in_a_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.started() is processes.ALONE  # a cluster's, not torchrun's
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ImportError, match="several processes need Lightning Fabric: pip install"):
        processes.started()


def test_only_a_lost_connection_is_a_lost_process():
    two = of_two(1)
    with pytest.raises(RuntimeError, match="process 1 of 2 stops"), two.loss_told():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    for told in (two, Processes()):
        with pytest.raises(RuntimeError, match=r"^out of memory$"), told.loss_told():
            raise RuntimeError("out of memory")
