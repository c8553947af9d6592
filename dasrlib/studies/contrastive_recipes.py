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
    IN_BATCH_NOISY,
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
# Old keys can pass no gradient, and need an encoder of their own: MoCo but for the input and the
# temperature.
SHORT_QUEUE = replace(MOCO_1024, encoder_input="high-pass", temperature=IN_BATCH.temperature)

moco, short = partial(replace, MOCO_1024), partial(replace, IN_BATCH)
TRIALS = {  # title in the figures, and recipe
    "moco": ("MoCo, queue 1024", MOCO_1024),
    "moco-both": ("MoCo, and the batch as negatives", moco(negatives="both")),
    "moco-groupnorm": ("MoCo, with GroupNorm", moco(batchnorm="group")),
    "moco-high-pass": ("MoCo, high-pass input", moco(encoder_input="high-pass")),
    "short": ("short", IN_BATCH),
    "short-rgb": ("short, RGB input", short(encoder_input="rgb")),
    "short-unnormalised": (
        "short, not divided by the deviation",
        short(encoder_input="high-pass-unnormalised"),
    ),
    "short-queue": ("short, with a queue", SHORT_QUEUE),
    "short-no-key-gradient": ("short, no gradient through the keys", short(key_gradient=False)),
    "short-split": ("short, BatchNorm apart", short(batchnorm="split")),
    "short-groupnorm": ("short, GroupNorm", short(batchnorm="group")),
    "short-tau-0.07": ("short, τ = 0.07", short(temperature=paper.TEMPERATURE)),
    "short-tau-0.3": ("short, τ = 0.3", short(temperature=0.3)),
    "short-two-pictures": (
        "short, positives from two pictures",
        short(positives="same-degradation"),
    ),
    "short-rgb-two-pictures": (
        "RGB input, positives from two pictures",
        short(encoder_input="rgb", positives="same-degradation"),
    ),
    "labels-rgb": ("labels, RGB input", short(encoder_input="rgb", supervised=True)),
    "labels-high-pass": ("labels, high-pass input", short(supervised=True)),
}
# §4.3's degradations: does noise survive the division by the deviation, and with which input do
# noise and kernel both?
NOISY_TRIALS = {
    **{key: TRIALS[key] for key in ("moco", "short", "short-rgb", "short-unnormalised")},
    "short-both": ("short, both maps", short(encoder_input="high-pass-both")),
    "short-noisy": ("both maps, shared noise, copies", IN_BATCH_NOISY),
}


@dataclass(frozen=True)
class Schedule:
    """How long and on what each trial trains."""

    stage: Stage
    patch: int  # LR pixels


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
    """An encoder taught by a recipe, and its log: iteration, loss, and the loss within the batch.

    The same seed gives every recipe the same patches. patches: of the scale times plan.patch
    pixels. bar: moves on with each iteration.
    """
    device = patches.device
    torch.manual_seed(seed)
    learner = ContrastiveLearner(build_encoder(recipe), recipe).to(device)
    learner.to(memory_format=fastest_layout(device))  # type: ignore[call-overload]
    if recipe.queue_size:
        learner.queue.copy_(learner.queue.flip(1))  # as the recorded trials began
    step, meter = Step(learner, dtype=dtype or fastest_dtype(device)), LossMeter(device)
    sample = partial(sample_batch, patches, space, seed, recipe)
    log: list[dict[str, float]] = []
    for iteration, losses in enumerate(train_stage(step, plan.stage, sample), start=1):
        meter.add(losses)
        if iteration % LOG_EVERY == 0:
            means = meter.means(iteration)
            log.append({"iteration": iteration, "loss": round(means["contrastive"], 4)})
            if not recipe.supervised:
                log[-1]["in_batch"] = round(means["in_batch"], 4)
        if bar is not None:
            bar.update()
    return learner.query_encoder.eval(), log
