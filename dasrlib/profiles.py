"""Every size, schedule and budget in one table: smoke · laptop · gpu · paper (§4.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dasrlib import errors, paper


@dataclass(frozen=True)
class Sizes:
    """How large the SR network is. The defaults are the paper's (§3.2.2).

    tail_channels: the width of the upsampler; at the full 64 it costs more than 6 DA blocks.
    """

    groups: int = paper.GROUPS
    blocks: int = paper.BLOCKS
    channels: int = paper.FEATURES
    reduction: int = paper.REDUCTION
    tail_channels: int = paper.FEATURES


@dataclass(frozen=True)
class Stage:
    """One stage of training: how many iterations, and the learning rate over them.

    schedule: "cosine" (to zero, after a warm-up) or "steps" (times `factor` after each of
    `milestones`, in iterations).
    """

    iterations: int
    lr: float
    schedule: str = "cosine"
    warmup: int = 0
    milestones: tuple[int, ...] = ()
    factor: float = 1.0
    batch: int = 32


def learning_rate(stage: Stage, iteration: int) -> float:
    """The learning rate of a stage's iteration, counted from 0 (§4.1)."""
    if stage.schedule == "steps":
        return stage.lr * stage.factor ** sum(iteration >= m for m in stage.milestones)
    warm = min(1.0, (iteration + 1) / (stage.warmup + 1))
    return stage.lr * warm * 0.5 * (1 + math.cos(math.pi * iteration / stage.iterations))


@dataclass(frozen=True)
class Profile:
    """One column of the table. Patches are in LR pixels, `data` lists names for data.images.

    recipe: "moco", the paper's contrastive learning, or "in-batch", for short schedules.
    start_as_enlargement: the SR network starts by repeating pixels, not at random.
    """

    name: str
    purpose: str
    sizes: Sizes
    data: tuple[str, ...]
    held_out: int
    patch: int
    stage1: Stage
    stage2: Stage
    recipe: str
    encoder_input: str
    temperature: float
    start_as_enlargement: bool
    queue_size: int = paper.QUEUE_SIZE
    momentum: float = paper.MOMENTUM
    validate_every: int = 1000
    checkpoint_minutes: float = 2.0


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke",
            purpose="CI: every line runs; its numbers mean nothing",
            sizes=Sizes(groups=1, blocks=1, channels=16, tail_channels=16),
            data=("samples",),
            held_out=2,
            patch=16,
            stage1=Stage(iterations=10, lr=5e-4, batch=4),
            stage2=Stage(iterations=10, lr=5e-4, batch=4),
            recipe="in-batch",
            encoder_input="high-pass",
            temperature=0.1,
            start_as_enlargement=True,
            validate_every=5,
        ),
        Profile(
            name="laptop",
            purpose="two CPU cores, an hour a model: the ordering of the models, cleaner clusters",
            sizes=Sizes(groups=2, blocks=3, tail_channels=16),
            data=("BSDS400",),
            held_out=20,
            patch=32,
            stage1=Stage(iterations=200, lr=1e-3, warmup=20, batch=16),
            stage2=Stage(iterations=5800, lr=8e-4, warmup=100, batch=8),
            recipe="in-batch",
            encoder_input="high-pass",
            temperature=0.1,
            start_as_enlargement=True,
            validate_every=500,
        ),
        Profile(
            name="gpu",
            purpose="one modern GPU, ten minutes a model: close to the printed numbers",
            sizes=Sizes(),
            data=("BSDS400",),
            held_out=20,
            patch=48,
            stage1=Stage(iterations=2000, lr=1e-3, warmup=100, batch=32),
            stage2=Stage(iterations=30_000, lr=4e-4, warmup=500, batch=32),
            recipe="in-batch",
            encoder_input="high-pass",
            temperature=0.1,
            start_as_enlargement=True,
        ),
        Profile(
            name="paper",
            purpose="the paper's schedule: 600 epochs of 1000 iterations",
            sizes=Sizes(),
            data=("DIV2K", "Flickr2K"),
            held_out=20,
            patch=48,
            # 100 epochs, lr 1e-3, 1e-4 after epoch 60; an epoch is 1000 iterations.
            stage1=Stage(100_000, 1e-3, "steps", milestones=(60_000,), factor=0.1),
            # 500 epochs, lr 1e-4, halved every 125.
            stage2=Stage(
                500_000, 1e-4, "steps", milestones=(125_000, 250_000, 375_000), factor=0.5
            ),
            recipe="moco",
            encoder_input="rgb",
            temperature=paper.TEMPERATURE,
            start_as_enlargement=False,
            checkpoint_minutes=10.0,
        ),
    )
}


def get(name: str) -> Profile:
    """The profile of that name; raises ValueError with the nearest one for an unknown name."""
    if name not in PROFILES:
        raise ValueError(errors.unknown_name_message("profile", name, PROFILES))
    return PROFILES[name]


def with_papers_recipe(profile: Profile) -> Profile:
    """A short profile with the paper's way to teach the encoder in place of its own (§3.2.1).

    RGB input, MoCo's queue and its temperature; queue and momentum are scaled to a schedule that is
    a hundred times shorter.
    """
    return replace(
        profile,
        recipe="moco",
        encoder_input="rgb",
        temperature=paper.TEMPERATURE,
        queue_size=paper.QUEUE_SIZE // 2,
        momentum=0.995,
    )
