"""Every size, schedule and budget in one table: smoke · laptop · gpu · paper (§4.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dasrlib import errors, paper
from dasrlib.representation import IN_BATCH, MOCO, ContrastiveRecipe


@dataclass(frozen=True)
class Sizes:
    """How large the SR network is. The defaults are the paper's (§3.2.2).

    Args:
        groups: residual groups.
        blocks: DA blocks in each group.
        channels: of the features.
        reduction: how many times narrower the channel modulation is inside.
        tail_channels: of the upsampler; at the full 64 it costs more than 6 DA blocks.
    """

    groups: int = paper.GROUPS
    blocks: int = paper.BLOCKS
    channels: int = paper.FEATURES
    reduction: int = paper.REDUCTION
    tail_channels: int = paper.FEATURES


@dataclass(frozen=True)
class Stage:
    """One stage of training: how many iterations, and the learning rate over them (§4.1).

    Args:
        iterations: how many.
        lr: the learning rate, at its highest.
        schedule: "cosine" (to zero, after a warm-up) or "steps" (times `factor` after each of
            `milestones`).
        warmup: iterations in which a cosine climbs to lr.
        milestones: iterations.
        factor: of each step.
        batch: pictures in a batch, two patches of each.

    Raises:
        ValueError: for another schedule.
    """

    iterations: int
    lr: float
    schedule: Literal["cosine", "steps"] = "cosine"
    warmup: int = 0
    milestones: tuple[int, ...] = ()
    factor: float = 1.0
    batch: int = 32

    def __post_init__(self) -> None:
        errors.check_choices(self)


@dataclass(frozen=True)
class Profile:
    """One column of the table.

    Args:
        name: of the profile.
        purpose: what it is for, and what its results may claim.
        sizes: of the SR network.
        data: names for data.images, to train on.
        held_out: how many pictures of the first of them are kept for choices.
        patch: the side of a training patch, in LR pixels.
        stage1: the encoder alone on L_degrad.
        stage2: everything on L_SR + L_degrad.
        recipe: how the encoder is taught.
        init_as_nearest_neighbour: the SR network starts by repeating pixels, not at random.
        validate_every: iterations of stage 2 between two measurements on the held-out pictures.
        checkpoint_minutes: minutes between two checkpoints.

    Raises:
        ValueError: for a recipe with GroupNorm, which only the recipe study trains.
    """

    name: str
    purpose: str
    sizes: Sizes
    data: tuple[str, ...]
    held_out: int
    patch: int
    stage1: Stage
    stage2: Stage
    recipe: ContrastiveRecipe
    init_as_nearest_neighbour: bool = True
    validate_every: int = 1000
    checkpoint_minutes: float = 2.0

    def __post_init__(self) -> None:
        if self.recipe.batchnorm == "group":
            raise ValueError(
                "a profile's encoder has BatchNorm: choose a recipe with "
                "batchnorm='joint' or 'split', got 'group'"
            )

    @property
    def is_plumbing(self) -> bool:
        """Whether its numbers mean nothing: it only shows that every line runs."""
        return self.name == "smoke"


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
            recipe=IN_BATCH,
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
            recipe=IN_BATCH,
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
            recipe=IN_BATCH,
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
            recipe=MOCO,
            init_as_nearest_neighbour=False,
            checkpoint_minutes=10.0,
        ),
    )
}


def get(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ValueError: for an unknown name, with the nearest one.
    """
    if name not in PROFILES:
        raise ValueError(errors.unknown("profile", name, PROFILES))
    return PROFILES[name]


# MoCo for a schedule that is a hundred times shorter than the paper's.
MOCO_4096 = replace(MOCO, queue_size=4096, momentum=0.995)


def with_moco_recipe(profile: Profile) -> Profile:
    """A short profile with MOCO_4096 in place of its own recipe: RGB input, a queue (§3.2.1)."""
    return replace(profile, recipe=MOCO_4096)
