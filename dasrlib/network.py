"""§3.2.2 The degradation-aware SR network, and the paper's Models 1 to 5 as configurations of it.

Two vectors describe how a picture was degraded. The encoder's output, 256 numbers, is the
`representation`. DASR.compress makes 64 numbers of it, `compressed`, R in the formulas. Every DA
convolution reads R.
"""

from __future__ import annotations

import itertools
import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib import paper, profiles
from dasrlib.acceleration.devices import to_device
from dasrlib.da_conv import DAConv, SpatialConcatConv
from dasrlib.degradation import Degradations
from dasrlib.errors import check_batch, check_pictures
from dasrlib.paper import LEAKY_SLOPE, check_scale
from dasrlib.profiles import Profile, Sizes
from dasrlib.representation import DIMENSION, Encoder, EncoderInput
from dasrlib.systems import FULL_METHOD, ModelVariant, Needs, model_variant


class System(Protocol):
    """What every system answers. `needs`: what `restore` must be given beside the LR picture."""

    name: str
    scale: int
    needs: Needs

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """LR pictures (B, 3, H, W) in [0, 1] -> SR pictures (B, 3, sH, sW)."""


class DABlock(nn.Module):
    """DA conv, 3×3 conv, DA conv, 3×3 conv, with LeakyReLU between them; the input is added."""

    def __init__(self, variant: ModelVariant, sizes: Sizes) -> None:
        super().__init__()

        def da_conv() -> DAConv | SpatialConcatConv:
            if variant.degradation_aware:
                return DAConv(sizes.channels, sizes.channels, 3, sizes.reduction, variant.modulate)
            return SpatialConcatConv(sizes.channels, sizes.channels // 4)

        self.da_conv1, self.da_conv2 = da_conv(), da_conv()
        self.conv1 = nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1)
        self.conv2 = nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1)

    def forward(self, features: Tensor, compressed: Tensor) -> Tensor:
        """features (B, C, H, W) and R (B, 64) -> (B, C, H, W)."""
        if isinstance(self.da_conv1, DAConv) and self.da_conv1.is_fused(features):
            return self._fused(features, compressed)
        out = F.leaky_relu(self.da_conv1(features, compressed), LEAKY_SLOPE, inplace=True)
        out = F.leaky_relu(self.conv1(out), LEAKY_SLOPE, inplace=True)
        out = F.leaky_relu(self.da_conv2(out, compressed), LEAKY_SLOPE, inplace=True)
        return self.conv2(out) + features

    def _fused(self, features: Tensor, compressed: Tensor) -> Tensor:
        """The same, with each DA convolution and its LeakyReLU in one pass of the GPU."""
        assert isinstance(self.da_conv1, DAConv)
        assert isinstance(self.da_conv2, DAConv)
        out = self.da_conv1.fused(features, compressed, "leaky_relu")
        out = F.leaky_relu(self.conv1(out), LEAKY_SLOPE, inplace=True)
        out = self.da_conv2.fused(out, compressed, "leaky_relu")
        return self.conv2(out) + features


class ResidualGroup(nn.Module):
    """DA blocks and a 3×3 conv; the group's input is added."""

    def __init__(self, variant: ModelVariant, sizes: Sizes) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DABlock(variant, sizes) for _ in range(sizes.blocks))
        self.conv = nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1)

    def forward(self, features: Tensor, compressed: Tensor) -> Tensor:
        """features (B, C, H, W) and R (B, 64) -> (B, C, H, W)."""
        out = features
        for block in self.blocks:
            out = block(out, compressed)
        return self.conv(out) + features


