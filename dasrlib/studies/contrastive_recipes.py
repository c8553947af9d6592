"""§3.2.1 Ways to teach the encoder: the short profiles' recipe, changed one part at a time, beside
the paper's.

A trial trains an encoder alone for a few hundred iterations. recipe_study judges them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from dasrlib import paper
from dasrlib.acceleration.devices import fastest_dtype, fastest_layout, to_device
from dasrlib.degradation import DegradationSpace, degrade
from dasrlib.profiles import Profile, Stage, learning_rate
from dasrlib.representation import DIMENSION, Encoder, fine_detail, info_nce, unit
from dasrlib.training.patches import PatchPairs

LOG_EVERY = 10  # iterations


@dataclass(frozen=True)
class Recipe:
    """One way to teach the encoder. The defaults are the short profiles' (representation.InBatch).

    negatives: the keys of the "batch", of a "queue", or "both". key_gradient: keys come from the
    encoder itself and pass gradients; False: they do not. momentum: of a key encoder, 0 for none.
    normalisation: "together" (BatchNorm sees queries and keys in one pass), "apart" or "group"
    (GroupNorm). positives: two patches of one "picture", or of two pictures with one "degradation".
    divided: whether the high-pass input is divided by its deviation. labels: regress σ instead.
    """

    input: str = "high-pass"
    negatives: str = "batch"
    key_gradient: bool = True
    momentum: float = 0.0
    normalisation: str = "together"
    temperature: float = 0.1
    positives: str = "picture"
    divided: bool = True
    labels: bool = False


# The paper's, its momentum scaled to a schedule a thousand times shorter.
PAPERS = Recipe(
    input="rgb",
    negatives="queue",
    key_gradient=False,
    momentum=0.99,
    normalisation="apart",
    temperature=paper.TEMPERATURE,
)
SHORT = Recipe()

RECIPES = {
    "the paper's": PAPERS,
    "the paper's, and the batch as negatives": replace(PAPERS, negatives="both"),
    "the paper's, with GroupNorm": replace(PAPERS, normalisation="group"),
    "the paper's, high-pass input": replace(PAPERS, input="high-pass"),
    "short": SHORT,
    "short, RGB input": replace(SHORT, input="rgb"),
    "short, not divided by the deviation": replace(SHORT, divided=False),
    "short, with a queue": replace(
        SHORT, negatives="queue", key_gradient=False, momentum=0.99, normalisation="apart"
    ),
    "short, no gradient through the keys": replace(SHORT, key_gradient=False),
    "short, BatchNorm apart": replace(SHORT, normalisation="apart"),
    "short, GroupNorm": replace(SHORT, normalisation="group"),
    "short, τ = 0.07": replace(SHORT, temperature=paper.TEMPERATURE),
    "short, τ = 0.3": replace(SHORT, temperature=0.3),
    "short, positives from two pictures": replace(SHORT, positives="degradation"),
    "RGB input, positives from two pictures": replace(SHORT, input="rgb", positives="degradation"),
    "labels, RGB input": Recipe(input="rgb", labels=True),
    "labels, high-pass input": Recipe(labels=True),
}
# §4.3's degradations: does noise survive the division by the deviation?
NOISY_RECIPES = {
    name: RECIPES[name]
    for name in ("the paper's", "short", "short, RGB input", "short, not divided by the deviation")
}


class _Undivided(Encoder):
    """The high-pass encoder without the division by the patch's deviation."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        representation = self.features(8 * fine_detail(images)[1])  # 1/8 is a usual deviation
        return representation, self.mlp(representation)


def build_encoder(recipe: Recipe) -> Encoder:
    """An untrained encoder for a recipe: its input, and its kind of normalisation."""
    undivided = recipe.input == "high-pass" and not recipe.divided
    encoder = _Undivided("high-pass") if undivided else Encoder(recipe.input)
    if recipe.normalisation == "group":
        for place, layer in enumerate(encoder.features):
            if isinstance(layer, nn.BatchNorm2d):
                encoder.features[place] = nn.GroupNorm(16, layer.num_features)
    return encoder


