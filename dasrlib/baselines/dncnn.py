"""DnCNN: a denoiser, which estimates the noise and takes it off.

Assumes white Gaussian noise of an unknown level, and nothing else: no blur, no reduction. It works
on the LR picture at its own size, so it is no SR system. Table 3 puts it in front of one (§4.3);
here `baselines.Denoised` does that.

    x̂ = y − R(y),    R = W ∗ ReLU(BN(W ∗ … ReLU(BN(W ∗ ReLU(W ∗ y)))))

y is the noisy picture. All convolutions are 3×3 with zeros at the borders; the first one and the
last one have no BatchNorm. Full size: 20 layers, the blind one, 64 wide: 670,531 parameters in
training, 668,227 when BatchNorm is merged into the convolutions, as `merged` does it. (The printed
count, 652K or 650K, is of 20 layers; the one for a known level has 17.)

Training: ½ Σ ‖R(y) − (y − x)‖², a sum over pixels; Adam at 1e-3, later 1e-4; each patch has a noise
level of its own. Pictures of the original training are neither clipped nor rounded after the noise;
ours are both, as LR pictures are. They are not blurred: the network must not learn what Table 3
shows, that a denoiser also changes the blur.

Zhang et al., "Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising", TIP
2017. BatchNorm's ε and the orthogonal start are those of cszn's PyTorch versions. They keep little
of the earlier statistics, momentum 0.9 or 0.95; here it is PyTorch's 0.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dasrlib.baselines.baseline import Baseline, bicubic_alone, by_profile
from dasrlib.baselines.layers import orthogonal_init, shrink
from dasrlib.degradation import Degradations, DegradationSpace, degrade

BATCHNORM_EPS = 1e-4
NOISE = 25.0  # the largest level in training, 0..255 scale, as in §4.3; the original has 55


@dataclass(frozen=True)
class DncnnSizes:
    """How large DnCNN is. The defaults are the blind one's of its paper."""

    layers: int = 20
    width: int = 64


FULL = DncnnSizes()
LAPTOP = DncnnSizes(layers=10, width=48)
SMOKE = DncnnSizes(layers=3, width=8)
SIZES = by_profile(FULL, LAPTOP, SMOKE)


class DnCNN(Baseline):
    """The picture minus its estimated noise (see the top of the file).

    Args:
        sizes: how large.
        batchnorm: False for a network in which it is merged into the convolutions.
    """

    def __init__(self, sizes: DncnnSizes = FULL, batchnorm: bool = True) -> None:
        super().__init__("dncnn", scale=1)
        self.sizes, self.batchnorm = sizes, batchnorm
        w = sizes.width
        layers: list[nn.Module] = [nn.Conv2d(3, w, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(sizes.layers - 2):
            layers.append(nn.Conv2d(w, w, 3, padding=1))
            if batchnorm:
                layers.append(nn.BatchNorm2d(w, eps=BATCHNORM_EPS))
            layers.append(nn.ReLU(inplace=True))
        self.residual = nn.Sequential(*layers, nn.Conv2d(w, 3, 3, padding=1))
        orthogonal_init(self, gain=1.0)

    def forward(self, noisy: Tensor) -> Tensor:
        """y - R(y): (B, 3, H, W) in [0, 1] -> (B, 3, H, W), not clamped."""
        return noisy - self.residual(noisy)

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """½ Σ ‖R(y) − (y − x)‖²; x: what LR would be without noise."""
        clean = degrade(hr, replace(degradations, noise=0 * degradations.noise), backend="fast")
        yield 0.5 * ((self.residual(lr) - (lr - clean)) ** 2).sum()

    def init_as_nearest_neighbour(self) -> None:
        """For a short schedule: the untrained network gives back its input, nearly.

        At laptop size the loss after 400 iterations was 13.1 with it and 44.0 without; nothing
        done at all is 39 (batches of 8 from 60 pictures of BSDS400, the same ones).
        """
        shrink(self.residual[-1], factor=0.01)

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """No blur, bicubic reduction, and noise up to the level of the space, or else to 25."""
        return bicubic_alone(space.scale, space.noise or NOISE)

    @torch.no_grad()
    def merged(self) -> DnCNN:
        """The same denoiser without BatchNorm, whose running statistics go into the convolutions.

        BN(W ∗ f + b) = γ (W ∗ f + b − μ) / √(v + ε) + β is itself a convolution.
        """
        merged = DnCNN(self.sizes, batchnorm=False)
        convs = [layer for layer in merged.residual if isinstance(layer, nn.Conv2d)]
        place = -1
        for layer in self.residual:
            if isinstance(layer, nn.Conv2d):
                place += 1
                convs[place].load_state_dict(layer.state_dict())
            elif isinstance(layer, nn.BatchNorm2d):
                conv, mean, variance = convs[place], layer.running_mean, layer.running_var
                assert conv.bias is not None
                assert mean is not None
                assert variance is not None
                factor = layer.weight / (variance + layer.eps).sqrt()
                conv.weight.mul_(factor[:, None, None, None])
                conv.bias.copy_((conv.bias - mean) * factor + layer.bias)
        return merged.to(next(self.parameters()).device).train(self.training)
