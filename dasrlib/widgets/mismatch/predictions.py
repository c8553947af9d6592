"""§3.2.2 What a network predicts when it assumes a kernel width: computed, cached, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dasrlib import paper, weights
from dasrlib.da_conv import DAConv
from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, degrade
from dasrlib.evaluation import luminance, psnr_y
from dasrlib.network import BlindSR
from dasrlib.widgets.base.degradation_controls import SIZE

SAME_STEEPNESS = 0.02  # a smaller difference cannot be seen


def da_convolutions(model: BlindSR) -> list[DAConv]:
    """A network's DA convolutions, first to last; raises ValueError for Model 2, which has none."""
    found = [module for module in model.modules() if isinstance(module, DAConv)]
    if not found:
        raise ValueError(f"{model.name} has no DA convolutions: choose another model's weights")
    return found


def steepness(image: Tensor) -> float:
    """How much the brightness of a picture (3, H, W) changes from pixel to pixel, levels of 255."""
    y = luminance(image)
    return float(y.diff(dim=-1).abs().mean() + y.diff(dim=-2).abs().mean())


class MismatchCase(NamedTuple):
    """A picture blurred with the true width, and a network that assumes a width, HR pixels."""

    network: str
    picture: str
    true: float
    assumed: float

    @property
    def matched(self) -> MismatchCase:
        """The same picture and blur, with the true width assumed."""
        return self._replace(assumed=self.true)


class PredictedKernels(NamedTuple):
    """What one DA convolution predicts: kernels (C, k, k), coefficients (C,) or None (Model 3)."""

    kernels: Tensor
    coefficients: Tensor | None


class MismatchModel:
    """Networks and pictures, and the SR picture for each width that a network assumes.

    Results are cached: those of the true width stay while the assumed width is moved. Raises
    ValueError for no picture, or a network without DA convolutions, and what weights.load raises.
    """

    def __init__(self, images: Sequence[tuple[str, Tensor]], names: Sequence[str | Path]) -> None:
        if not images or not names:
            raise ValueError("expected at least one picture and the weights of one network")
        self.pictures = {name: centre_crop(image, SIZE) for name, image in images}
        self.networks = {str(name): weights.load(name) for name in names}
        self.convolutions = {name: da_convolutions(m) for name, m in self.networks.items()}
        self.representation = lru_cache(256)(self._representation)
        self.sr = lru_cache(16)(self._sr)
        self.limit = lru_cache(64)(self._limit)

    def hr(self, case: MismatchCase) -> Tensor:
        """The picture (3, H, W), its sides multiples of the network's scale."""
        return crop_to_multiple(self.pictures[case.picture], self.networks[case.network].scale)

    def lr(self, case: MismatchCase) -> Tensor:
        """The picture degraded with the true isotropic blur, without noise, (3, H/s, W/s)."""
        degradation = Degradations.isotropic(case.true, self.networks[case.network].scale)
        return degrade(self.hr(case)[None], degradation, backend="fast")[0]

    @torch.inference_mode()
    def _representation(self, case: MismatchCase) -> Tensor:
        """(1, 256): of the picture blurred with the assumed width; Model 5's of the width alone."""
        model = self.networks[case.network]
        degradation = Degradations.isotropic(case.assumed, model.scale)
        return model.represent(self.lr(case._replace(true=case.assumed))[None], degradation)

    @torch.inference_mode()
    def predicted(self, case: MismatchCase, layer: int) -> PredictedKernels:
        """What DA convolution number `layer`, from 1, predicts for the assumed width."""
        convolution = self.convolutions[case.network][layer - 1]
        compressed = self.networks[case.network].sr.compress(self.representation(case))
        return PredictedKernels(
            convolution.kernels(compressed)[0],
            None if convolution.modulation is None else convolution.coefficients(compressed)[0],
        )

    def _limit(self, network: str, picture: str, layer: int) -> float:
        """The weight of the strongest colour: the same for all widths, or a change would not show.

        The largest 2 % of the weights are drawn at this limit, so that the many small ones show.
        """
        low, high = paper.SIGMA_RANGE[self.networks[network].scale]
        kernels = [
            self.predicted(MismatchCase(network, picture, width, width), layer).kernels
            for width in (low, (low + high) / 2, high)
        ]
        return max(float(torch.stack(kernels).abs().quantile(0.98)), 1e-6)

    @torch.inference_mode()
    def _sr(self, case: MismatchCase) -> Tensor:
        """The picture blurred with the true width, super-resolved for the assumed, (3, H, W)."""
        model = self.networks[case.network]
        sr = model(self.lr(case)[None], representation=self.representation(case))
        return sr[0].clamp(0, 1)

    def psnr(self, case: MismatchCase) -> float:
        """PSNR-Y of the SR picture, dB; raises ValueError for a picture of a few pixels."""
        return psnr_y(self.sr(case), self.hr(case), self.networks[case.network].scale)

    def verdict(self, case: MismatchCase) -> str:
        """The effect of the mismatch in words: see the function `verdict`."""
        gain = self.psnr(case) - self.psnr(case.matched)
        steep, matched = (steepness(self.sr(c)) for c in (case, case.matched))
        return verdict(case.true, case.assumed, gain, steep / max(matched, 1e-6))


def verdict(true: float, assumed: float, gain: float, ratio: float) -> str:
    """In words, the mismatch of two widths in HR pixels, and what was measured of its effect.

    gain: PSNR with the assumed width minus PSNR with the true one, dB. ratio: of the steepness.
    """
    if assumed == true:
        return f"The network assumes the true width: σ = {true:.1f}."
    more = "more" if assumed > true else "less"
    if ratio > 1 + SAME_STEEPNESS:
        looks = f"Over-sharpened: the brightness is {ratio:.2f} times as steep"
    elif ratio < 1 - SAME_STEEPNESS:
        looks = f"Too soft, blurred: the brightness is {ratio:.2f} times as steep"
    else:
        looks = "Hardly any difference: the brightness is about as steep"
    side = "lower" if gain < 0 else "higher"
    return (
        f"The network assumes {more} blur than there is: σ = {assumed:.1f}; the true σ is "
        f"{true:.1f}. {looks} as with the true σ, and the PSNR is {abs(gain):.2f} dB {side}."
    )
