"""SFTMD: IKC's SR network, in which the kernel's code bends the features of every block.

Assumes blur and bicubic reduction, without noise. Not blind: the kernel is *given*, *predicted* or
*assumed*, as for SRMD; in IKC it is predicted, and then corrected (see ikc).

    SFT(f, c) = f · sigmoid(g₁([f, c])) + g₂([f, c]),    g = W ∗ LeakyReLU(W ∗ ·)
    block:  f + W ∗ ReLU(SFT(W ∗ ReLU(SFT(f, c)), c))

The code c (see kernel_codes) is stretched over the picture and put behind the features, in every
SFT layer, and not behind the LR picture. All convolutions are 3×3 but the last, which is 9×9. The
LeakyReLUs have slope 0.2. RGB in [0, 1], no normalisation, no mean taken off. Full size: 16 blocks,
64 channels, 32 inside g, a code of 10 numbers: 4,086,979, 4,271,619 and 4,234,691 parameters at ×2,
×3 and ×4. (The released class holds a second set of blocks that never runs.)

Training: L1, told the truth; Adam(0.9, 0.99) at 1e-4, a cosine restarted every 125k of 500k
iterations, batch 32, HR patches 256. The released network clamps its output to [0, 1] in training
too, where pixels outside get no gradient; here it clamps in evaluation only, so that a short
schedule that starts badly goes on.

Gu et al., "Blind super-resolution with iterative kernel correction", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.baselines.baseline import ToldBaseline, by_profile
from dasrlib.baselines.kernel_codes import KernelCodes
from dasrlib.baselines.layers import pass_colours, pass_colours_up, shrink, stretched, upsampler
from dasrlib.baselines.predictor import BETAS, SLOPE
from dasrlib.degradation import Degradations, DegradationSpace


@dataclass(frozen=True)
class SftmdSizes:
    """How large SFTMD is. The defaults are IKC's."""

    blocks: int = 16
    channels: int = 64
    hidden: int = 32  # channels inside g
    tail_channels: int = 64  # of the upsampler, and of the 9×9 convolution at SR size
    code: int = 10  # numbers that a kernel is told in


FULL = SftmdSizes()
LAPTOP = SftmdSizes(blocks=3, hidden=16, tail_channels=16, code=15)
SMOKE = SftmdSizes(blocks=1, channels=16, hidden=8, tail_channels=8, code=15)
SIZES = by_profile(FULL, LAPTOP, SMOKE)


class SFT(nn.Module):
    """f · sigmoid(g₁([f, c])) + g₂([f, c])."""

    def __init__(self, sizes: SftmdSizes) -> None:
        super().__init__()
        c, told, hidden = sizes.channels, sizes.channels + sizes.code, sizes.hidden
        self.multiply1 = nn.Conv2d(told, hidden, 3, padding=1)
        self.multiply2 = nn.Conv2d(hidden, c, 3, padding=1)
        self.add1 = nn.Conv2d(told, hidden, 3, padding=1)
        self.add2 = nn.Conv2d(hidden, c, 3, padding=1)

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        """features (B, C, H, W) and the stretched code (B, n, H, W) -> (B, C, H, W)."""
        both = torch.cat([features, maps], dim=1)
        factor = torch.sigmoid(self.multiply2(F.leaky_relu(self.multiply1(both), SLOPE)))
        shift = self.add2(F.leaky_relu(self.add1(both), SLOPE))
        return features * factor + shift


class SFTBlock(nn.Module):
    """f + W ∗ ReLU(SFT(W ∗ ReLU(SFT(f, c)), c))."""

    def __init__(self, sizes: SftmdSizes) -> None:
        super().__init__()
        c = sizes.channels
        self.sft1, self.sft2 = SFT(sizes), SFT(sizes)
        self.conv1 = nn.Conv2d(c, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        """features (B, C, H, W) and the stretched code (B, n, H, W) -> (B, C, H, W)."""
        out = self.conv1(F.relu(self.sft1(features, maps)))
        out = self.conv2(F.relu(self.sft2(out, maps)))
        return features + out


class SFTMD(ToldBaseline):
    """The code in every block (see the top of the file).

    Args:
        scale: 2, 3 or 4.
        space: the kernels that the codes are made for.
        sizes: how large.
    """

    betas = BETAS

    def __init__(self, scale: int, space: DegradationSpace, sizes: SftmdSizes = FULL) -> None:
        super().__init__("sftmd", scale, KernelCodes(space, sizes.code))
        self.sizes = sizes
        c, t = sizes.channels, sizes.tail_channels
        self.conv1 = nn.Conv2d(3, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)
        self.conv3 = nn.Conv2d(c, c, 3, padding=1)
        self.blocks = nn.ModuleList(SFTBlock(sizes) for _ in range(sizes.blocks))
        self.sft = SFT(sizes)
        self.conv = nn.Conv2d(c, c, 3, padding=1)
        self.upsampler = nn.Sequential(*upsampler(c, t, scale, nn.LeakyReLU(SLOPE)))
        self.last = nn.Conv2d(t, 3, 9, padding=4)

    def forward(self, lr: Tensor, code: Tensor) -> Tensor:
        """LR (B, 3, H, W) in [0, 1] and codes (B, n) -> (B, 3, sH, sW).

        In evaluation mode clamped to [0, 1], in training not.
        """
        maps = stretched(code, lr)  # (B, n, H, W)
        shallow = F.leaky_relu(self.conv1(lr), SLOPE)
        shallow = self.conv3(F.leaky_relu(self.conv2(shallow), SLOPE))  # (B, 64, H, W)
        deep = shallow
        for block in self.blocks:
            deep = block(deep, maps)
        deep = self.conv(self.sft(deep + shallow, maps))
        sr = self.last(self.upsampler(deep))  # (B, 3, sH, sW)
        return sr if self.training else sr.clamp(0, 1)

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """L1, told the truth."""
        yield F.l1_loss(self.restore(lr, degradations), hr)

    def init_as_nearest_neighbour(self) -> None:
        """As DASR's: the untrained network repeats every LR pixel. LeakyReLU lets colours pass."""
        for conv in (self.conv1, self.conv2, self.conv3, self.conv):
            pass_colours(conv)
        for block in self.blocks:
            assert isinstance(block, SFTBlock)
            shrink(block.conv2)
        # The factor starts at a half, of twice the colours: they are added to themselves.
        shrink(self.sft.multiply2, self.sft.add2)
        pass_colours_up(self.upsampler)
        pass_colours(self.last, keep=0.1)
