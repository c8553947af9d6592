"""What torchrun starts in test_processes: two runs to their ends, then one whose process dies.

The argument is the folder. Each process keeps what it holds at the end of a run.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from tiny_runs import Clock, started
from two_processes_settings import CASES

from dasrlib import training


def train(case: str, name: str, dies_at: int | None = None) -> None:
    clock = training.run.time = Clock()
    profile, space = CASES[case]
    run = started(folder / name, clock, profile, space=space)
    sample = run._sample_batch

    def killed(batch, iteration):
        if iteration == dies_at and run.processes.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return sample(batch, iteration)

    run._sample_batch = killed
    assert run.train(progress=False)
    torch.save(dict(run.learner.state_dict()), folder / f"{name}-{run.processes.rank}.pt")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    training.run.LOG_EVERY = 1
    for case in CASES:
        train(case, case)
    train("queue", "dies", dies_at=2)
