"""§4.1 The degradations that a run is measured under while it trains, and what is measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch

from dasrlib import evaluation, paper
from dasrlib.baselines import Baseline, Denoised
from dasrlib.baselines.dncnn import DnCNN
from dasrlib.baselines.predictor import Predictor
from dasrlib.data import Pictures
from dasrlib.degradation import Degradations, DegradationSpace, degrade
from dasrlib.network import BlindSR

KERNELS = ((1.0, 1.0, 0), (4.0, 1.5, 60))  # λ1, λ2 in HR pixels, θ in degrees
QUALITY = 60.0  # of the JPEG


def validation_degradations(space: DegradationSpace) -> dict[str, Degradations]:
    """A few degradations of a space, by a label: a kernel width, or what differs in words.

    Of isotropic kernels without noise: Table 2's widths. Of other spaces: a narrow and a wide
    kernel, without noise and with 0.4 of the largest level, and each of these without and with JPEG
    where the space has it.
    """
    scale = space.scale
    if space.is_isotropic and not space.noise:
        return {f"{w:g}": Degradations.isotropic(w, scale) for w in paper.kernel_widths(scale)}
    levels = (0.0, 0.4 * space.noise) if space.noise else (0.0,)
    qualities = (0.0, QUALITY) if space.quality else (0.0,)
    found = {}
    for (l1, l2, angle), noise, quality in itertools.product(KERNELS, levels, qualities):
        label = f"λ {l1:g}, {l2:g}" + (f", noise {noise:g}" if noise else "")
        label += f", JPEG {quality:g}" if quality else ""
        kernel = Degradations.anisotropic(l1, l2, math.radians(angle), scale, noise)
        found[label] = kernel.with_jpeg(quality) if quality else kernel
    return found


def held_out_psnr(
    model: BlindSR | Baseline, pictures: Pictures, degradations: Mapping[str, Degradations]
) -> dict[str, float]:
    """Mean PSNR-Y over the pictures, for each degradation.

    A denoiser is measured with bicubic upsampling behind it: it makes no SR picture itself.
    """
    scale = next(iter(degradations.values())).scale
    system: evaluation.System = model
    if isinstance(model, DnCNN):
        system = Denoised(model, evaluation.Bicubic(scale))
    return evaluation.mean_by_degradation(evaluation.benchmark(system, pictures, degradations))


@torch.inference_mode()
def held_out_code_error(
    predictor: Predictor, pictures: Pictures, degradations: Mapping[str, Degradations]
) -> dict[str, float]:
    """Mean ‖ĉ − c‖² over the pictures, for each degradation: a Predictor makes no picture."""
    predictor.eval()
    device, errors = evaluation.device_of(predictor), {}
    for label, degradation in degradations.items():
        generator = torch.Generator().manual_seed(0)
        codes = predictor.codes(degradation.kernels.to(device))
        found = [
            predictor(degrade(hr[None], degradation, generator, "fast").to(device)).float()
            for _, hr in pictures
        ]
        errors[label] = float((torch.cat(found) - codes).square().mean())
    return errors
