"""§4.1: two processes with half of a batch each train as one process with the batch does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_runs import started
from torch import nn
from two_processes_settings import CASES, with_batch

from dasrlib import weights
from dasrlib.training import processes
from dasrlib.training.processes import Processes, SharedBatchNorm

HERE = Path(__file__).parent
# Of weights after ten iterations. What is left is rounding, of sums in another order, which Adam's
# first steps magnify: they divide by the gradient's own size.
TOLERANCE = 2e-4


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


@pytest.mark.parametrize("case", CASES)
def test_two_processes_follow_one(tmp_path, clock, both, case):
    folder, ended = both
    profile, space = CASES[case]
    one = started(tmp_path, clock, profile, space=space)
    assert one.train(progress=False)
    assert (folder / f"{case}-0.pt").exists(), ended.stderr[-3000:]
    for name, tensor in one.learner.state_dict().items():
        two = held(folder, case, 0)[name]
        assert (two - tensor).abs().max() <= TOLERANCE, name
    record = weights.record(folder / case / "weights.safetensors")
    assert record.sittings[0]["processes"] == 2
    for ours, right in zip(record.log, one.log(), strict=True):
        assert ours["iteration"] == right["iteration"]
        assert ours["contrastive"] == pytest.approx(right["contrastive"], abs=1e-3)
        assert ours.get("sr", 0) == pytest.approx(right.get("sr", 0), abs=0.02)


@pytest.mark.parametrize("case", CASES)
def test_both_processes_hold_the_same_numbers(both, case):
    first, second = (held(both[0], case, rank) for rank in (0, 1))
    for name, tensor in first.items():
        assert torch.equal(second[name], tensor), name
    assert "queue" in held(both[0], "queue", 0)


def test_a_process_that_dies_ends_the_job_and_leaves_a_checkpoint(tmp_path, clock, both):
    folder, ended = both
    assert ended.returncode != 0
    assert "process 0 of 2 stops: another one is gone" in ended.stderr
    profile, space = CASES["queue"]
    rest = started(folder / "dies", clock, profile_of(folder), space=space)
    assert rest.processes.count == 1
    assert rest.iteration == 6
    assert rest.train(progress=False)
    for name, tensor in held(folder, "queue", 0).items():
        assert (rest.learner.state_dict()[name] - tensor).abs().max() <= TOLERANCE, name
