"""The released way, the baseline: float32, contiguous, eager, an operation at a time.

The arithmetic is that of the authors' released code; the weights and modules are dasrlib's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.da_conv import DAConv
from dasrlib.degradation import Degradations, quantise
from dasrlib.grouped_conv import Activation
from dasrlib.network import BlindSR
from dasrlib.profiles import Profile
from dasrlib.representation import ContrastiveLearner, Encoder


def da_conv2d(
    x: Tensor,
    kernels: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    modulation: Tensor | None = None,
    activation: Activation | None = None,
) -> Tensor:
    """grouped_conv.da_conv2d, an operation at a time: each reads and writes the whole map."""
    b, c, h, w = x.shape
    k = kernels.shape[-1]
    weights = kernels.reshape(b * c, 1, k, k)
    out = F.conv2d(x.reshape(1, b * c, h, w), weights, padding=k // 2, groups=b * c)
    out = F.conv2d(F.leaky_relu(out.view(b, c, h, w), 0.1), weight[:, :, None, None], bias)
    if modulation is not None:
        out = out + x * modulation[:, :, None, None]
    return F.leaky_relu(out, 0.1) if activation == "leaky_relu" else out


class ReleasedDAConv(DAConv):
    """DAConv with the released way's forward."""

    compute = staticmethod(da_conv2d)

    def is_fused(self, features: Tensor) -> bool:
        return False

    def forward(self, features: Tensor, compressed: Tensor) -> Tensor:
        modulation = None if self.modulation is None else self.coefficients(compressed)
        mix, bias = self.mix.weight[:, :, 0, 0], self.mix.bias
        return self.compute(features, self.kernels(compressed), mix, bias, modulation)


Module = TypeVar("Module", bound=nn.Module)


def computed_as(kind: type[ReleasedDAConv], model: Module) -> Module:
    """The same model with the same weights, its DA convolutions computed by those of `kind`."""
    for module in model.modules():
        if isinstance(module, DAConv):
            module.__class__ = kind  # the parameters stay, the forward changes
    return model


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic, a = −0.5."""
    x = x.abs()
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, inner, torch.where(x <= 2, outer, torch.zeros_like(x)))


def _narrowed(images: Tensor, s: int) -> Tensor:
    """The width (last dimension) reduced by s: the pixels under the cubic, gathered by index."""
    width = images.shape[-1]
    centre = (torch.arange(width // s, device=images.device, dtype=images.dtype) + 0.5) * s - 0.5
    taps = (centre - 2 * s).floor()[:, None] + torch.arange(4 * s + 2, device=images.device)
    weights = _cubic((centre[:, None] - taps) / s)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (images[..., taps.clamp(0, width - 1).long()] * weights).sum(dim=-1)


def reduced(images: Tensor, scale: int) -> Tensor:
    """Bicubic reduction by indexing, (B, C, H, W) -> (B, C, H/s, W/s) (§3.1)."""
    return _narrowed(_narrowed(images, scale).transpose(-2, -1), scale).transpose(-2, -1)


def degrade(hr: Tensor, degradations: Degradations) -> Tensor:
    """degradation.degrade without noise and not rounded: a grouped convolution at full size, then
    the reduction by indexing (§3.1)."""
    b, c, h, w = hr.shape
    k = degradations.kernels.shape[-1]
    padded = F.pad(hr, (k // 2,) * 4, mode="reflect")
    weights = degradations.kernels.to(hr).repeat_interleave(c, dim=0)[:, None]
    blurred = F.conv2d(padded.view(1, b * c, *padded.shape[-2:]), weights, groups=b * c)
    return reduced(blurred.view(b, c, h, w), degradations.scale)


class ReleasedStep:
    """A training step of stage 2 the released way (§4.1).

    batches: HR patches (B, 2, 3, sP, sP) with their B degradations, taken in turn; they are cut
    beforehand, since in the released code other processes do that. kind, degrade: others than the
    released ones, for what is right.
    """

    def __init__(
        self,
        profile: Profile,
        batches: Sequence[tuple[Tensor, Degradations]],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        kind: type[ReleasedDAConv] = ReleasedDAConv,
        degrade: Callable[[Tensor, Degradations], Tensor] = degrade,
    ) -> None:
        scale = batches[0][1].scale
        model = BlindSR(scale, profile.sizes, "model4", profile.recipe.encoder_input)
        assert isinstance(model.encoder, Encoder)
        learner = ContrastiveLearner(model.encoder, profile.recipe)
        self.device, self.dtype, self.degrade = device, dtype, degrade
        self.model = computed_as(kind, model).to(device, dtype).train()
        self.learner = learner.to(device, dtype).train()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=profile.stage2.lr)
        self.batches = itertools.cycle(batches)

    def __call__(self) -> Tensor:
        """One step; returns its two losses, L_SR on the 0..255 scale and L_degrad."""
        hr, degradations = next(self.batches)
        hr = hr.to(self.device, self.dtype)
        shared = degradations.to(self.device).repeat_interleave(2)
        lr = quantise(self.degrade(hr.flatten(0, 1), shared))
        query, key = lr[0::2].contiguous(), lr[1::2].contiguous()
        out = self.learner(query, key)
        sr = self.model.sr(query, out.representation)
        l_sr = 255 * F.l1_loss(sr, hr[:, 0])
        self.optimizer.zero_grad()
        (l_sr + out.loss).backward()
        self.optimizer.step()
        return torch.stack([l_sr.detach(), out.loss.detach()])
