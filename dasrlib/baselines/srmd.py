"""SRMD and SRMDNF: a plain network that is told the degradation at every pixel.

Assumes blur with a Gaussian kernel, bicubic reduction, and for SRMD noise: the degradation model of
this library. Not blind: the kernel is *given*, as the truth, as a Predictor's guess
(`baselines.Predicted`) or as one fixed kernel (`baselines.Assumed`). SRMDNF ("noise-free") is told
the kernel, SRMD also the noise level.

    SR = shuffle_s(W₁₂ ∗ ReLU(… ReLU(W₁ ∗ [LR, c, n]))),    c = B vec(k),    n = noise level / 255

The code c (see kernel_codes) and n are stretched: each number is repeated at every pixel, as a
channel behind the LR picture. Full size: 15 numbers, 12 convolutions 3×3, 128 wide, at LR size.
There is no skip. The last convolution gives 3s² channels, which one pixel shuffle makes RGB of.
SRMDNF has 1,510,540, 1,527,835 and 1,552,048 parameters at ×2, ×3 and ×4; SRMD 1,152 more.

The maps may differ from pixel to pixel: then the network undoes a blur that varies over the
picture. "No blur" is the code of the kernel with a single 1, and not a code of zeros.

Training: L1, Adam at 1e-4, halved every 200k iterations, batch 64, an orthogonal start with gain
0.2. This is the recipe of KAIR, which has no BatchNorm. The first one (MATLAB) has it, is trained
on squared errors, and merges BatchNorm afterwards. Its kernels were 15×15; ours are 21×21, because
15×15 holds 93 % of a Gaussian of width 3.6.

Zhang et al., "Learning a single convolutional super-resolution network for multiple degradations",
CVPR 2018. Its kernels are drawn by *variances* up to 10; widths here are standard deviations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.acceleration.devices import to_device
from dasrlib.baselines.baseline import ToldBaseline, by_profile, without_noise
from dasrlib.baselines.kernel_codes import KernelCodes
from dasrlib.baselines.layers import orthogonal_init, pass_colours, stretched
from dasrlib.degradation import Degradations, DegradationSpace

GAIN = 0.2  # of the orthogonal start


@dataclass(frozen=True)
class SrmdSizes:
    """How large SRMD is. The defaults are the paper's."""

    layers: int = 12
    width: int = 128
    code: int = 15  # numbers that a kernel is told in


FULL = SrmdSizes()
LAPTOP = SrmdSizes(layers=8, width=64)
SMOKE = SrmdSizes(layers=3, width=16)
SIZES = by_profile(FULL, LAPTOP, SMOKE)


class SRMD(ToldBaseline):
    """The code in every pixel of the input (see the top of the file).

    Args:
        scale: 2, 3 or 4.
        space: the kernels that the codes are made for.
        sizes: how large.
        noise: False for SRMDNF, which is not told the noise level.
    """

    def __init__(
        self, scale: int, space: DegradationSpace, sizes: SrmdSizes = FULL, noise: bool = True
    ) -> None:
        codes = KernelCodes(space, sizes.code)
        super().__init__("srmd" if noise else "srmdnf", scale, codes)
        self.sizes, self.noise = sizes, noise
        w, told = sizes.width, sizes.code + noise
        layers: list[nn.Module] = [nn.Conv2d(3 + told, w, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(sizes.layers - 2):
            layers += [nn.Conv2d(w, w, 3, padding=1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(w, 3 * scale**2, 3, padding=1))
        orthogonal_init(self, GAIN)

    def forward(self, lr: Tensor, told: Tensor) -> Tensor:
        """The SR picture.

        Args:
            lr: (B, 3, H, W) in [0, 1].
            told: the code, and for SRMD the noise level / 255 behind it: (B, n), or (B, n, H, W)
                if they vary over the picture.

        Returns:
            (B, 3, sH, sW), not clamped.
        """
        maps = stretched(told, lr) if told.ndim == 2 else told
        out = self.layers(torch.cat([lr, maps], dim=1))  # (B, 3s², H, W)
        return F.pixel_shuffle(out, self.scale)  # straight to RGB, also at ×4

    def restore_with_code(self, lr: Tensor, code: Tensor, told: Degradations) -> Tensor:
        """(B, 3, H, W), a code (B, n) and, for SRMD, the noise level that was told."""
        if self.noise:
            level = to_device(told.noise, lr.device).expand(len(lr))[:, None] / 255
            code = torch.cat([code, level.to(code.dtype)], dim=1)
        return self(lr, code)

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """L1, told the truth."""
        yield F.l1_loss(self.restore(lr, degradations), hr)

    def init_as_nearest_neighbour(self) -> None:
        """As DASR's: the untrained network repeats every LR pixel. ReLU lets colours pass.

        The start is orthogonal with gain 1. With KAIR's 0.2 what the code adds begins too small: at
        laptop size the L1 after 250 iterations was 0.0478 with 0.2, 0.0448 with 1 (×4, σ 0.2 to 4,
        batches of 8 from 60 pictures of BSDS400, the same ones).
        """
        orthogonal_init(self, gain=1.0)
        *first, last = (layer for layer in self.layers if isinstance(layer, nn.Conv2d))
        for conv in first:
            pass_colours(conv)
        pass_colours(last, self.scale**2, keep=0.1)

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """The same kernels and, for SRMD, the same noise; neither knows of JPEG."""
        if not self.noise:
            return without_noise(space)
        return replace(space, quality=None, without=space.without if space.noise else 0.0)
