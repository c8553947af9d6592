"""What a network is told of a picture, and what comes of it: computed, remembered, and in words."""

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

ALIKE = 0.02  # steepness that differs by less is the same to the eye


def da_convolutions(model: BlindSR) -> list[DAConv]:
    """A network's DA convolutions, first to last; raises ValueError for Model 2, which has none."""
    found = [module for module in model.modules() if isinstance(module, DAConv)]
    if not found:
        raise ValueError(f"{model.model} has no DA convolutions: choose another model's weights")
    return found


def steepness(image: Tensor) -> float:
    """How steep the brightness of a picture (3, H, W) is on average, levels of 255 a pixel."""
    y = luminance(image)
    return float(y.diff(dim=-1).abs().mean() + y.diff(dim=-2).abs().mean())


class Case(NamedTuple):
    """A picture, blurred with a width and handed to a network that is told one, HR pixels."""

    network: str
    picture: str
    true: float
    told: float

    @property
    def truthful(self) -> Case:
        """The same picture and blur, told the truth."""
        return self._replace(told=self.true)


class Prediction(NamedTuple):
    """What one DA convolution predicts: kernels (C, k, k), coefficients (C,) or None (Model 3)."""

    kernels: Tensor
    coefficients: Tensor | None


class Telling:
    """Networks and pictures, and what becomes of a picture by the width that a network is told.

    What was computed is remembered: the truth's picture stays while the told width is moved.
    Raises ValueError for no picture, or a network without DA convolutions, and what weights.load
    raises.
    """

    def __init__(self, images: Sequence[tuple[str, Tensor]], names: Sequence[str | Path]) -> None:
        if not images or not names:
            raise ValueError("expected at least one picture and the weights of one network")
        self.pictures = {name: centre_crop(image, SIZE) for name, image in images}
        self.networks = {str(name): weights.load(name) for name in names}
        self.convolutions = {name: da_convolutions(m) for name, m in self.networks.items()}
        self.representation = lru_cache(256)(self._representation)
        self.restored = lru_cache(16)(self._restored)
        self.limit = lru_cache(64)(self._limit)

    def hr(self, case: Case) -> Tensor:
        """The picture (3, H, W), its sides multiples of the network's scale."""
        return crop_to_multiple(self.pictures[case.picture], self.networks[case.network].scale)

    def lr(self, case: Case) -> Tensor:
        """The picture degraded with the true isotropic blur, without noise, (3, H/s, W/s)."""
        degradation = Degradations.isotropic(case.true, self.networks[case.network].scale)
        return degrade(self.hr(case)[None], degradation, backend="fast")[0]

    @torch.inference_mode()
    def _representation(self, case: Case) -> Tensor:
        """(1, 256): of the picture as if the told width were true; Model 5's of the width alone."""
        model = self.networks[case.network]
        degradation = Degradations.isotropic(case.told, model.scale)
        return model.represent(self.lr(case._replace(true=case.told))[None], degradation)

    @torch.inference_mode()
    def predicted(self, case: Case, layer: int) -> Prediction:
        """What DA convolution number `layer`, from 1, predicts when it is told the width."""
        convolution = self.convolutions[case.network][layer - 1]
        compressed = self.networks[case.network].sr.compress(self.representation(case))
        return Prediction(
            convolution.kernels(compressed)[0],
            None if convolution.modulation is None else convolution.coefficients(compressed)[0],
        )

    def _limit(self, network: str, picture: str, layer: int) -> float:
        """Where the colours of the kernels end: the same for all widths, or a move would not show.

        A few large weights are drawn paler than they are, so that the many small ones are seen.
        """
        low, high = paper.SIGMA_RANGE[self.networks[network].scale]
        kernels = [
            self.predicted(Case(network, picture, width, width), layer).kernels
            for width in (low, (low + high) / 2, high)
        ]
        return max(float(torch.stack(kernels).abs().quantile(0.98)), 1e-6)

    @torch.inference_mode()
    def _restored(self, case: Case) -> Tensor:
        """The picture blurred with the true width, enlarged as if with the told one, (3, H, W)."""
        model = self.networks[case.network]
        sr = model(self.lr(case)[None], representation=self.representation(case))
        return sr[0].clamp(0, 1)

    def psnr(self, case: Case) -> float:
        """PSNR-Y of what is restored, dB; raises ValueError for a picture of a few pixels."""
        return psnr_y(self.restored(case), self.hr(case), self.networks[case.network].scale)

    def verdict(self, case: Case) -> str:
        """In words, whether what is restored is over-sharpened or too soft, against the truth's."""
        gain = self.psnr(case) - self.psnr(case.truthful)
        steep, truth = (steepness(self.restored(c)) for c in (case, case.truthful))
        return verdict(case.true, case.told, gain, steep / max(truth, 1e-6))


def verdict(true: float, told: float, gain: float, ratio: float) -> str:
    """In words, what a network made of a told width that is not the true one, HR pixels.

    gain: its PSNR minus the truth's, dB. ratio: its steepness over the truth's. The first half is
    what it was told, the second what was measured: they need not agree.
    """
    if told == true:
        return f"The network is told the truth: σ = {true:.1f}."
    more = "more" if told > true else "less"
    if ratio > 1 + ALIKE:
        looks = f"Over-sharpened: its brightness is {ratio:.2f} times as steep"
    elif ratio < 1 - ALIKE:
        looks = f"Too soft, blurred: its brightness is {ratio:.2f} times as steep"
    else:
        looks = "Hardly any difference: its brightness is about as steep"
    side = "below" if gain < 0 else "above"
    return (
        f"The network is told of {more} blur than there is: σ = {told:.1f}, and it is {true:.1f}. "
        f"{looks} as when it is told the truth, and its PSNR is {abs(gain):.2f} dB {side}."
    )
