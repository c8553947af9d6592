"""§3.2.2 The degradation-aware convolution: its kernel is predicted from the representation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.grouped_conv import da_conv2d


class DAConv(nn.Module):
    """A convolution told by R how the picture was degraded: kernel branch plus modulation branch.

    channels: C of the features. representation: the length of R. modulate: False leaves the second
    branch out (Model 3 of the ablation).
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
            nn.LeakyReLU(0.1, inplace=True),
            nn.Linear(representation, channels * kernel_size**2, bias=False),
        )
        self.mix = nn.Conv2d(channels, channels, 1)
        self.modulation = (
            nn.Sequential(
                nn.Linear(representation, channels // reduction, bias=False),
                nn.LeakyReLU(0.1, inplace=True),
                nn.Linear(channels // reduction, channels, bias=False),
                nn.Sigmoid(),
            )
            if modulate
            else None
        )

    def kernels(self, r: Tensor) -> Tensor:
        """R (B, 64) -> one depth-wise kernel per sample and channel, (B, C, k, k)."""
        k = self.kernel_size
        return self.kernel(r).view(-1, self.channels, k, k)

    def coefficients(self, r: Tensor) -> Tensor:
        """R (B, 64) -> one modulation coefficient in (0, 1) per sample and channel, (B, C)."""
        if self.modulation is None:
            raise ValueError("this DA convolution has no modulation branch (modulate=False)")
        return self.modulation(r)

    def forward(self, features: Tensor, r: Tensor, leaky: bool = False) -> Tensor:
        """features F (B, C, H, W) and R (B, 64) -> (B, C, H, W).

        leaky: whether the LeakyReLU that follows in a block is done in the same pass.
        """
        v = None if self.modulation is None else self.coefficients(r)
        # mix(LeakyReLU(F ⊛ k(R))) + F · v(R), one 3×3 kernel per sample and channel
        mix, bias = self.mix.parameters()
        return da_conv2d(features, self.kernels(r), mix[:, :, 0, 0], bias, v, leaky)


class ConcatConv(nn.Module):
    """What Model 2 has in a DA convolution's place: R stretched over space beside the features
    (§4.2)."""

    def __init__(self, channels: int = 64, representation: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels + representation, channels, 3, padding=1)

    def forward(self, features: Tensor, r: Tensor, leaky: bool = False) -> Tensor:
        """features (B, C, H, W) and R (B, 16) -> (B, C, H, W); leaky: a LeakyReLU follows."""
        stretched = r[:, :, None, None].expand(-1, -1, *features.shape[-2:]).to(features.dtype)
        out = self.conv(torch.cat([features, stretched], dim=1))
        return F.leaky_relu(out, 0.1, inplace=True) if leaky else out
