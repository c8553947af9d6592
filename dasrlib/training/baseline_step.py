"""§4.1 An iteration of the training of a system that DASR is compared with."""

from __future__ import annotations

import torch

from dasrlib.baselines import Baseline
from dasrlib.training.step import AdamStep, Batch, Losses


class BaselineStep(AdamStep):
    """As many updates an iteration as the system has losses; it sees the first patch of a pair.

    A later loss may start from what an earlier one was computed of, as IKC's corrections do: the
    weights are updated before it is asked for. Such losses have a gradient for weights of their
    own alone, so one Adam serves all of them.

    dtype: of the autocast.
    """

    def __init__(self, system: Baseline, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(system.parameter_groups(1.0), system.betas, dtype)
        self.system = system

    def __call__(self, batch: Batch) -> Losses:
        """All updates of an iteration; returns the sum of the losses, each before its update."""
        total = none = torch.zeros((), device=self.device)
        self.system.train()
        losses = self.system.losses(batch.hr, batch.query, batch.degradations)
        while True:
            with self.autocast():
                loss = next(losses, None)
            if loss is None:
                return Losses(total, none, none)
            self.update(loss)
            total = total + loss.detach()
