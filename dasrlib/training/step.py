"""§4.1 One iteration of training: its batch, the two losses and the update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib import paper
from dasrlib.acceleration.devices import fastest_layout, to_device
from dasrlib.degradation import Degradations, DegradationSpace, degrade
from dasrlib.network import BlindSR, DegradationEncoder
from dasrlib.profiles import Stage
from dasrlib.representation import ContrastiveLearner, ContrastiveRecipe
from dasrlib.training.patches import PatchPairs
from dasrlib.training.processes import ALONE, Processes


class Batch(NamedTuple):
    """What an iteration reads: two LR patches of each of B pictures, and the HR of the first."""

    query: Tensor  # (B, 3, P, P)
    key: Tensor  # (B, 3, P, P)
    hr: Tensor  # (B, 3, sP, sP), of the query
    encoding: Tensor  # (B, 4), the degradations as Model 5 is given them
    widths: Tensor  # (B,), λ1 of the degradations: the labels of a supervised recipe
    degradations: Degradations  # B, on the CPU

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What is on the device."""
        return self.query, self.key, self.hr, self.encoding, self.widths

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with each of these tensors changed."""
        query, key, hr, encoding, widths = map(change, self.tensors)
        return Batch(query, key, hr, encoding, widths, self.degradations)


def sample_batch(
    patches: PatchPairs,
    space: DegradationSpace,
    seed: int,
    recipe: ContrastiveRecipe,
    batch: int,
    iteration: int,
    part: slice = slice(None),
) -> Batch:
    """An iteration's patches, degraded: from (seed, iteration) alone, on the device.

    recipe: says what positives are, and what the pictures of a batch share. batch: B. part: of the
    B, for one of several processes; the same pixels as in the whole batch.
    """
    number = seed * 1_000_003 + iteration
    generator = torch.Generator().manual_seed(number)
    hr = patches.sample(batch, generator, recipe.copies)  # (B, 2, 3, sP, sP)
    degradations = space.sample(batch, generator)
    if recipe.shared_noise and torch.rand((), generator=generator) < recipe.shared_noise:
        levels = degradations.noise[:1].expand(batch)
        degradations = replace(degradations, noise=levels)
    if recipe.positives == "same-degradation":
        # The key's picture is another one than the query's: the batch turned round by one.
        hr = torch.stack([hr[:, 0], hr[:, 1].roll(1, dims=0)], dim=1)
    noise = None
    if degradations.has_noise:  # many numbers: drawn where they are needed
        on_device = torch.Generator(patches.device).manual_seed(number)
        lr_side = patches.patch // space.scale
        shape = (batch, 2, 3, lr_side, lr_side)
        noise = torch.randn(shape, generator=on_device, device=patches.device)
        noise = noise[part].flatten(0, 1)
    hr, degradations = hr[part], degradations[part]
    # Both patches of a pair share a degradation: that is what makes them positives.
    shared = degradations.repeat_interleave(2)
    lr = degrade(hr.flatten(0, 1), shared, None, "fast", noise)  # (2B, 3, P, P)
    labels = degradations.encoding, degradations.lambda1
    encoding, widths = (to_device(t, patches.device) for t in labels)
    layout = fastest_layout(patches.device)
    query, key = (lr[first::2].contiguous(memory_format=layout) for first in (0, 1))
    return Batch(query, key, hr[:, 0], encoding, widths, degradations)


def learning_rate(stage: Stage, iteration: int) -> float:
    """The learning rate of a stage's iteration, counted from 0 (§4.1)."""
    if stage.schedule == "steps":
        return stage.lr * stage.factor ** sum(iteration >= m for m in stage.milestones)
    warm = min(1.0, (iteration + 1) / (stage.warmup + 1))
    return stage.lr * warm * 0.5 * (1 + math.cos(math.pi * iteration / stage.iterations))


class Losses(NamedTuple):
    """An iteration's losses, 0 where there is none."""

    sr: Tensor  # L_SR on the 0..255 scale; of a baseline the sum of its losses
    contrastive: Tensor  # L_degrad
    in_batch: Tensor  # L_degrad with the batch's keys alone as candidates


