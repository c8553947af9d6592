"""§3.2.2 The degradation-aware SR network, and the paper's Models 1 to 5 as configurations of
it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib import errors, paper, profiles
from dasrlib.da_conv import ConcatConv, DAConv
from dasrlib.degradation import Degradations, check_scale
from dasrlib.profiles import Profile, Sizes
from dasrlib.representation import DIMENSION, Encoder


@dataclass(frozen=True)
class Model:
    """What distinguishes one of the ablation's five models (§4.2)."""

    contrastive: bool = True  # L_degrad is part of the training, and stage 1 exists
    degradation_aware: bool = (
        True  # DA convolutions; False: vanilla ones, R stretched beside the features
    )
    modulate: bool = True  # the second branch of a DA convolution
    blind: bool = True  # False: the representation is computed from the true degradation


MODELS = {
    "model1": Model(contrastive=False),
    "model2": Model(degradation_aware=False),
    "model3": Model(modulate=False),
    "model4": Model(),
    "model5": Model(contrastive=False, blind=False),
}


def check_model(name: str) -> str:
    """The name, if it is one of the five models'; raises ValueError with the nearest one
    otherwise."""
    if name not in MODELS:
        raise ValueError(errors.unknown_name_message("model", name, MODELS))
    return name


class DABlock(nn.Module):
    """DA conv, 3×3 conv, DA conv, 3×3 conv, each followed by LeakyReLU but the last; plus the
    input."""

    def __init__(self, model: Model, sizes: Sizes) -> None:
        super().__init__()

        def told_conv() -> nn.Module:
            if model.degradation_aware:
                return DAConv(sizes.channels, sizes.channels, 3, sizes.reduction, model.modulate)
            return ConcatConv(sizes.channels, sizes.channels // 4)

        self.da_conv1, self.da_conv2 = told_conv(), told_conv()
        self.conv1 = nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1)
        self.conv2 = nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1)

    def forward(self, features: Tensor, r: Tensor) -> Tensor:
        out = self.da_conv1(features, r, leaky=True)
        out = F.leaky_relu(self.conv1(out), 0.1, inplace=True)
        out = self.da_conv2(out, r, leaky=True)
        return self.conv2(out) + features


class ResidualGroup(nn.Module):
    """DA blocks, a 3×3 conv, plus the group's input."""

    def __init__(self, model: Model, sizes: Sizes) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DABlock(model, sizes) for _ in range(sizes.blocks))
        self.conv = nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1)

    def forward(self, features: Tensor, r: Tensor) -> Tensor:
        out = features
        for block in self.blocks:
            out = block(out, r)
        return self.conv(out) + features