class Trial(nn.Module):
    """An encoder and its recipe: forward gives the loss that trains it, and what it would be among
    the batch alone.

    queue_size: of the recipes with a queue.
    """

    queue: Tensor

    def __init__(self, recipe: Recipe, queue_size: int) -> None:
        super().__init__()
        self.recipe, self.encoder = recipe, build_encoder(recipe)
        self.key_encoder = (
            copy.deepcopy(self.encoder).requires_grad_(False) if recipe.momentum else None
        )
        self.read_out = nn.Linear(DIMENSION, 1) if recipe.labels else None
        if recipe.negatives != "batch":
            self.register_buffer("queue", F.normalize(torch.randn(DIMENSION, queue_size), dim=0))

    def _embeddings(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Unit queries and keys, (B, 256) each, as the recipe computes them."""
        if self.recipe.normalisation == "together":
            p1, p2 = unit(self.encoder(torch.cat([query, key]))[1]).chunk(2)
        else:
            p1 = unit(self.encoder(query)[1])
            p2 = unit((self.key_encoder or self.encoder)(key)[1])
        return p1, p2 if self.recipe.key_gradient else p2.detach()

    @torch.no_grad()
    def _follow(self) -> None:
        # θ_key ← m θ_key + (1 − m) θ_query
        if self.key_encoder is not None:
            pairs = zip(self.key_encoder.parameters(), self.encoder.parameters(), strict=True)
            for key, query in pairs:
                key.lerp_(query, 1 - self.recipe.momentum)

    def forward(self, query: Tensor, key: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        """query, key: (B, 3, P, P). widths: (B,), read by the recipe with labels alone. Returns two
        numbers: the loss, and the contrastive loss among the batch's own keys."""
        self._follow()
        if self.read_out is not None:
            guess = self.read_out(self.encoder(query)[0].float())[:, 0]
            return F.mse_loss(guess, widths), torch.zeros(())
        p1, p2 = self._embeddings(query, key)
        with torch.autocast(query.device.type, enabled=False):
            among = p1 @ p2.T / self.recipe.temperature  # the positive on the diagonal
            diagonal = torch.arange(len(p1), device=p1.device)
            in_batch = info_nce(among, diagonal)
            if self.recipe.negatives == "batch":
                loss = (in_batch + info_nce(among.T, diagonal)) / 2
            else:
                old = p1 @ self.queue.clone() / self.recipe.temperature
                first = among if self.recipe.negatives == "both" else among.diagonal()[:, None]
                place = diagonal if self.recipe.negatives == "both" else torch.zeros_like(diagonal)
                loss = info_nce(torch.cat([first, old], dim=1), place)
                # The oldest keys leave at one end, the newest enter at the other.
                self.queue = torch.cat([p2.detach().T, self.queue], dim=1)[:, : self.queue.shape[1]]
        return loss, in_batch.detach()


@dataclass(frozen=True)
class Schedule:
    """How long and on what each trial trains. Patches in LR pixels."""

    stage: Stage
    patch: int
    queue_size: int


def schedule(profile: Profile) -> Schedule:
    """The trials of a profile: minutes on two cores, but for smoke, whose numbers mean nothing."""
    if profile.name == "smoke":
        return Schedule(Stage(iterations=2, lr=1e-3, batch=4), profile.patch, 8)
    return Schedule(Stage(iterations=400, lr=1e-3, warmup=20, batch=16), 32, 1024)


def _draw(
    patches: PatchPairs, space: DegradationSpace, recipe: Recipe, batch: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Query and key patches, (B, 3, P, P) each, and σ, (B,): from the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    hr = patches.sample(batch, generator)  # (B, 2, 3, sP, sP)
    degradations = space.sample(batch, generator)
    if recipe.positives == "degradation":
        # The key's picture is another one than the query's: the batch turned round by one.
        hr = torch.stack([hr[:, 0], hr[:, 1].roll(1, dims=0)], dim=1)
    noise = torch.Generator(patches.device).manual_seed(seed)
    lr = degrade(hr.flatten(0, 1), degradations.repeat_interleave(2), noise, "fast")
    return lr[0::2], lr[1::2], to_device(degradations.lambda1, lr.device)


def train(
    recipe: Recipe,
    plan: Schedule,
    patches: PatchPairs,
    space: DegradationSpace,
    seed: int = 0,
    bar: tqdm | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Encoder, list[dict[str, float]]]:
    """An encoder taught by a recipe, and its log: iteration, loss, and the loss within the batch.

    patches: pictures cut at 4 times plan.patch. The same seed gives every recipe the same patches.
    """
    device = patches.device
    dtype = dtype or fastest_dtype(device)
    torch.manual_seed(seed)
    trial = Trial(recipe, plan.queue_size).to(device).train()
    trial.to(memory_format=fastest_layout(device))  # type: ignore[call-overload]
    optimizer = torch.optim.Adam([p for p in trial.parameters() if p.requires_grad])
    log: list[dict[str, float]] = []
    sums = torch.zeros(2)
    for iteration in range(plan.stage.iterations):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(plan.stage, iteration)
        query, key, widths = _draw(
            patches, space, recipe, plan.stage.batch, seed * 1_000_003 + iteration
        )
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss, in_batch = trial(query, key, widths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums += torch.stack([loss.detach(), in_batch]).cpu()
        if (iteration + 1) % LOG_EVERY == 0:
            row = {"iteration": iteration + 1, "loss": float(sums[0]) / LOG_EVERY}
            if not recipe.labels:
                row["in_batch"] = float(sums[1]) / LOG_EVERY
            log.append({k: round(v, 4) for k, v in row.items()})
            sums.zero_()
        if bar is not None:
            bar.update()
    return trial.encoder.eval(), log