class AdamStep:
    """An update of weights by Adam: what the steps of all systems share (§4.1).

    Args:
        groups: of the weights. The "lr" of each is a factor of the learning rate of the iteration.
        betas: of Adam.
        dtype: of the autocast.
    """

    def __init__(
        self, groups: list[dict[str, Any]], betas: tuple[float, float], dtype: torch.dtype
    ) -> None:
        self.dtype, self.device = dtype, groups[0]["params"][0].device
        self.factors: list[float] = [group["lr"] for group in groups]
        cuda = self.device.type == "cuda"
        # A CUDA graph would repeat a rate that is a number for ever.
        rates = [torch.zeros((), device=self.device) if cuda else 0.0 for _ in groups]
        self.optimizer = torch.optim.Adam(
            [{**group, "lr": rate} for group, rate in zip(groups, rates, strict=True)],
            betas=betas,
            fused=True,
            capturable=cuda,
        )

    def set_learning_rate(self, rate: float) -> None:
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(factor * rate)
            else:
                group["lr"] = factor * rate

    def resume(self, state: dict[str, Any]) -> None:
        """Adam's moments from a checkpoint, also from one of another kind of device."""
        kept = ("lr", "fused", "capturable", "foreach")
        pairs = zip(state["param_groups"], self.optimizer.param_groups, strict=True)
        groups = [{**stored, **{name: own[name] for name in kept}} for stored, own in pairs]
        self.optimizer.load_state_dict({**state, "param_groups": groups})

    def autocast(self) -> torch.autocast:
        """Computes in the dtype. Without a cache of weights.

        It would outlive their update, and a CUDA graph's capture.
        """
        lower = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype, lower, cache_enabled=False)

    def update(self, loss: Tensor) -> None:
        """Down the gradient of a loss; weights that have none in it stay as they are."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def __call__(self, batch: Batch) -> Losses:
        """One iteration; returns its losses."""
        raise NotImplementedError


class Objective(nn.Module):
    """L_SR and L_degrad of a batch, with the weights that are trained on them (§3.2).

    learner: None for the models without L_degrad. model: None in stage 1.
    """

    def __init__(self, learner: ContrastiveLearner | None, model: BlindSR | None) -> None:
        super().__init__()
        # The encoder is part of both, and counted once.
        self.model, self.learner = model, learner

    def forward(
        self, query: Tensor, key: Tensor, hr: Tensor, encoding: Tensor, widths: Tensor
    ) -> Losses:
        """Of the tensors of a Batch."""
        l_sr = l_degrad = in_batch = torch.zeros((), device=query.device)
        if self.learner is not None:
            out = self.learner(query, key, widths)
            l_degrad, representation, in_batch = out.loss, out.representation, out.in_batch
        elif self.model is not None:
            encoder = self.model.encoder
            if isinstance(encoder, DegradationEncoder):
                representation = encoder.layers(encoding)  # (B, 256)
            else:
                representation = self.model.represent(query)  # (B, 256)
        if self.model is not None:
            sr = self.model.sr(query, representation)  # (B, 3, sP, sP)
            # L1 of SR against HR, first patch, on the 0..255 scale, so that its weight
            # beside L_degrad is the paper's.
            l_sr = 255 * F.l1_loss(sr.float(), hr)
        return Losses(l_sr, l_degrad, in_batch)


class Step(AdamStep):
    """One stage's update of the weights of DASR, and its Adam(0.9, 0.999) (§4.1).

    learner: None for the models without L_degrad. model: None in stage 1, which trains the encoder
    alone. dtype: of the autocast. processes: those that have a part of each batch each.
    """

    def __init__(
        self,
        learner: ContrastiveLearner | None,
        model: BlindSR | None = None,
        dtype: torch.dtype = torch.float32,
        processes: Processes = ALONE,
    ) -> None:
        self.learner, self.model, self.processes = learner, model, processes
        self.trained = Objective(learner, model)
        parameters = [p for p in self.trained.parameters() if p.requires_grad]
        super().__init__([{"params": parameters, "lr": 1.0}], paper.ADAM_BETAS, dtype)
        self.losses = processes.averaging(self.trained)

    def __call__(self, batch: Batch) -> Losses:
        """One update of the weights; returns the losses before it, of the whole batch."""
        self.trained.train()
        with self.autocast():
            losses: Losses = self.losses(*batch.tensors)
        self.update(losses.sr + losses.contrastive)
        if self.processes.count > 1:
            return Losses(*self.processes.mean(torch.stack(losses)))
        return Losses(*(loss.detach() for loss in losses))


def train_stage(
    step: AdamStep,
    stage: Stage,
    sample: Callable[[int, int], Batch],
    done: int = 0,
    before: int = 0,
) -> Iterator[Losses]:
    """The training loop: the losses of what is left of a stage, iteration by iteration (§4.1).

    sample: (B, iteration) -> Batch. done: iterations of the stage so far. before: of earlier ones.
    """
    for iteration in range(done, stage.iterations):
        step.set_learning_rate(learning_rate(stage, iteration))
        yield step(sample(stage.batch, before + iteration))


class LossMeter:
    """Sums the losses since the last line of the log, on the device: adding never waits."""

    def __init__(self, device: torch.device, sums: dict[str, float] | None = None) -> None:
        kept = sums or dict.fromkeys((*Losses._fields, "iterations"), 0)
        self.iterations = int(kept["iterations"])
        self.sums = torch.tensor([float(value) for value in kept.values()]).to(device)

    def add(self, losses: Losses) -> None:
        self.iterations += 1
        self.sums[:-1] += torch.stack(losses)
        # A sum stays NaN or infinite: this counts the iterations before the first such loss.
        self.sums[-1] += self.sums[:-1].sum().isfinite()

    def state(self, iteration: int) -> dict[str, float]:
        """The sums and their number, to go on from; `iteration`: how many there were in all.

        Waits for the device. Raises FloatingPointError where a loss was NaN or infinite.
        """
        *sums, finite = self.sums.tolist()
        if finite < self.iterations:
            raise FloatingPointError(
                f"the loss is {sum(sums)} at iteration "
                f"{iteration - self.iterations + int(finite)}: try a lower learning rate"
            )
        return {**dict(zip(Losses._fields, sums, strict=True)), "iterations": self.iterations}

    def means(self, iteration: int) -> dict[str, float]:
        """The mean of each loss; clears the sums."""
        state = self.state(iteration)
        self.sums.zero_()
        self.iterations = 0
        return {name: state[name] / state["iterations"] for name in Losses._fields}
