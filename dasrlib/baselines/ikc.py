"""IKC: guess the kernel, look at the SR picture that follows from it, correct the guess.

Assumes isotropic Gaussian blur of σ in [0.2, 4.0] at ×4, bicubic reduction and no noise. Blind: the
kernel is *predicted* from the LR picture and then corrected. A kernel that is told too wide leaves
ringing in the SR picture, one that is told too narrow leaves blur, and the Corrector sees which.

    c₀ = P(y),    x_t = F(y, c_t),    c_{t+1} = c_t + Δ(x_t, c_t),    t = 0 … 6

y is LR, P the Predictor, F the SFTMD, C = c + Δ the Corrector. The answer is x₆, the last of seven
pictures. (The released test keeps the best of the seven by PSNR against the truth, per picture.)

Δ: seven convolutions 5×5 on the SR picture, 64 wide, of strides 1 2 1 2 1 1 1, and two linear
layers on the code, stretched; both together go through three 1×1 convolutions; the mean over space.
LeakyReLUs of slope 0.2 stand between all of them and not after the last. The Corrector has 649,930
parameters, all three networks 5,315,351 at ×4.

Training: F alone first (see sftmd). Then P and C, with F frozen: one update of P on ‖c − P(y)‖²,
then seven of C, each on ‖c − C(x, ĉ)‖², whose output is the next ĉ. Adam(0.9, 0.99) at 1e-4, 5,000
iterations in the released settings.

At laptop size P is trained beforehand, since a short schedule is too short for it. Its errors are
small then, and a Corrector that sees no others learns to leave every code as it is. So half of the
pictures of a batch start from the code of another one (`pushed`). This is ours.

Its released networks expect LR pictures of their own making, which are half a grey level darker
than ours: the blurred picture is cut to 8 bit, not rounded, and reduced by Pillow.

Gu et al., "Blind super-resolution with iterative kernel correction", CVPR 2019.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.acceleration.devices import to_device
from dasrlib.baselines import predictor, sftmd
from dasrlib.baselines.baseline import Baseline, by_profile, without_noise
from dasrlib.baselines.layers import stretched
from dasrlib.baselines.predictor import BETAS, SLOPE, Predictor, PredictorSizes
from dasrlib.baselines.sftmd import SFTMD, SftmdSizes
from dasrlib.degradation import Degradations, DegradationSpace

STRIDES = (1, 2, 1, 2, 1, 1, 1)


@dataclass(frozen=True)
class IkcSizes:
    """How large IKC's networks are, and how often it corrects. The defaults are the paper's."""

    sftmd: SftmdSizes = field(default_factory=SftmdSizes)
    predictor: PredictorSizes = field(default_factory=PredictorSizes)
    corrector_width: int = 64
    pictures: int = 7  # x₀ … x₆
    training_corrections: int = 7  # in an iteration of the training
    pushed: float = 0.0  # share of a training batch that starts from another picture's code


FULL = IkcSizes()
LAPTOP = IkcSizes(
    sftmd.LAPTOP, predictor.LAPTOP, corrector_width=32, training_corrections=4, pushed=0.5
)
SMOKE = IkcSizes(sftmd.SMOKE, predictor.SMOKE, corrector_width=8, training_corrections=2)
SIZES = by_profile(FULL, LAPTOP, SMOKE)


class Corrector(nn.Module):
    """(x, c) -> c + Δ(x, c): what an SR picture says about the code that it was made with."""

    def __init__(self, code: int, width: int = 64) -> None:
        super().__init__()
        w = width
        layers: list[nn.Module] = []
        for before, stride in zip([3, *[w] * 6], STRIDES, strict=True):
            layers += [nn.Conv2d(before, w, 5, stride, padding=2), nn.LeakyReLU(SLOPE)]
        self.picture = nn.Sequential(*layers)
        self.code = nn.Sequential(
            nn.Linear(code, w), nn.LeakyReLU(SLOPE), nn.Linear(w, w), nn.LeakyReLU(SLOPE)
        )
        self.both = nn.Sequential(
            nn.Conv2d(2 * w, 2 * w, 1), nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * w, w, 1), nn.LeakyReLU(SLOPE),
            nn.Conv2d(w, code, 1),
        )  # fmt: skip

    def forward(self, sr: Tensor, code: Tensor) -> Tensor:
        """SR (B, 3, sH, sW) in [0, 1] and the code (B, n) it was made with -> a better code."""
        seen = self.picture(sr)  # (B, 64, sH/4, sW/4)
        both = torch.cat([seen, stretched(self.code(code), seen)], dim=1)
        delta = self.both(both).mean(dim=(-2, -1), dtype=torch.float32)  # (B, n)
        return code + delta


class IKC(Baseline):
    """Predict, restore, correct (see the top of the file). SFTMD is frozen.

    Args:
        scale: 2, 3 or 4.
        space: the kernels that the codes are made for.
        sizes: how large.
    """

    betas = BETAS

    def __init__(self, scale: int, space: DegradationSpace, sizes: IkcSizes = FULL) -> None:
        super().__init__("ikc", scale)
        if sizes.predictor.code != sizes.sftmd.code:
            raise ValueError(
                f"the Predictor gives {sizes.predictor.code} numbers, "
                f"SFTMD reads {sizes.sftmd.code}: both must be equal"
            )
        self.sizes = sizes
        self.sftmd = SFTMD(scale, space, sizes.sftmd).requires_grad_(False)
        self.predictor = Predictor(scale, space, sizes.predictor)
        self.corrector = Corrector(sizes.sftmd.code, sizes.corrector_width)
        self.train()

    def train(self, mode: bool = True) -> IKC:
        """As of every module, but the frozen SFTMD stays in evaluation mode."""
        super().train(mode)
        self.sftmd.eval()
        return self

    def use_sftmd(self, trained: SFTMD) -> None:
        """Takes over a trained SFTMD and the codes that it was trained with."""
        self.sftmd.load_state_dict(trained.state_dict())
        self.predictor.codes.load_state_dict(trained.codes.state_dict())

    def iterate(self, lr: Tensor, code: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """c_t (B, n) and x_t (B, 3, sH, sW), for t = 0, 1, 2, … without an end.

        code: c₀, to start from another one than the predicted, such as a wrong one.
        """
        code = self.predictor(lr) if code is None else code
        while True:
            sr = self.sftmd(lr, code)
            yield code, sr
            code = self.corrector(sr, code)

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> x₆ (B, 3, sH, sW)."""
        pictures = (sr for _, sr in self.iterate(lr))
        return next(itertools.islice(pictures, self.sizes.pictures - 1, None))

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """‖c − P(y)‖², then ‖c − C(x, ĉ)‖² for each correction; HR is not read.

        Each loss has a gradient for P or for C alone. What came out before its update is where the
        next correction starts.
        """
        truth = self.predictor.codes(to_device(degradations.kernels, lr.device))
        code = self.predictor(lr)
        yield F.mse_loss(code, truth)
        pushed = torch.arange(len(code), device=code.device) < self.sizes.pushed * len(code)
        code = torch.where(pushed[:, None], truth.roll(1, dims=0), code)
        for _ in range(self.sizes.training_corrections):
            code = code.detach()
            with torch.no_grad():
                sr = self.sftmd(lr, code)
            code = self.corrector(sr, code)
            yield F.mse_loss(code, truth)

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """The same kernels, without noise."""
        return without_noise(space)
