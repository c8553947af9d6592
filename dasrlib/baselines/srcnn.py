"""SRCNN: three convolutions that sharpen an enlarged picture.

Assumes bicubic reduction, and is told nothing: without a kernel, it cannot know how wide the blur
is. Its training sees no other blur than that of the reduction.

    SR_Y = W₃ ∗ ReLU(W₂ ∗ ReLU(W₁ ∗ (LR↑s)_Y)),    SR_Cb, SR_Cr = (LR↑s)_Cb, (LR↑s)_Cr

↑s is bicubic: the picture is enlarged first, and then its luminance Y is sharpened. The
convolutions are 9×9 to 64 channels, 5×5 to 32, 5×5 to 1, with zeros at the borders and no skip: the
network outputs Y itself. 57,281 parameters, at every scale the same.

Training: mean squared error on Y, Adam at 1e-4, in the last layer at 1e-5.

Dong et al., "Image super-resolution using deep convolutional networks", TPAMI 2016. The sizes and
the schedule are those of the PyTorch version of yjn870; the paper's base network has 1×1 in the
middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.baselines.baseline import Baseline, bicubic_alone, by_profile
from dasrlib.baselines.layers import pass_colours
from dasrlib.degradation import Degradations, DegradationSpace, resize_bicubic

LAST_LAYER_RATE = 0.1  # of the others' learning rate


@dataclass(frozen=True)
class SrcnnSizes:
    """How large SRCNN is. The defaults are full size, which two cores can train."""

    widths: tuple[int, int] = (64, 32)
    kernel_sizes: tuple[int, int, int] = (9, 5, 5)


FULL = LAPTOP = SrcnnSizes()
SMOKE = SrcnnSizes(widths=(8, 8))
SIZES = by_profile(FULL, LAPTOP, SMOKE)


def luminance(images: Tensor) -> Tensor:
    """RGB (B, 3, H, W) in [0, 1] -> Y (B, 1, H, W) of BT.601, from 16/255 to 235/255."""
    r, g, b = images.split(1, dim=1)
    return (16 + 65.481 * r + 128.553 * g + 24.966 * b) / 255


class SRCNN(Baseline):
    """Enlarges by bicubic, and sharpens the luminance (see the top of the file)."""

    def __init__(self, scale: int, sizes: SrcnnSizes = FULL) -> None:
        super().__init__("srcnn", scale)
        self.sizes = sizes
        (n1, n2), (k1, k2, k3) = sizes.widths, sizes.kernel_sizes
        self.conv1 = nn.Conv2d(1, n1, k1, padding=k1 // 2)
        self.conv2 = nn.Conv2d(n1, n2, k2, padding=k2 // 2)
        self.conv3 = nn.Conv2d(n2, 1, k3, padding=k3 // 2)

    def sharpen(self, y: Tensor) -> Tensor:
        """The network: luminance (B, 1, H, W) of an enlarged picture -> the same, sharper."""
        out = F.relu(self.conv1(y))  # (B, 64, H, W)
        out = F.relu(self.conv2(out))  # (B, 32, H, W)
        return self.conv3(out)

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, sH, sW), not clamped."""
        enlarged = resize_bicubic(lr, self.scale)
        y = luminance(enlarged)
        # With Cb and Cr as they are, a change of Y changes R, G and B by 255/219 of it each.
        return enlarged + 255 / 219 * (self.sharpen(y) - y)

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """‖sharpened Y − Y of HR‖², the mean over pixels; degradations are not read."""
        y = luminance(resize_bicubic(lr, self.scale))
        yield F.mse_loss(self.sharpen(y), luminance(hr))

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """The last layer learns ten times slower than the others, on purpose."""
        first = [*self.conv1.parameters(), *self.conv2.parameters()]
        last = [*self.conv3.parameters()]
        return [{"params": first, "lr": rate}, {"params": last, "lr": LAST_LAYER_RATE * rate}]

    def init_as_nearest_neighbour(self) -> None:
        """For a short schedule: the untrained network gives back the enlarged picture, nearly."""
        pass_colours(self.conv1, channels=1)
        pass_colours(self.conv2, channels=1)
        pass_colours(self.conv3, keep=0.1, channels=1)

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """Bicubic reduction alone."""
        return bicubic_alone(space.scale)
