"""The Predictor: reads the kernel's code off an LR picture.

The first of IKC's three networks. Alone it tells a system that is not blind which kernel to undo
(`baselines.Predicted`): Table 2's rows "SRMDNF + Predictor" and "MZSR + Predictor". It is told
nothing; the kernel that it gives is *predicted*. It knows no noise.

    ĉ = mean(LeakyReLU(W₆ ∗ … LeakyReLU(W₁ ∗ LR)))

Six convolutions 5×5, 64 wide, at LR size on [0, 1]; the fourth has stride 2; the last gives as many
channels as the code has numbers (see kernel_codes), 10 in IKC. A LeakyReLU of slope 0.2 stands
after every one, the last included. The mean is over space. 430,730 parameters at every scale.

Training: ‖ĉ − c‖², the mean; Adam(0.9, 0.99) at 1e-4. A code is long for a narrow kernel and short
for a wide one: 1.0 at σ 0.2, 0.05 at σ 4. So the loss hardly sees wide kernels.

Gu et al., "Blind super-resolution with iterative kernel correction", CVPR 2019. The DASR authors
trained a Predictor of their own for Table 2; how long its code was is not known. 10 numbers fit the
printed size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.acceleration.devices import to_device
from dasrlib.baselines.baseline import Baseline, by_profile, without_noise
from dasrlib.baselines.kernel_codes import KernelCodes, degradations_with
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.errors import check_pictures

SLOPE = 0.2  # of IKC's LeakyReLUs; DASR's are 0.1
BETAS = (0.9, 0.99)  # of IKC's Adam
STRIDES = (1, 1, 1, 2, 1, 1)


@dataclass(frozen=True)
class PredictorSizes:
    """How large the Predictor is. The defaults are IKC's."""

    width: int = 64
    code: int = 10  # numbers that a kernel is told in


FULL = PredictorSizes()
LAPTOP = PredictorSizes(width=32, code=15)
SMOKE = PredictorSizes(width=8, code=15)
SIZES = by_profile(FULL, LAPTOP, SMOKE)


class Predictor(Baseline):
    """LR picture -> code of the kernel (see the top of the file).

    Args:
        scale: of the reduction; the network is the same for all.
        space: the kernels that the codes are made for.
        sizes: how large.
    """

    betas = BETAS

    def __init__(self, scale: int, space: DegradationSpace, sizes: PredictorSizes = FULL) -> None:
        super().__init__("predictor", scale)
        self.codes, self.sizes = KernelCodes(space, sizes.code), sizes
        widths = [3, *[sizes.width] * (len(STRIDES) - 1), sizes.code]
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths, widths[1:], STRIDES, strict=False):
            layers += [nn.Conv2d(before, after, 5, stride, padding=2), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers)

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> ĉ (B, n)."""
        # Codes differ by less than the three digits of bfloat16.
        return self.layers(lr).mean(dim=(-2, -1), dtype=torch.float32)

    def predict(self, lr: Tensor) -> Degradations:
        """The degradations, without noise, whose kernels are the predicted ones."""
        check_pictures(lr)
        return degradations_with(self.codes.kernels(self(lr)), self.scale)

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """Raises TypeError: the Predictor gives a kernel and no picture."""
        raise TypeError(
            "the Predictor gives a kernel and no picture: "
            "baselines.Predicted(predictor, system) tells it to a system"
        )

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """‖ĉ − c‖², the mean over the numbers; HR is not read."""
        yield F.mse_loss(self(lr), self.codes(to_device(degradations.kernels, lr.device)))

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """The same kernels, without noise."""
        return without_noise(space)
