"""§3.2.1 The degradation representation: an encoder, and the contrastive loss that teaches it.

No label says how a picture was degraded. Two patches of one picture share the degradation and are
positives; patches of other pictures are negatives.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib import paper
from dasrlib.errors import check_batch, check_choice, check_choices, check_number

DIMENSION = paper.REPRESENTATION

EncoderInput = Literal["rgb", "high-pass", "high-pass-unnormalised", "high-pass-both"]


def luminance_and_detail(images: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and luminance minus its 5×5 mean: (B, 3, H, W) -> two (B, 1, H, W)."""
    r, g, b = images.split(1, dim=1)
    luminance = 0.299 * r + 0.587 * g + 0.114 * b
    mean = F.avg_pool2d(F.pad(luminance, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    return luminance, luminance - mean


def high_pass(images: Tensor) -> Tensor:
    """Fine detail, which depends on blur more than on content: (B, 3, H, W) -> (B, 1, H, W).

    It is luminance minus its 5×5 mean, divided by luminance's standard deviation. Colour,
    brightness and contrast are lost.
    """
    luminance, detail = luminance_and_detail(images)
    # Divided, a faint texture counts as much as a strong one. The small constant (an eighth of a
    # grey level) keeps a flat patch at zero.
    deviation = luminance.std(dim=(-2, -1), keepdim=True)
    return detail / (deviation + 0.125 / 255)


class Encoder(nn.Module):
    """Six 3×3 convolutions and a global average give the representation, an MLP the embedding.

    The SR network and the t-SNE plots use the representation, the contrastive loss uses the
    embedding (§3.2.1).

    Args:
        encoder_input: "rgb", as in the paper; "high-pass", for schedules too short to learn to
            ignore the content (see high_pass); "high-pass-unnormalised", without the division by
            the deviation, which hides how strong the noise is; "high-pass-both", both as two
            channels.
        groupnorm: GroupNorm in place of BatchNorm.
    """

    def __init__(self, encoder_input: EncoderInput = "rgb", groupnorm: bool = False) -> None:
        super().__init__()
        check_choice("encoder_input", encoder_input, EncoderInput)
        self.encoder_input = encoder_input
        layers: list[nn.Module] = []
        before = {"rgb": 3, "high-pass-both": 2}.get(encoder_input, 1)
        for width, stride in zip(paper.ENCODER_WIDTHS, paper.ENCODER_STRIDES, strict=True):
            layers += [
                nn.Conv2d(before, width, 3, stride=stride, padding=1),
                nn.GroupNorm(16, width) if groupnorm else nn.BatchNorm2d(width),
                nn.LeakyReLU(paper.LEAKY_SLOPE, inplace=True),
            ]
            before = width
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.mlp = nn.Sequential(
            nn.Linear(DIMENSION, DIMENSION),
            nn.LeakyReLU(paper.LEAKY_SLOPE),
            nn.Linear(DIMENSION, DIMENSION),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [0, 1] -> representation (B, 256), embedding (B, 256)."""
        maps = []  # (B, 1, H, W) each
        if self.encoder_input in ("high-pass", "high-pass-both"):
            maps.append(high_pass(images))
        if self.encoder_input in ("high-pass-unnormalised", "high-pass-both"):
            maps.append(8 * luminance_and_detail(images)[1])  # 1/8: a usual deviation
        if maps:
            images = torch.cat(maps, dim=1)
        representation = self.features(images)  # (B, 256)
        return representation, self.mlp(representation)


def info_nce(logits: Tensor, positive: Tensor) -> Tensor:
    """L_degrad = Σ_i −log [ exp(l_i,positive) / Σ_j exp(l_ij) ], as a mean over the batch (§3.2.1).

    It is about ln N for an encoder with random weights.

    Args:
        logits: l = p·p'/τ, (B, N), the positive among them.
        positive: (B,), the positive's column.
    """
    # −log [ exp(p_i¹·p_i²/τ) / ( exp(p_i¹·p_i²/τ) + Σ_j exp(p_i¹·p_queue^j/τ) ) ]
    b = len(positive)
    if logits.ndim != 2 or positive.shape != (b,) or len(logits) != b or logits.numel() == 0:
        raise ValueError(
            f"expected logits (B, N) and a column for each of B, got {tuple(logits.shape)} and "
            f"{tuple(positive.shape)}"
        )
    at_positive = logits.gather(1, positive[:, None])[:, 0]  # (B,)
    return (torch.logsumexp(logits, dim=1) - at_positive).mean()


def l2_normalise(embedding: Tensor) -> Tensor:
    """Embeddings (B, D) at unit length, in float32 at least."""
    wide = embedding.float() if embedding.dtype in (torch.bfloat16, torch.float16) else embedding
    return F.normalize(wide, dim=1)


@dataclass(frozen=True)
class ContrastiveRecipe:
    """One way to train the encoder (§3.2.1). The defaults are the short profiles'."""

    encoder_input: EncoderInput = "high-pass"  # see Encoder
    # The negatives: the other keys of the batch, old keys in a queue, or both.
    negatives: Literal["batch", "queue", "both"] = "batch"
    queue_size: int = 0  # old keys that are kept
    momentum: float = 0.0  # share of its weights that a key encoder keeps in a step; 0: none exists
    temperature: float = 0.1  # τ
    # One pass over queries and keys, a pass each, or a pass each with GroupNorm.
    batchnorm: Literal["joint", "split", "group"] = "joint"
    key_gradient: bool = True  # the gradient also flows through the keys
    # Two patches of one picture, or of two pictures with one degradation.
    positives: Literal["same-picture", "same-degradation"] = "same-picture"
    # Share of the batches whose pictures all have the first one's noise level: there the kernels
    # alone tell positives from negatives.
    shared_noise: float = 0.0
    # How many degradations a picture of the batch has. With 2, one of the negatives shows the same
    # picture, and the degradation alone tells it from the positive.
    copies: int = 1
    supervised: bool = False  # no contrast: the kernel width is regressed from its label

    def __post_init__(self) -> None:
        check_choices(self)
        check_number("queue_size", self.queue_size, at_least=0, whole=True)
        check_number("momentum", self.momentum, at_least=0, below=1)
        check_number("temperature", self.temperature, above=0)
        check_number("shared_noise", self.shared_noise, at_least=0, at_most=1)
        check_number("copies", self.copies, at_least=1, whole=True)
        if (self.queue_size < 1) != (self.negatives == "batch"):
            expected = "0" if self.negatives == "batch" else "at least 1"
            raise ValueError(
                f"queue_size must be {expected} with negatives={self.negatives!r}, "
                f"got {self.queue_size}"
            )
        if self.momentum and (self.key_gradient or self.batchnorm == "joint"):
            raise ValueError(
                f"a key encoder (momentum {self.momentum}) has a separate pass without gradient: "
                'set key_gradient=False and batchnorm="split" or "group"'
            )


IN_BATCH = ContrastiveRecipe()
IN_BATCH_NOISY = ContrastiveRecipe(encoder_input="high-pass-both", shared_noise=0.5, copies=2)
MOCO = ContrastiveRecipe(
    encoder_input="rgb",
    negatives="queue",
    queue_size=paper.QUEUE_SIZE,
    momentum=paper.MOMENTUM,
    temperature=paper.TEMPERATURE,
    batchnorm="split",
    key_gradient=False,
)


class ContrastiveOutput(NamedTuple):
    """What a contrastive step computes."""

    loss: Tensor
    representation: Tensor  # (B, 256), the queries'
    logits: Tensor  # (B, N); the positives are on the diagonal, MoCo's in the first column
    in_batch: Tensor  # the loss with the batch's keys alone as candidates, to compare recipes


class ContrastiveLearner(nn.Module):
    """An encoder, and what its recipe needs to train it (§3.2.1).

    MoCo, the paper's recipe, has a momentum encoder for the keys and a queue of old keys. The short
    recipe needs neither: one encoder sees both patches, and the batch's other keys are the
    negatives.
    """

    queue: Tensor
    queue_start: Tensor
    # Several processes put their parts of a batch together: (B/N, 256) each -> (B, 256).
    gather: Callable[[Tensor], Tensor] | None = None

    def __init__(self, encoder: Encoder, recipe: ContrastiveRecipe = IN_BATCH) -> None:
        super().__init__()
        if not isinstance(recipe, ContrastiveRecipe):
            raise ValueError(f"expected a ContrastiveRecipe, got {recipe!r}")
        self.recipe, self.query_encoder = recipe, encoder
        self.key_encoder = copy.deepcopy(encoder).requires_grad_(False) if recipe.momentum else None
        self.regressor = nn.Linear(DIMENSION, 1) if recipe.supervised else None
        if recipe.queue_size:
            queue = F.normalize(torch.randn(DIMENSION, recipe.queue_size), dim=0)
            self.register_buffer("queue", queue)  # (256, Q), unit columns
            self.register_buffer("queue_start", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def _update_key_encoder(self) -> None:
        # θ_key ← m θ_key + (1 − m) θ_query
        if self.key_encoder is not None:
            pairs = zip(self.key_encoder.parameters(), self.query_encoder.parameters(), strict=True)
            for key, query in pairs:
                key.lerp_(query.detach(), 1 - self.recipe.momentum)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        """Keys (B, 256) replace the oldest entries; after the queue's end comes its beginning."""
        size = self.recipe.queue_size
        places = (self.queue_start + torch.arange(len(keys), device=keys.device)) % size
        # If the batch is larger than the queue, the newest keys fill it.
        self.queue[:, places[-size:]] = keys[-size:].T.to(self.queue.dtype)
        self.queue_start.copy_((self.queue_start + len(keys)) % size)

    def _embed(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The queries' representations, and the unit embeddings p¹, p² of queries and keys."""
        if self.recipe.batchnorm == "joint":
            # One pass: BatchNorm's statistics are of queries and keys together. Separate ones would
            # let the encoder tell queries from keys.
            representation, embedding = self.query_encoder(torch.cat([query, key]))
            p1, p2 = l2_normalise(embedding).chunk(2)
        else:
            representation, embedding = self.query_encoder(query)
            p1 = l2_normalise(embedding)
            p2 = l2_normalise((self.key_encoder or self.query_encoder)(key)[1])
        p2 = p2 if self.recipe.key_gradient else p2.detach()
        if self.gather is not None:
            p1, p2 = self.gather(p1), self.gather(p2)
        return representation[: len(query)], p1, p2

    def forward(
        self, query: Tensor, key: Tensor, widths: Tensor | None = None
    ) -> ContrastiveOutput:
        """The loss of a batch; in training mode it also updates the queue and the key encoder.

        Args:
            query: (B, 3, P, P), a patch of each of B pictures; B ≥ 2 for in-batch negatives.
            key: (B, 3, P, P), another patch with the same degradation.
            widths: (B,), the labels of a supervised recipe; no other recipe reads them.
        """
        check_batch(query, 3)
        if query.shape != key.shape:
            raise ValueError(
                f"query and key must be patches of one shape, got {tuple(query.shape)} and "
                f"{tuple(key.shape)}"
            )
        negatives = self.recipe.negatives
        if self.regressor is not None:
            assert widths is not None, "a supervised recipe needs the labels"
            representation, _ = self.query_encoder(query)
            predicted = self.regressor(representation.float())  # (B, 1)
            loss = F.mse_loss(predicted[:, 0], widths)
            return ContrastiveOutput(loss, representation, predicted, torch.zeros_like(loss))
        if self.training:
            self._update_key_encoder()
        representation, p1, p2 = self._embed(query, key)  # (B, 256) each
        b = len(p1)
        if negatives == "batch" and b < 2:
            raise ValueError(f"in-batch negatives need a batch of at least 2 pictures, got {b}")
        # No autocast from here on: in bfloat16 a similarity, divided by τ, would be off by 0.05.
        with torch.autocast(query.device.type, enabled=False):
            tau = self.recipe.temperature
            with_keys = p1 @ p2.T / tau  # (B, B), p_i¹·p_j²/τ
            diagonal = torch.arange(b, device=with_keys.device)
            in_batch = info_nce(with_keys, diagonal)
            if negatives == "batch":  # both ways: each key also looks for its query
                loss = (in_batch + info_nce(with_keys.T, diagonal)) / 2
                return ContrastiveOutput(loss, representation, with_keys, in_batch.detach())
            # A copy of the queue: it changes below, before the backward pass.
            with_queue = p1 @ self.queue.clone() / tau  # (B, Q), p_i¹·p_queue^j/τ
            if negatives == "queue":  # MoCo: p_i¹·p_i²/τ first, then the queue
                logits = torch.cat([with_keys.diagonal()[:, None], with_queue], dim=1)  # (B, 1 + Q)
                positive = torch.zeros_like(diagonal)
            else:
                logits = torch.cat([with_keys, with_queue], dim=1)  # (B, B + Q)
                positive = diagonal
        if self.training:
            self._enqueue(p2.detach())
        loss = info_nce(logits, positive)
        return ContrastiveOutput(loss, representation, logits, in_batch.detach())
