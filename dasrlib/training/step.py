"""§4.1 One iteration of training: what it reads, the two losses and the update."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib import paper
from dasrlib.network import BlindSR, ToldEncoder
from dasrlib.representation import InBatch, MoCo


class Batch(NamedTuple):
    """What an iteration reads: two LR patches of each of B pictures, and the HR of the first."""

    query: Tensor  # (B, 3, P, P)
    key: Tensor  # (B, 3, P, P)
    hr: Tensor  # (B, 3, sP, sP)
    code: Tensor  # (B, 4), the degradations as Model 5 is told them


class Step:
    """One stage's update of the weights, and its Adam(0.9, 0.999) (§4.1).

    contrast: None for the models without L_degrad. with_sr: stage 2, everything on
    L_SR + L_degrad; stage 1 is the encoder alone on L_degrad. dtype: of the autocast.
    """

    def __init__(
        self,
        model: BlindSR,
        contrast: MoCo | InBatch | None,
        with_sr: bool,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model, self.contrast, self.with_sr, self.dtype = model, contrast, with_sr, dtype
        parameters = list((model if with_sr else model.encoder).parameters())
        self.device = parameters[0].device
        cuda = self.device.type == "cuda"
        # In a recording the learning rate cannot be a number, which would be the same for ever.
        rate = torch.zeros((), device=self.device) if cuda else 0.0
        self.optimizer = torch.optim.Adam(
            parameters, rate, betas=paper.ADAM_BETAS, fused=True, capturable=cuda
        )

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def resume(self, state: dict[str, Any]) -> None:
        """Adam's moments from a checkpoint, also from one of another kind of device."""
        here = ("lr", "fused", "capturable", "foreach")
        groups = [
            {**stored, **{name: group[name] for name in here}}
            for stored, group in zip(
                state["param_groups"], self.optimizer.param_groups, strict=True
            )
        ]
        self.optimizer.load_state_dict({**state, "param_groups": groups})

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """L_SR on the 0..255 scale and L_degrad; 0 where there is none."""
        l_sr = l_degrad = torch.zeros((), device=self.device)
        self.model.train()
        # Without autocast's cache of weights: what it holds would outlive a recording.
        with torch.autocast(
            self.device.type, self.dtype, self.dtype != torch.float32, cache_enabled=False
        ):
            if self.contrast is not None:
                l_degrad, representation, _ = self.contrast.train()(batch.query, batch.key)
            elif isinstance(self.model.encoder, ToldEncoder):
                representation = self.model.encoder.layers(batch.code)
            else:
                representation = self.model.represent(batch.query)
            if self.with_sr:
                sr = self.model.sr(batch.query, representation)
                # L1 of SR against HR, first patch, on the 0..255 scale, so that its weight
                # beside L_degrad is the paper's.
                l_sr = 255 * F.l1_loss(sr.float(), batch.hr)
        return l_sr, l_degrad

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One update of the weights; returns the losses before it."""
        l_sr, l_degrad = self.losses(batch)
        self.optimizer.zero_grad(set_to_none=True)
        (l_sr + l_degrad).backward()
        self.optimizer.step()
        return l_sr.detach(), l_degrad.detach()


class Losses:
    """The sums of the losses since the last line of the log, on the device: adding never waits."""

    def __init__(
        self,
        device: torch.device,
        sr: float = 0.0,
        contrastive: float = 0.0,
        iterations: int = 0,
    ) -> None:
        self.iterations = iterations
        self.sums = torch.tensor([sr, contrastive, float(iterations)]).to(device)

    def add(self, l_sr: Tensor, l_degrad: Tensor) -> None:
        """Another iteration's losses."""
        self.iterations += 1
        self.sums[:2] += torch.stack([l_sr, l_degrad])
        # What is no number stays in a sum: this counts the iterations up to the first of them.
        self.sums[2] += self.sums[:2].sum().isfinite()

    def read(self, iteration: int) -> dict[str, float]:
        """The sums and how many iterations they are of, waiting for the device.

        iteration: how many there have been. Raises FloatingPointError where one of them gave no
        number.
        """
        sr, contrastive, finite = self.sums.tolist()
        if finite < self.iterations:
            raise FloatingPointError(
                f"the loss is {sr + contrastive} at iteration "
                f"{iteration - self.iterations + int(finite)}: try a lower learning rate"
            )
        return {"sr": sr, "contrastive": contrastive, "iterations": self.iterations}
