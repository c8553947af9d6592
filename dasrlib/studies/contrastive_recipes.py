"""§3.2.1 Ways to teach the encoder: the short recipe and MoCo's, changed one part at a time.

A trial trains an encoder alone for a few hundred iterations. recipe_study judges them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from tqdm.auto import tqdm

from dasrlib import paper
from dasrlib.acceleration.devices import fastest_dtype, fastest_layout
from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Profile, Stage
from dasrlib.representation import (
    IN_BATCH,
    MOCO,
    ContrastiveLearner,
    ContrastiveRecipe,
    Encoder,
)
from dasrlib.training.patches import PatchPairs
from dasrlib.training.step import LossMeter, Step, sample_batch, train_stage

LOG_EVERY = 10  # iterations

# MoCo for the trials, which have 400 iterations in place of the paper's 100,000.
MOCO_1024 = replace(MOCO, queue_size=1024, momentum=0.99)


@dataclass(frozen=True)
class TitledRecipe:
    """A row of the study: a recipe, and its title in the figures."""

    title: str
    recipe: ContrastiveRecipe


TRIALS = {
    "moco": TitledRecipe("MoCo, queue 1024", MOCO_1024),
    "moco-both": TitledRecipe(
        "MoCo, and the batch as negatives", replace(MOCO_1024, negatives="both")
    ),
    "moco-groupnorm": TitledRecipe("MoCo, with GroupNorm", replace(MOCO_1024, batchnorm="group")),
    "moco-high-pass": TitledRecipe(
        "MoCo, high-pass input", replace(MOCO_1024, encoder_input="high-pass")
    ),
    "short": TitledRecipe("short", IN_BATCH),
    "short-rgb": TitledRecipe("short, RGB input", replace(IN_BATCH, encoder_input="rgb")),
    "short-unnormalised": TitledRecipe(
        "short, not divided by the deviation",
        replace(IN_BATCH, encoder_input="high-pass-unnormalised"),
    ),
    "short-queue": TitledRecipe(
        # Old keys can pass no gradient, and need an encoder of their own: MoCo but for the input
        # and the temperature.
        "short, with a queue",
        replace(MOCO_1024, encoder_input="high-pass", temperature=IN_BATCH.temperature),
    ),
    "short-no-key-gradient": TitledRecipe(
        "short, no gradient through the keys", replace(IN_BATCH, key_gradient=False)
    ),
    "short-split": TitledRecipe("short, BatchNorm apart", replace(IN_BATCH, batchnorm="split")),
    "short-groupnorm": TitledRecipe("short, GroupNorm", replace(IN_BATCH, batchnorm="group")),
    "short-tau-0.07": TitledRecipe(
        "short, τ = 0.07", replace(IN_BATCH, temperature=paper.TEMPERATURE)
    ),
    "short-tau-0.3": TitledRecipe("short, τ = 0.3", replace(IN_BATCH, temperature=0.3)),
    "short-two-pictures": TitledRecipe(
        "short, positives from two pictures", replace(IN_BATCH, positives="same-degradation")
    ),
    "short-rgb-two-pictures": TitledRecipe(
        "RGB input, positives from two pictures",
        replace(IN_BATCH, encoder_input="rgb", positives="same-degradation"),
    ),
    "labels-rgb": TitledRecipe(
        "labels, RGB input", replace(IN_BATCH, encoder_input="rgb", supervised=True)
    ),
    "labels-high-pass": TitledRecipe("labels, high-pass input", replace(IN_BATCH, supervised=True)),
}
# §4.3's degradations: does noise survive the division by the deviation?
NOISY_TRIALS = {key: TRIALS[key] for key in ("moco", "short", "short-rgb", "short-unnormalised")}


@dataclass(frozen=True)
class Schedule:
    """How long and on what each trial trains. Patches in LR pixels."""

    stage: Stage
    patch: int


def schedule(profile: Profile) -> Schedule:
    """The trials' schedule: minutes on two cores, but for smoke, whose numbers mean nothing."""
    if profile.is_plumbing:
        return Schedule(Stage(iterations=2, lr=1e-3, batch=4), profile.patch)
    return Schedule(Stage(iterations=400, lr=1e-3, warmup=20, batch=16), 32)


def build_encoder(recipe: ContrastiveRecipe) -> Encoder:
    """An untrained encoder for a recipe."""
    return Encoder(recipe.encoder_input, groupnorm=recipe.batchnorm == "group")


def train(
    recipe: ContrastiveRecipe,
    plan: Schedule,
    patches: PatchPairs,
    space: DegradationSpace,
    seed: int = 0,
    bar: tqdm | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Encoder, list[dict[str, float]]]:
    """An encoder taught by a recipe. The same seed gives every recipe the same patches.

    Args:
        recipe: how.
        plan: how long.
        patches: pictures cut at the scale times plan.patch.
        space: of the degradations.
        seed: of the weights, the patches and the degradations.
        bar: moves on with each iteration.

    Returns:
        The encoder, and its log: iteration, loss, and the loss within the batch.
    """
    device = patches.device
    dtype = dtype or fastest_dtype(device)
    torch.manual_seed(seed)
    learner = ContrastiveLearner(build_encoder(recipe), recipe).to(device)
    learner.to(memory_format=fastest_layout(device))  # type: ignore[call-overload]
    if recipe.queue_size:
        learner.queue.copy_(learner.queue.flip(1))  # as the recorded trials began
    step, meter = Step(learner, dtype=dtype), LossMeter(device)
    sample = partial(sample_batch, patches, space, seed, recipe.positives)
    log: list[dict[str, float]] = []
    for iteration, losses in enumerate(train_stage(step, plan.stage, sample), start=1):
        meter.add(losses)
        if iteration % LOG_EVERY == 0:
            means = meter.means(iteration)
            row = {"iteration": iteration, "loss": round(means["contrastive"], 4)}
            if not recipe.supervised:
                row["in_batch"] = round(means["in_batch"], 4)
            log.append(row)
        if bar is not None:
            bar.update()
    return learner.query_encoder.eval(), log