class DASR(nn.Module):
    """LR picture and representation -> SR picture (§3.2.2).

    ConcatConv networks (Model 2) read a shorter R, a quarter of the channels: with it their number
    of parameters is that of Model 4 to within a percent.
    """

    mean: Tensor

    def __init__(self, scale: int, sizes: Sizes | None = None, model: Model | None = None) -> None:
        super().__init__()
        sizes, model = sizes or Sizes(), model or Model()
        self.scale = check_scale(scale)
        c, t = sizes.channels, sizes.tail_channels
        self.register_buffer("mean", torch.tensor(paper.RGB_MEAN).view(3, 1, 1), persistent=False)
        self.compress = nn.Sequential(
            nn.Linear(DIMENSION, c if model.degradation_aware else c // 4, bias=False),
            nn.LeakyReLU(0.1, inplace=True),
        )
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.groups = nn.ModuleList(ResidualGroup(model, sizes) for _ in range(sizes.groups))
        self.conv = nn.Conv2d(c, c, 3, padding=1)
        steps = [2, 2] if scale == 4 else [scale]
        upsampler: list[nn.Module] = []
        for before, step in zip([c, t], steps, strict=False):
            upsampler += [nn.Conv2d(before, t * step**2, 3, padding=1), nn.PixelShuffle(step)]
        self.tail = nn.Sequential(*upsampler, nn.Conv2d(t, 3, 3, padding=1))

    @torch.no_grad()
    def start_as_enlargement(self) -> None:
        """Initialises the weights so that the untrained network repeats every LR pixel s × s times.

        Of each layer outside the body the first three channels carry the colours through, and what
        comes from the others starts small. A short schedule then spends nothing on learning to
        copy; the architecture is the paper's, unchanged.
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
        """images (B, 3, H, W) in [0, 1], representation (B, 256) -> (B, 3, sH, sW), not clamped."""
        r = self.compress(representation)  # (B, 64)
        # Features live on the 0..255 scale, as in the released code: with [0, 1] inputs the default
        # initialisation would leave the biases as large as the signal.
        shallow = self.head((images - self.mean) * 255)  # (B, 64, H, W)
        deep = shallow
        for group in self.groups:
            deep = group(deep, r)
        deep = self.conv(deep) + shallow
        return self.tail(deep) / 255 + self.mean  # (B, 3, sH, sW)


class ToldEncoder(nn.Module):
    """Model 5's stand-in for the encoder: five linear layers map the true degradation to it
    (§4.2)."""

    def __init__(self) -> None:
        super().__init__()
        widths = [4, 64, 128, 256, 256, DIMENSION]
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise(widths):
            layers += [nn.Linear(before, width), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, degradations: Degradations) -> Tensor:
        """B degradations -> representations (B, 256)."""
        return self.layers(degradations.code)


def covering(images: Tensor, side: int) -> Tensor:
    """The patches of at most side × side that cover pictures, evenly spread, (T, B, C, ≤ side, ≤
    side).

    images: (B, C, H, W). Neighbours overlap where the side does not divide the picture. An encoder
    trained on patches for a short time knows nothing else: zero padding is a larger part of a
    patch, and a picture's deviation is not its patches'. On held-out pictures under a wide blur a
    whole picture's representation cost 0.07 dB against this.
    """
    tops, lefts = (
        [round(i * (length - side) / max(count - 1, 1)) for i in range(count)]
        for length, count in ((n, -(-n // side)) for n in images.shape[-2:])
    )
    return torch.stack(
        [images[..., top : top + side, left : left + side] for top in tops for left in lefts]
    )


class BlindSR(nn.Module):
    """An encoder and a DASR: LR picture -> SR picture, nothing else told (§3.2).

    encoder_input: what the encoder looks at, "rgb" or "high-pass". patch: the side, in LR pixels,
    of the patches that the encoder was trained on: a larger picture's representation is the mean
    over patches that cover it. None: the encoder sees it whole, as in the paper.
    """

    def __init__(
        self,
        scale: int,
        sizes: Sizes | None = None,
        model: str = "model4",
        encoder_input: str = "rgb",
        patch: int | None = None,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.sizes, self.model, self.encoder_input = (
            sizes or Sizes(),
            check_model(model),
            encoder_input,
        )
        self.scale = scale
        self.blind = MODELS[model].blind
        self.encoder: Encoder | ToldEncoder = (
            Encoder(encoder_input) if self.blind else ToldEncoder()
        )
        self.sr = DASR(scale, self.sizes, MODELS[model])

    def represent(self, images: Tensor, degradations: Degradations | None = None) -> Tensor:
        """The representation (B, 256) of LR pictures; Model 5 computes it from the degradations
        instead."""
        if isinstance(self.encoder, Encoder):
            patches = covering(images, self.patch or max(images.shape[-2:]))  # (T, B, 3, P, P)
            seen = self.encoder(patches.flatten(0, 1))[0]
            return seen.unflatten(0, patches.shape[:2]).mean(dim=0)
        if degradations is None:
            raise ValueError("model5 is not blind: tell it the degradations")
        return self.encoder(degradations.to(images.device))

    def forward(
        self,
        images: Tensor,
        degradations: Degradations | None = None,
        representation: Tensor | None = None,
    ) -> Tensor:
        """images (B, 3, H, W) in [0, 1] -> (B, 3, sH, sW), not clamped.

        degradations: read by Model 5 alone. representation: (B, 256), to use instead of the
        picture's own, for instance a wrong one. Raises ValueError for Model 5 told nothing.
        """
        if representation is None:
            representation = self.represent(images, degradations)
        return self.sr(images, representation)


def build(model: str, scale: int = 4, profile: str = "laptop") -> BlindSR:
    """One of the paper's five models, untrained, in a profile's sizes (§4.2).

    model: "model1" to "model5". scale: 2, 3 or 4. Raises ValueError for an unknown name or scale.
    """
    return of_profile(model, scale, profiles.get(profile))


def of_profile(model: str, scale: int, profile: Profile) -> BlindSR:
    """An untrained model for a profile (§4.2); the paper's RGB encoder sees whole pictures."""
    patch = profile.patch if profile.encoder_input == "high-pass" else None
    return BlindSR(scale, profile.sizes, model, profile.encoder_input, patch)


def parameter_count(module: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
