"""§4.2, §4.3 The pictures and degradations that representations are probed on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dasrlib import probes
from dasrlib.data import Pictures, crop_to_multiple
from dasrlib.degradation import Degradations, degrade

Represent = Callable[[Tensor], Tensor]

WIDTHS = (0.2, 1.4, 2.6, 3.8)  # HR pixels
ANGLES = (0, 45, 90, 135)  # degrees, of four anisotropic kernels
NOISES = (0.0, 5.0, 10.0, 15.0)  # as in the paper's figure of §4.3


def tilted_kernels(noise: float) -> dict[float, Degradations]:
    """A kernel four times as long as wide under four angles at ×4, by the angle in degrees (§4.3).

    noise: level on the 0..255 scale.
    """
    return {
        angle: Degradations.anisotropic(4.0, 1.0, math.radians(angle), 4, noise=noise)
        for angle in ANGLES
    }


def noise_levels() -> dict[float, Degradations]:
    """Four noise levels under one anisotropic kernel at ×4, by the level (§4.3)."""
    return {n: Degradations.anisotropic(2.0, 1.0, 0.0, 4, noise=n) for n in NOISES}


def probe_degradations(noisy: bool) -> dict[str, dict[float, Degradations]]:
    """By question, the degradations to tell apart at ×4, by their value (§4.2, §4.3)."""
    if not noisy:
        return {"width": {width: Degradations.isotropic(width, 4) for width in WIDTHS}}
    return {"angle": tilted_kernels(noise=5.0), "noise": noise_levels()}


class Question(NamedTuple):
    """Which degradation does each LR picture have? What is asked, and the right answers."""

    lr: list[Tensor]  # (1, 3, H, W) each
    labels: list[str]  # the degradations' values
    owners: list[str]  # the pictures' names

    @torch.inference_mode()
    def vectors(self, represent: Represent) -> Tensor:
        """(N, D) for N LR pictures; represent: (1, 3, H, W) -> (1, D)."""
        return torch.cat([represent(picture).float().cpu() for picture in self.lr])


def ask(pictures: Pictures, degradations: Mapping[float, Degradations]) -> Question:
    """Every picture under every degradation; each degradation draws the same noise (§4.3)."""
    lr = []
    for degradation in degradations.values():
        generator = torch.Generator().manual_seed(0)  # of the noise
        for _, picture in pictures:
            hr = crop_to_multiple(picture, degradation.scale)[None]
            lr.append(degrade(hr, degradation, generator, "fast"))
    labels = [f"{value:g}" for value in degradations for _ in pictures]
    return Question(lr, labels, [name for name, _ in pictures] * len(degradations))


class ProbeSet:
    """Pictures no encoder was trained on, under degradations to tell apart; degraded once.

    pictures: (name, (3, H, W)) pairs, at least 3. noisy: §4.3's anisotropic kernels with noise
    instead of §4.2's isotropic ones.
    """

    def __init__(self, pictures: Pictures, noisy: bool) -> None:
        asked = probe_degradations(noisy)
        self.questions = {name: ask(pictures, found) for name, found in asked.items()}

    def score(self, represent: Represent) -> dict[str, float]:
        """By question, k-NN accuracy ("width") and R² ("width r2"), each 0..1 at best (§4.2).

        An angle has no R²: 135° is as near to 0° as to 90°. represent: (1, 3, H, W) -> (1, D).
        """
        scores = {}
        for question, asked in self.questions.items():
            vectors, (_, labels, owners) = asked.vectors(represent), asked
            scores[question] = round(probes.knn_accuracy(vectors, labels, owners), 4)
            if question != "angle":
                values = [float(label) for label in labels]
                scores[f"{question} r2"] = round(probes.ridge_r2(vectors, values, owners), 4)
        return scores
