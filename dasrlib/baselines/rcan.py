"""RCAN: the deepest of the networks for bicubic reduction, with channel attention.

Assumes bicubic reduction, and is told nothing. It never saw another blur.

    block:  f + CA(W₂ ∗ ReLU(W₁ ∗ f)),    CA(f) = f · sigmoid(V₂ ReLU(V₁ mean(f)))
    group:  f + W ∗ block(… block(f)),     body:  f + W ∗ group(… group(f))

mean(f) is over space, so each channel gets one factor. All convolutions are 3×3 with biases, and
there is no normalisation. The network computes on 0..255 with the mean of DIV2K taken off;
`forward` takes and gives [0, 1]. Full size: 10 groups of 20 blocks, 64 channels, V₁ 64→4. That is
15,444,643, 15,629,283 and 15,592,355 parameters at ×2, ×3 and ×4. The released class has 24 more,
its two shifts by the mean, which it trains by accident. Here they are constants.

Training: L1, Adam at 1e-4, halved every 200 of 1000 epochs of 1000 iterations; batch 16, LR patches
48×48.

Zhang et al., "Image super-resolution using very deep residual channel attention networks", ECCV
2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib import paper
from dasrlib.baselines.baseline import Baseline, bicubic_alone, by_profile
from dasrlib.baselines.layers import pass_colours, pass_colours_up, shrink, upsampler
from dasrlib.degradation import Degradations, DegradationSpace


@dataclass(frozen=True)
class RcanSizes:
    """How large RCAN is. The defaults are the paper's."""

    groups: int = 10
    blocks: int = 20  # in each group
    channels: int = 64
    reduction: int = 16  # channels / hidden units of the attention
    tail_channels: int = 64  # of the upsampler


FULL = RcanSizes()
LAPTOP = RcanSizes(groups=2, blocks=3, tail_channels=16)  # as Model 4's
SMOKE = RcanSizes(groups=1, blocks=1, channels=16, reduction=4, tail_channels=16)
SIZES = by_profile(FULL, LAPTOP, SMOKE)


class ChannelAttention(nn.Module):
    """CA(f) = f · sigmoid(V₂ ReLU(V₁ mean(f)))."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // reduction, 1)
        self.conv2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        mean = features.mean(dim=(-2, -1), keepdim=True)  # (B, C, 1, 1)
        return features * torch.sigmoid(self.conv2(F.relu(self.conv1(mean))))


class AttentionBlock(nn.Module):
    """f + CA(W₂ ∗ ReLU(W₁ ∗ f))."""

    def __init__(self, sizes: RcanSizes) -> None:
        super().__init__()
        c = sizes.channels
        self.conv1 = nn.Conv2d(c, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)
        self.attention = ChannelAttention(c, sizes.reduction)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return features + self.attention(self.conv2(F.relu(self.conv1(features))))


class AttentionGroup(nn.Module):
    """Blocks and a 3×3 convolution; the group's input is added."""

    def __init__(self, sizes: RcanSizes) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(AttentionBlock(sizes) for _ in range(sizes.blocks)))
        self.conv = nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return features + self.conv(self.blocks(features))


class RCAN(Baseline):
    """Residual groups in a residual, then the upsampler (see the top of the file)."""

    mean: Tensor

    def __init__(self, scale: int, sizes: RcanSizes = FULL) -> None:
        super().__init__("rcan", scale)
        self.sizes = sizes
        c, t = sizes.channels, sizes.tail_channels
        self.register_buffer("mean", torch.tensor(paper.RGB_MEAN).view(3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.groups = nn.Sequential(*(AttentionGroup(sizes) for _ in range(sizes.groups)))
        self.conv = nn.Conv2d(c, c, 3, padding=1)
        self.upsampler = nn.Sequential(*upsampler(c, t, scale))
        self.last = nn.Conv2d(t, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, sH, sW), not clamped."""
        shallow = self.head((lr - self.mean) * 255)  # (B, 64, H, W)
        deep = shallow + self.conv(self.groups(shallow))
        out = self.last(self.upsampler(deep))  # (B, 3, sH, sW)
        return out / 255 + self.mean

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """L1 on the 0..255 scale; degradations are not read."""
        yield 255 * F.l1_loss(self(lr), hr)

    def init_as_nearest_neighbour(self) -> None:
        """As DASR's: the untrained network repeats every LR pixel."""
        pass_colours(self.head)
        shrink(self.conv)
        pass_colours_up(self.upsampler)
        pass_colours(self.last, keep=0.1)

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """Bicubic reduction alone."""
        return bicubic_alone(space.scale)
