"""What the tests share: where pictures and golden arrays are, and one way to be deterministic."""

from __future__ import annotations

import os
from pathlib import Path

# Before matplotlib and torch are imported: no window, and no more threads than a laptop has; one
# where pytest-xdist runs a process per core.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault(
    "OMP_NUM_THREADS",
    "1" if "PYTEST_XDIST_WORKER" in os.environ else str(min(4, os.cpu_count() or 1)),
)
# A thread that waits for another sleeps: where the cores are shared, spinning takes them away.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
import torch

# Triton reads it when the kernels are imported: without a GPU its interpreter runs them.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

ROOT = Path(__file__).parents[1]


class Golden:
    """The arrays the authors' released code computes: `golden("network")["x4_sr"]`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of NAME.npz, by their names."""
        with np.load(self.folder / f"{name}.npz", allow_pickle=False) as arrays:
            return dict(arrays)


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # what scikit-learn falls back on


@pytest.fixture
def clock(monkeypatch):
    """Training at a minute an iteration, with a line of the log every third."""
    # Here, as most tests need no training.
    from tiny_runs import Clock

    from dasrlib import training

    clock = Clock()
    monkeypatch.setattr(training.run, "time", clock)
    monkeypatch.setattr(training.run, "LOG_EVERY", 3)
    return clock


@pytest.fixture(scope="session")
def dasr_data() -> Path:
    """The folder of datasets, DASR_DATA; a test that needs it is skipped where there is none."""
    folder = os.environ.get("DASR_DATA")
    if not folder:
        pytest.skip("DASR_DATA is not set: no datasets on this machine")
    if not Path(folder).is_dir():
        pytest.skip(f"DASR_DATA is {folder}, which is not a folder")
    return Path(folder)


@pytest.fixture(scope="session")
def golden() -> Golden:
    """The golden arrays, from DASR_GOLDEN or the folder `golden` beside DASR_DATA; else skipped."""
    folder = os.environ.get("DASR_GOLDEN")
    if not folder and os.environ.get("DASR_DATA"):
        folder = str(Path(os.environ["DASR_DATA"]).parent / "golden")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no golden arrays on this machine: set DASR_GOLDEN to their folder")
    return Golden(Path(folder))
