"""Training runs so small that a test can finish dozens: 12-pixel patches at ×2, ten iterations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from dasrlib import profiles, representation
from dasrlib.profiles import Stage
from dasrlib.training import Run

STAGE1, STAGE2 = 4, 6
TINY = replace(
    profiles.get("smoke"),
    patch=12,
    stage1=Stage(iterations=STAGE1, lr=5e-4, batch=2),
    stage2=Stage(iterations=STAGE2, lr=5e-4, batch=2, warmup=2),
    validate_every=4,
    checkpoint_minutes=1e9,
)
MOCO = replace(TINY, recipe=replace(representation.MOCO, queue_size=5))
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


def started(folder: Path, clock: Clock, profile=TINY, model: str = "model4", **options) -> Run:
    options = {"scale": 2, "seed": 5, "images": PICTURES, "dtype": torch.float32, **options}
    clock.run = None
    run = Run(folder, model, profile, **options)
    clock.run = run
    return run
