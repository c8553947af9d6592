"""§3.2.1 The degradation representation: an encoder, and the contrastive loss that teaches it.

No label says how a picture was degraded. Two patches of one picture share the degradation and are
positives; patches of other pictures are negatives.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib import paper

DIMENSION = paper.REPRESENTATION
INPUTS = ("rgb", "high-pass")


def fine_detail(images: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and what of it is finer than its 5×5 mean.

    images: (B, 3, H, W) in [0, 1]. Returns two (B, 1, H, W).
    """
    r, g, b = images.split(1, dim=1)
    luminance = 0.299 * r + 0.587 * g + 0.114 * b
    mean = F.avg_pool2d(F.pad(luminance, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    return luminance, luminance - mean


def high_pass(images: Tensor) -> Tensor:
    """What blur changes and content hardly does: luminance minus its 5×5 mean, at unit deviation.

    images: (B, 3, H, W) in [0, 1]. Returns (B, 1, H, W); colour, brightness and contrast are gone.
    """
    luminance, detail = fine_detail(images)
    # Over the patch's own deviation, so that a faint texture counts like a strong one. The small
    # constant (an eighth of a grey level) keeps a flat patch at zero.
    deviation = luminance.std(dim=(-2, -1), keepdim=True)
    return detail / (deviation + 0.125 / 255)


class Encoder(nn.Module):
    """Six 3×3 convolutions and a global average: picture -> representation; then an MLP ->
    embedding.

    Widths 64, 64, 128, 128, 256, 256, each followed by BatchNorm and LeakyReLU; the first 128 and
    the first 256 have stride 2.
    input: "rgb", the paper's, or "high-pass", for schedules too short to learn to look past the
    content (see high_pass). The SR network and the t-SNE plots read the representation, the
    contrastive loss reads the embedding (§3.2.1).
    """

    def __init__(self, input: str = "rgb") -> None:
        super().__init__()
        if input not in INPUTS:
            raise ValueError(f"encoder input must be one of {INPUTS}, got {input!r}")
        self.input = input
        layers: list[nn.Module] = []
        before = 3 if input == "rgb" else 1
        for width, stride in zip(paper.ENCODER_WIDTHS, paper.ENCODER_STRIDES, strict=True):
            layers += [
                nn.Conv2d(before, width, 3, stride=stride, padding=1),
                nn.BatchNorm2d(width),
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
        if self.input == "high-pass":
            images = high_pass(images)
        representation = self.features(images)
        return representation, self.mlp(representation)


def info_nce(logits: Tensor, positive: Tensor) -> Tensor:
    """L_degrad = Σ_i −log [ exp(l_i,positive) / Σ_j exp(l_ij) ], as a mean over the batch (§3.2.1).

    logits l = p·p'/τ: (B, N), the positive among them. positive: (B,), the positive's column.
    It is about ln N for an encoder that knows nothing.
    """
    # −log [ exp(p_i¹·p_i²/τ) / ( exp(p_i¹·p_i²/τ) + Σ_j exp(p_i¹·p_queue^j/τ) ) ]
    at_positive = logits.gather(1, positive[:, None])[:, 0]
    return (torch.logsumexp(logits, dim=1) - at_positive).mean()


def unit(embedding: Tensor) -> Tensor:
    """Embeddings (B, D) at unit length, in float32 at least."""
    wide = embedding.float() if embedding.dtype in (torch.bfloat16, torch.float16) else embedding
    return F.normalize(wide, dim=1)


class Contrast(NamedTuple):
    """One contrastive step: the loss, the queries' representations (B, 256), the logits (B, N)."""

    loss: Tensor
    representation: Tensor
    logits: Tensor


class MoCo(nn.Module):
    """The paper's contrastive learning: a momentum encoder for the keys and a queue of old keys
    (§3.2.1).

    queue_size: how many negatives are kept. momentum: the share of its weights that the key encoder
    keeps in each step. temperature: τ.
    """

    queue: Tensor
    queue_start: Tensor

    def __init__(
        self,
        encoder: Encoder,
        queue_size: int = 8192,
        momentum: float = 0.999,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        if queue_size < 1:
            raise ValueError(f"queue_size must be at least 1, got {queue_size}")
        self.query_encoder = encoder
        self.key_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.momentum, self.temperature = momentum, temperature
        self.register_buffer("queue", F.normalize(torch.randn(DIMENSION, queue_size), dim=0))
        self.register_buffer("queue_start", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def _update_key_encoder(self) -> None:
        # θ_key ← m θ_key + (1 − m) θ_query
        pairs = zip(self.key_encoder.parameters(), self.query_encoder.parameters(), strict=True)
        for key, query in pairs:
            key.lerp_(query.detach(), 1 - self.momentum)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        """Keys (B, 256) replace the oldest entries; any B, round the end of the queue."""
        size = self.queue.shape[1]
        places = (self.queue_start + torch.arange(len(keys), device=keys.device)) % size
        # Of a batch larger than the queue only the newest keys find a place.
        self.queue[:, places[-size:]] = keys[-size:].T.to(self.queue.dtype)
        self.queue_start.copy_((self.queue_start + len(keys)) % size)

    def forward(self, query: Tensor, key: Tensor) -> Contrast:
        """query, key: (B, 3, H, W), two patches of each of B pictures. Logits: the positive
        first."""
        representation, embedding = self.query_encoder(query)
        p1 = unit(embedding)
        with torch.no_grad():
            if self.training:
                self._update_key_encoder()
            p2 = unit(self.key_encoder(key)[1])
        # Divided by τ, a similarity in bfloat16 would be off by 0.05: autocast ends here.
        with torch.autocast(query.device.type, enabled=False):
            with_positive = (p1 * p2).sum(dim=1, keepdim=True)  # p_i¹·p_i²
            with_negatives = p1 @ self.queue.clone()  # p_i¹·p_queue^j; the queue changes below
        logits = torch.cat([with_positive, with_negatives], dim=1) / self.temperature
        if self.training:
            self._enqueue(p2)
        first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return Contrast(info_nce(logits, first), representation, logits)


class InBatch(nn.Module):
    """Contrastive learning for a short schedule: the negatives are the batch's other keys.

    One encoder sees both patches and both pass gradients; there is no queue and no momentum.
    Positives are the paper's, two patches of one picture. With a high-pass input a short queue
    learns nearly as much; this takes half the encoders and no warm-up.
    """

    def __init__(self, encoder: Encoder, temperature: float = 0.1) -> None:
        super().__init__()
        self.query_encoder = encoder
        self.temperature = temperature

    def forward(self, query: Tensor, key: Tensor) -> Contrast:
        """query, key: (B, 3, H, W), two patches of each of B ≥ 2 pictures. Logits: the positive on
        the diagonal."""
        b = len(query)
        if b < 2:
            raise ValueError(f"in-batch negatives need a batch of at least 2 pictures, got {b}")
        # One pass over both halves: BatchNorm sees queries and keys together and marks neither.
        representation, embedding = self.query_encoder(torch.cat([query, key]))
        p1, p2 = unit(embedding).chunk(2)
        with torch.autocast(query.device.type, enabled=False):  # as in MoCo
            logits = p1 @ p2.T / self.temperature
        diagonal = torch.arange(b, device=logits.device)
        loss = (info_nce(logits, diagonal) + info_nce(logits.T, diagonal)) / 2
        return Contrast(loss, representation[:b], logits)
