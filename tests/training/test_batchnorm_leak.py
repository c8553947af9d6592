"""§3.2.1: statistics of a part of the batch tell an encoder which key is a query's own.

Several processes that normalise each on its own are a batch in parts. What shows it is the
accuracy: the share of queries whose own key is nearer than any negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from dasrlib import data
from dasrlib.degradation import DegradationSpace
from dasrlib.representation import IN_BATCH, MOCO, ContrastiveLearner, Encoder, l2_normalise
from dasrlib.training.patches import PatchPairs
from dasrlib.training.step import sample_batch

BATCH, PROCESSES, LAST = 16, 8, 50  # the accuracy is over the last iterations
Pairs = Callable[[int], tuple[torch.Tensor, torch.Tensor]]  # iteration -> queries, keys


class PartedBatchNorm(nn.BatchNorm2d):
    """Queries and keys (2B, …), or either (B, …), in parts with statistics of their own."""

    joint = True

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        groups = 2 if self.joint else 1
        parts = x.unflatten(0, (groups, PROCESSES, -1)).transpose(0, 1)  # (N, 2, B/N, …)
        own = [super(PartedBatchNorm, self).forward(part.flatten(0, 1)) for part in parts]
        shape = (groups, -1, *x.shape[1:])
        return torch.stack([o.view(shape) for o in own], dim=1).flatten(0, 2)


def trained(recipe, iterations: int, pairs: Pairs, parted: bool) -> tuple[nn.Module, float]:
    """The learner, and its accuracy over the last iterations."""
    torch.manual_seed(0)
    learner = ContrastiveLearner(Encoder(recipe.encoder_input), recipe).train()
    for part in learner.modules():
        if parted and isinstance(part, nn.BatchNorm2d):
            part.__class__ = PartedBatchNorm
            part.joint = recipe.batchnorm == "joint"
    adam = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], 1e-3)
    own = torch.arange(BATCH) if recipe.negatives == "batch" else torch.zeros(BATCH).long()
    hits = 0
    for iteration in range(iterations):
        out = learner(*pairs(iteration))
        adam.zero_grad()
        out.loss.backward()
        adam.step()
        if iteration >= iterations - LAST:
            hits += int((out.logits.argmax(1) == own).sum())
    return learner.eval(), hits / (LAST * BATCH)


@torch.no_grad()
def held_out_accuracy(learner: nn.Module, pairs: Pairs) -> float:
    """Among the keys of a batch, with the running statistics, which know no batch."""
    hits = 0
    for iteration in range(30):
        p1, p2 = (l2_normalise(learner.query_encoder(x)[1]) for x in pairs(iteration))
        hits += int(((p1 @ p2.T).argmax(1) == torch.arange(BATCH)).sum())
    return hits / (30 * BATCH)


@pytest.mark.slow
def test_pictures_that_tell_nothing_are_at_chance_with_shared_statistics_alone():
    """Independent noise. In parts the accuracy is below chance, and so it does know the own key.

    Values around the mean of a small part lie on its two sides, query and key on opposite ones.
    """

    def noise(iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        return tuple(torch.rand(2, BATCH, 3, 8, 8))

    recipe, chance = replace(IN_BATCH, encoder_input="rgb"), 1 / BATCH
    shared, parted = (trained(recipe, 60, noise, parts)[1] for parts in (False, True))
    print(f"\naccuracy on noise: {shared:.3f} shared, {parted:.3f} in parts, {chance:.3f} chance")
    # 800 queries at chance: 1/16, give or take 0.009.
    assert abs(shared - chance) < 0.03
    assert abs(parted - chance) > 0.04


@pytest.mark.slow
def test_with_a_queue_statistics_of_parts_are_learned_in_place_of_the_degradation(dasr_data):
    train, held_out = data.training_images(["BSDS400"], 20)
    recipe = replace(
        MOCO, encoder_input="high-pass", queue_size=512, momentum=0.99, temperature=0.1
    )
    space = DegradationSpace.isotropic(4)

    def of(pictures: data.Pictures, seed: int) -> Pairs:
        patches = PatchPairs(pictures, 96)
        return lambda i: sample_batch(patches, space, seed, recipe, BATCH, i)[:2]

    found = {}
    for parted in (False, True):
        learner, accuracy = trained(recipe, 200, of(train[:150], 0), parted)
        found[parted] = accuracy, held_out_accuracy(learner, of(held_out, 9))
        words = "in parts" if parted else "shared"
        print(f"\naccuracy, {words}: {accuracy:.3f} in training, {found[parted][1]:.3f} held out")
    assert found[True][0] > found[False][0] + 0.1
    assert found[True][1] < found[False][1]
