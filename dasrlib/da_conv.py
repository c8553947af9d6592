"""§3.2.2 The degradation-aware convolution: its kernel is predicted from the representation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib import grouped_conv
from dasrlib.grouped_conv import Activation, grouped_conv2d
from dasrlib.paper import LEAKY_SLOPE


class DAConv(nn.Module):
    """The degradation-aware convolution: a kernel branch plus a modulation branch (§3.2.2).

    Both branches compute from R, the compressed representation.

    Args:
        channels: C of the features.
        representation: length of R, 64 in the paper.
        kernel_size: k of the predicted depth-wise kernels, odd.
        reduction: the modulation branch's hidden layer has channels // reduction units.
        modulate: False leaves the modulation branch out (Model 3 of the ablation).
    """

    def __init__(
        self,
        channels: int = 64,
        representation: int = 64,
        kernel_size: int = 3,
        reduction: int = 8,
        modulate: bool = True,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel size must be odd, got {kernel_size}")
        self.channels, self.kernel_size = channels, kernel_size
        self.kernel = nn.Sequential(
            nn.Linear(representation, representation, bias=False),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
            nn.Linear(representation, channels * kernel_size**2, bias=False),
        )
        self.mix = nn.Conv2d(channels, channels, 1)
        self.modulation = (
            nn.Sequential(
                nn.Linear(representation, channels // reduction, bias=False),
                nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
                nn.Linear(channels // reduction, channels, bias=False),
                nn.Sigmoid(),
            )
            if modulate
            else None
        )

    def kernels(self, compressed: Tensor) -> Tensor:
        """R (B, 64) -> one depth-wise kernel per sample and channel, (B, C, k, k)."""
        k = self.kernel_size
        return self.kernel(compressed).view(-1, self.channels, k, k)

    def coefficients(self, compressed: Tensor) -> Tensor:
        """R (B, 64) -> one modulation coefficient in (0, 1) per sample and channel, (B, C)."""
        if self.modulation is None:
            raise ValueError("this DA convolution has no modulation branch (modulate=False)")
        return self.modulation(compressed)

    def forward(self, features: Tensor, compressed: Tensor) -> Tensor:
        """mix(LeakyReLU(F ⊛ k(R))) + F · v(R): F (B, C, H, W) and R (B, 64) -> (B, C, H, W)."""
        if self.is_fused(features):
            return self.fused(features, compressed)
        # F ⊛ k(R), one k×k kernel per sample and channel
        filtered = grouped_conv2d(features, self.kernels(compressed))
        out = self.mix(F.leaky_relu(filtered, LEAKY_SLOPE))
        if self.modulation is not None:
            v = self.coefficients(compressed)[:, :, None, None]
            out = torch.addcmul(out, features, v.to(out.dtype))  # + F · v(R)
        return out

    def is_fused(self, features: Tensor) -> bool:
        """Whether `fused` is one pass over the features, on a GPU, instead of one per operation."""
        return grouped_conv.uses_triton(features)

    def fused(
        self, features: Tensor, compressed: Tensor, activation: Activation | None = None
    ) -> Tensor:
        """forward, and the activation that follows it, in one call of grouped_conv.da_conv2d."""
        v = None if self.modulation is None else self.coefficients(compressed)
        weight, bias = self.mix.weight[:, :, 0, 0], self.mix.bias
        assert bias is not None
        kernels = self.kernels(compressed)
        return grouped_conv.da_conv2d(features, kernels, weight, bias, v, activation)


class SpatialConcatConv(nn.Module):
    """Model 2's layer in place of a DA convolution: R, repeated at every pixel, is concatenated
    with the features (§4.2)."""

    def __init__(self, channels: int = 64, representation: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels + representation, channels, 3, padding=1)

    def forward(self, features: Tensor, compressed: Tensor) -> Tensor:
        """features (B, C, H, W) and R (B, 16) -> (B, C, H, W)."""
        stretched = compressed[:, :, None, None].expand(-1, -1, *features.shape[-2:])
        return self.conv(torch.cat([features, stretched.to(features.dtype)], dim=1))
