"""§3.2.1: statistics of a part of the batch tell an encoder which key is a query's own.

Several processes that normalise each on its own are a batch in parts. A query and its key are
independent noise here, so nothing in the pictures tells which belong together. An accuracy far from
chance, above or below, comes of the statistics alone. It is far below: values around the mean of
their small part lie on its two sides.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dasrlib.representation import IN_BATCH, ContrastiveLearner, Encoder

BATCH, PROCESSES, ITERATIONS, LAST = 16, 8, 60, 50


class PartedBatchNorm(nn.BatchNorm2d):
    """Queries and keys (2B, …) in parts, each with statistics of its own."""

    def forward(self, x):
        parts = x.unflatten(0, (2, PROCESSES, -1)).transpose(0, 1)  # (N, 2, B/N, …)
        own = [super(PartedBatchNorm, self).forward(part.flatten(0, 1)) for part in parts]
        shape = (2, -1, *x.shape[1:])
        return torch.stack([o.view(shape) for o in own], dim=1).flatten(0, 2)


def accuracy(parted: bool) -> float:
    """The share of queries whose own key is the nearest, over the last iterations of a training."""
    torch.manual_seed(0)
    learner = ContrastiveLearner(Encoder("rgb"), IN_BATCH).train()
    if parted:
        for part in learner.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.__class__ = PartedBatchNorm
    adam = torch.optim.Adam(learner.parameters(), 1e-3)
    hits = 0
    for iteration in range(ITERATIONS):
        query, key = torch.rand(2, BATCH, 3, 8, 8)
        out = learner(query, key)
        adam.zero_grad()
        out.loss.backward()
        adam.step()
        if iteration >= ITERATIONS - LAST:
            hits += int((out.logits.argmax(1) == torch.arange(BATCH)).sum())
    return hits / (LAST * BATCH)


@pytest.mark.slow
def test_statistics_of_a_part_leak_and_those_of_the_batch_do_not():
    shared, parted = accuracy(parted=False), accuracy(parted=True)
    print(f"\naccuracy: {shared:.3f} shared, {parted:.3f} in parts, chance {1 / BATCH:.3f}")
    # 800 queries at chance: 1/16, give or take 0.009.
    assert abs(shared - 1 / BATCH) < 0.03
    assert abs(parted - 1 / BATCH) > 0.04
