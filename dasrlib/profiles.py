"""Every size, schedule and budget in one table: smoke · laptop · gpu · paper (§4.1)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from dasrlib import errors, paper
from dasrlib.degradation import DegradationSpace
from dasrlib.representation import IN_BATCH, IN_BATCH_NOISY, MOCO, ContrastiveRecipe


@dataclass(frozen=True)
class Sizes:
    """How large the SR network is. The defaults are the paper's (§3.2.2)."""

    groups: int = paper.GROUPS  # residual groups
    blocks: int = paper.BLOCKS  # DA blocks in each group
    channels: int = paper.FEATURES
    reduction: int = paper.REDUCTION  # channels / hidden units of the channel modulation
    tail_channels: int = paper.FEATURES  # of the upsampler, where 64 cost more than 6 DA blocks

    def __post_init__(self) -> None:
        for field in fields(self):
            errors.check_number(field.name, getattr(self, field.name), at_least=1, whole=True)


@dataclass(frozen=True)
class Stage:
    """One stage of training: how many iterations, and the learning rate over them (§4.1)."""

    iterations: int
    lr: float  # the highest learning rate
    # "cosine": a warm-up, then a cosine down to zero. "steps": times `factor` at each milestone.
    schedule: Literal["cosine", "steps"] = "cosine"
    warmup: int = 0  # iterations
    milestones: tuple[int, ...] = ()  # iterations
    factor: float = 1.0
    batch: int = 32  # pictures; two patches of each

    def __post_init__(self) -> None:
        errors.check_choices(self)
        errors.check_number("iterations", self.iterations, at_least=0, whole=True)
        errors.check_number("lr", self.lr, at_least=0)  # 0: to see what the batches alone do
        errors.check_number("warmup", self.warmup, at_least=0, whole=True)
        for milestone in self.milestones:
            errors.check_number("a milestone", milestone, at_least=0, whole=True)
        errors.check_number("factor", self.factor, above=0)
        errors.check_number("batch", self.batch, at_least=1, whole=True)


@dataclass(frozen=True)
class Profile:
    """One column of the table."""

    name: str
    purpose: str
    sizes: Sizes
    data: tuple[str, ...]  # names for data.images, to train on
    held_out: int  # pictures of the first of them, kept for validation
    patch: int  # LR pixels
    stage1: Stage  # the encoder alone on L_degrad
    stage2: Stage  # everything on L_SR + L_degrad
    recipe: ContrastiveRecipe
    init_as_nearest_neighbour: bool = True  # the untrained SR network repeats pixels
    validate_every: int = 1000  # iterations of stage 2
    checkpoint_minutes: float = 2.0

    def __post_init__(self) -> None:
        errors.check_number("held_out", self.held_out, at_least=0, whole=True)
        errors.check_number("patch", self.patch, at_least=1, whole=True)
        errors.check_number("validate_every", self.validate_every, at_least=1, whole=True)
        errors.check_number("checkpoint_minutes", self.checkpoint_minutes, at_least=0)
        parts = {"sizes": Sizes, "stage1": Stage, "stage2": Stage, "recipe": ContrastiveRecipe}
        for name, kind in parts.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        if not self.data:
            raise ValueError("data is empty: name a dataset to train on")
        if self.recipe.batchnorm == "group":
            raise ValueError(
                "only the recipe study has GroupNorm: set batchnorm='joint' or 'split'"
            )

    @property
    def is_plumbing(self) -> bool:
        """Whether it only tests that every line runs: its numbers mean nothing."""
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
    """The profile of that name; raises ValueError with the nearest one for an unknown name."""
    if name not in PROFILES:
        raise ValueError(errors.unknown_name_message("profile", name, PROFILES))
    return PROFILES[name]


def for_space(profile: Profile, space: DegradationSpace) -> Profile:
    """The profile with the recipe for a space: noise needs another short one (§4.3).

    "high-pass" divides by the deviation of a patch, and so hides how strong its noise is.
    """
    if space.noise and profile.recipe == IN_BATCH:
        return replace(profile, recipe=IN_BATCH_NOISY)
    return profile


def with_iterations(profile: Profile, iterations: int) -> Profile:
    """The profile with another length: stage 1 stays as it is, stage 2 has the rest (§4.1).

    Raises:
        ValueError: nothing is left for stage 2.
    """
    first = profile.stage1.iterations
    if iterations <= first:
        raise ValueError(
            f"iterations is {iterations}: must be more than the {first} of stage 1 "
            f"of the profile {profile.name}"
        )
    return replace(profile, stage2=replace(profile.stage2, iterations=iterations - first))


def with_moco_recipe(profile: Profile) -> Profile:
    """The profile with MoCo, for a schedule a hundred times shorter than the paper's (§3.2.1)."""
    return replace(profile, recipe=replace(MOCO, queue_size=4096, momentum=0.995))
