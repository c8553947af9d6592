"""What several networks are made of, and how their weights start."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


def stretched(vector: Tensor, like: Tensor) -> Tensor:
    """A vector (B, n), repeated at every pixel of `like` (B, C, H, W): (B, n, H, W)."""
    return vector[:, :, None, None].expand(-1, -1, *like.shape[-2:]).to(like.dtype)


def upsampler(before: int, after: int, scale: int, *activation: nn.Module) -> list[nn.Module]:
    """Convolutions and pixel shuffles: ×2 and ×3 at once, ×4 as ×2 twice.

    before, after: channels of what comes in and goes out. activation: after each shuffle.
    """
    layers: list[nn.Module] = []
    for step in [2, 2] if scale == 4 else [scale]:
        layers += [nn.Conv2d(before, after * step**2, 3, padding=1), nn.PixelShuffle(step)]
        layers += activation
        before = after
    return layers


@torch.no_grad()
def pass_colours(conv: nn.Module, copies: int = 1, keep: float = 0.0, channels: int = 3) -> None:
    """Lets the first channels through as they are; the others keep their weights.

    copies: how often each stands in the output: s² in front of a pixel shuffle by s, which makes
    s × s equal pixels of them. keep: the share of their own weights that these outputs keep.
    channels: three colours, or one for luminance.
    """
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    middle = conv.kernel_size[0] // 2
    outputs = torch.arange(channels * copies)
    inputs = torch.arange(channels).repeat_interleave(copies)
    conv.weight[outputs] *= keep
    conv.bias[outputs] *= keep
    conv.weight[outputs, inputs, middle, middle] += 1


def pass_colours_up(upsampler: nn.Sequential) -> None:
    """pass_colours for each convolution of an upsampler, for the pixel shuffle behind it."""
    for conv, shuffle in itertools.pairwise(upsampler):
        if isinstance(shuffle, nn.PixelShuffle):
            pass_colours(conv, shuffle.upscale_factor**2)


@torch.no_grad()
def shrink(*layers: nn.Module, factor: float = 0.1) -> None:
    """Makes weights and biases small, so that a network starts near to what passes beside them."""
    for layer in layers:
        for parameter in layer.parameters():
            parameter.mul_(factor)


@torch.no_grad()
def orthogonal_init(network: nn.Module, gain: float) -> None:
    """Convolutions start orthogonal, times the gain, and without a bias."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.orthogonal_(layer.weight, gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