class DASR(nn.Module):
    """LR picture and representation -> SR picture (§3.2.2).

    With SpatialConcatConv (Model 2), R has a quarter as many numbers: so the number of parameters
    is that of Model 4 to within a percent.

    Args:
        scale: s, 2, 3 or 4.
        sizes: how large; the paper's by default.
        variant: which of the models; Model 4 by default.
    """

    mean: Tensor

    def __init__(
        self, scale: int, sizes: Sizes | None = None, variant: ModelVariant | None = None
    ) -> None:
        super().__init__()
        sizes, variant = sizes or Sizes(), variant or model_variant(FULL_METHOD)
        self.scale = check_scale(scale)
        c, t = sizes.channels, sizes.tail_channels
        self.register_buffer("mean", torch.tensor(paper.RGB_MEAN).view(3, 1, 1), persistent=False)
        self.compress = nn.Sequential(
            nn.Linear(DIMENSION, c if variant.degradation_aware else c // 4, bias=False),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
        )
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.groups = nn.ModuleList(ResidualGroup(variant, sizes) for _ in range(sizes.groups))
        self.conv = nn.Conv2d(c, c, 3, padding=1)
        steps = [2, 2] if scale == 4 else [scale]
        upsampler: list[nn.Module] = []
        for before, step in zip([c, t], steps, strict=False):
            upsampler += [nn.Conv2d(before, t * step**2, 3, padding=1), nn.PixelShuffle(step)]
        self.tail = nn.Sequential(*upsampler, nn.Conv2d(t, 3, 3, padding=1))

    @torch.no_grad()
    def init_as_nearest_neighbour(self) -> None:
        """Initialises the weights so that the untrained network repeats every LR pixel s × s times.

        In the layers before and after the residual groups, the first three channels carry the
        colours, and the weights of the others start small. A short schedule then need not learn to
        copy. The architecture is still the paper's.
        """
        colours = torch.arange(3)
        self.head.weight[:3] = 0
        self.head.weight[colours, colours, 1, 1] = 1
        self.head.bias[:3] = 0  # type: ignore[index]
        *upsamplers, last = (layer for layer in self.tail if isinstance(layer, nn.Conv2d))
        for parameter in (*self.conv.parameters(), *last.parameters()):
            parameter.mul_(0.1)
        for layer in upsamplers:
            # Pixel-shuffle makes s × s pixels out of s² neighbouring channels.
            copies = layer.out_channels // last.in_channels
            layer.weight[: 3 * copies] = 0
            layer.weight[torch.arange(3 * copies), colours.repeat_interleave(copies), 1, 1] = 1
            layer.bias[: 3 * copies] = 0  # type: ignore[index]
        last.weight[colours, colours, 1, 1] += 1

    def forward(self, images: Tensor, representation: Tensor) -> Tensor:
        """The SR picture.

        Args:
            images: LR, (B, 3, H, W) in [0, 1].
            representation: the encoder's, (B, 256).

        Returns:
            (B, 3, sH, sW), not clamped.
        """
        compressed = self.compress(representation)  # (B, 64)
        # Features are on the 0..255 scale, as in the authors' code: with inputs in [0, 1], the
        # biases of PyTorch's default initialisation would be as large as the signal.
        shallow = self.head((images - self.mean) * 255)  # (B, 64, H, W)
        deep = shallow
        for group in self.groups:
            deep = group(deep, compressed)
        deep = self.conv(deep) + shallow
        return self.tail(deep) / 255 + self.mean  # (B, 3, sH, sW)


class DegradationEncoder(nn.Module):
    """Model 5's encoder: five linear layers map the true degradation to a representation (§4.2)."""

    def __init__(self) -> None:
        super().__init__()
        widths = [4, 64, 128, 256, 256, DIMENSION]
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise(widths):
            layers += [nn.Linear(before, width), nn.LeakyReLU(LEAKY_SLOPE)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, degradations: Degradations) -> Tensor:
        """B degradations -> representations (B, 256)."""
        return self.layers(to_device(degradations.encoding, next(self.parameters()).device))


def covering_patches(images: Tensor, side: int) -> Tensor:
    """The patches that cover pictures, evenly spread.

    Neighbours overlap where the side does not divide the picture. An encoder that was trained for a
    short time on patches works best on patches: with the representation of whole held-out pictures
    under a wide blur, PSNR was 0.07 dB lower.

    images: (B, C, H, W). side: of the patches, pixels. Returns (T, B, C, ≤ side, ≤ side), T patches
    of each picture.
    """

    def starts(length: int) -> list[int]:
        count = math.ceil(length / side)
        return [round(i * (length - side) / max(count - 1, 1)) for i in range(count)]

    tops, lefts = map(starts, images.shape[-2:])
    return torch.stack(
        [images[..., top : top + side, left : left + side] for top in tops for left in lefts]
    )


class BlindSR(nn.Module):
    """An encoder and a DASR: LR picture -> SR picture (§3.2).

    Args:
        scale: s, 2, 3 or 4.
        sizes: of the SR network; the paper's by default.
        variant: a name of the table of systems, such as "model1", or a row of it.
        encoder_input: what the encoder looks at, "rgb" or "high-pass".
        patch: side, in LR pixels, of the patches that the encoder was trained on: a larger
            picture's representation is the mean over patches that cover it. None: the encoder sees
            the whole picture, as in the paper.
    """

    def __init__(
        self,
        scale: int,
        sizes: Sizes | None = None,
        variant: str | ModelVariant = FULL_METHOD,
        encoder_input: EncoderInput = "rgb",
        patch: int | None = None,
    ) -> None:
        super().__init__()
        self.variant = model_variant(variant) if isinstance(variant, str) else variant
        self.name: str = self.variant.name
        self.needs: Needs = self.variant.needs  # "nothing" of a blind network
        self.sizes = sizes or Sizes()
        self.scale, self.encoder_input, self.patch = scale, encoder_input, patch
        self.encoder: Encoder | DegradationEncoder = (
            Encoder(encoder_input) if self.needs == "nothing" else DegradationEncoder()
        )
        self.sr = DASR(scale, self.sizes, self.variant)

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """The method that all systems share: `forward` with the picture's own representation."""
        check_pictures(lr)
        return self(lr, degradation)

    def represent(self, images: Tensor, degradations: Degradations | None = None) -> Tensor:
        """The representation, (B, 256), of LR pictures (B, 3, H, W) in [0, 1].

        Model 5 computes it from the true degradations instead; no other model reads them.
        """
        if isinstance(self.encoder, Encoder):
            side = self.patch or max(images.shape[-2:])
            patches = covering_patches(images, side)  # (T, B, 3, P, P)
            seen = self.encoder(patches.flatten(0, 1))[0]
            return seen.unflatten(0, patches.shape[:2]).mean(dim=0)
        if degradations is None:
            raise ValueError("model5 is not blind: give it the degradations")
        return self.encoder(degradations)

    def forward(
        self,
        images: Tensor,
        degradations: Degradations | None = None,
        representation: Tensor | None = None,
    ) -> Tensor:
        """The SR picture.

        Args:
            images: LR, (B, 3, H, W) in [0, 1].
            degradations: the true ones, which only Model 5 reads.
            representation: (B, 256), to use instead of the picture's own, for instance a wrong one.

        Returns:
            (B, 3, sH, sW), not clamped.
        """
        check_batch(images, 3)
        if representation is None:
            representation = self.represent(images, degradations)
        return self.sr(images, representation)


def build(model: str, scale: int = 4, profile: str = "laptop") -> BlindSR:
    """One of the paper's five models, untrained, in a profile's sizes (§4.2).

    Args:
        model: "model1" to "model5".
        scale: 2, 3 or 4.
        profile: "smoke", "laptop", "gpu" or "paper".
    """
    return build_for_profile(model, scale, profiles.get(profile))


def build_for_profile(model: str, scale: int, profile: Profile) -> BlindSR:
    """An untrained model for a profile (§4.2); the paper's RGB encoder sees whole pictures."""
    encoder_input = profile.recipe.encoder_input
    patch = None if encoder_input == "rgb" else profile.patch
    return BlindSR(scale, profile.sizes, model, encoder_input, patch)


def parameter_count(module: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
