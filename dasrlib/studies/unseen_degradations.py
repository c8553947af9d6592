"""§4.4, supplement: degradations beyond the training, and clean pictures, as PSNR on Set14."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dasrlib import data, estimates, evaluation, paper, weights
from dasrlib.data import Pictures, crop_to_multiple
from dasrlib.degradation import Degradations, DegradationSpace, degrade
from dasrlib.studies.real_pictures import NETWORKS

TEST_SET = "Set14"
WIDTHS = (3.0, 3.5, 4.0, *paper.UNSEEN_SIGMAS)  # HR pixels
NOISES = (15.0, 20.0, 25.0, 30.0)  # 0..255 scale
SIGMA = 1.2  # of the noisy and of the clean pictures, HR pixels
NOT_WORSE = 0.3  # dB that may be lost on clean pictures against the isotropic network

Rows = dict[str, dict[str, dict[str, float]]]  # system, degradation, picture: dB


def measure(
    systems: Mapping[str, evaluation.System],
    pictures: Pictures,
    degradations: Mapping[float, Degradations],
) -> Rows:
    """PSNR-Y of each picture by system and degradation (§4.2)."""
    rows: Rows = {}
    for name, system in systems.items():
        table = rows.setdefault(name, {})
        for row in evaluation.benchmark(system, pictures, degradations):
            table.setdefault(f"{row.degradation:g}", {})[row.picture] = round(row.psnr, 4)
    return rows


def mean(values: Mapping[str, float]) -> float:
    """The mean over pictures."""
    return sum(values.values()) / len(values)


def chosen_weights(pictures: Pictures, degradation: Degradations) -> dict[str, str]:
    """The weights that `dasr upscale` takes by itself for each degraded picture (§4.4)."""
    found = {}
    for name, picture in pictures:
        hr = crop_to_multiple(picture, degradation.scale)
        lr = degrade(hr[None], degradation, torch.Generator().manual_seed(0))[0]
        found[name] = estimates.fitting_weights(estimates.read(lr))
    return found


def reproduce() -> dict[str, Any]:
    """Widths and noise levels in and beyond the training's range, and clean pictures (§4.4)."""
    pictures, scale = data.images(TEST_SET), 4
    isotropic, tilted, photo = NETWORKS
    systems: dict[str, evaluation.System] = {"bicubic": evaluation.Bicubic(scale)}
    systems |= {name: weights.load(name) for name in NETWORKS}
    seen = DegradationSpace.anisotropic(scale)
    noisy = {level: Degradations.isotropic(SIGMA, scale, level) for level in NOISES}
    trained_on_noise = {name: systems[name] for name in ("bicubic", tilted, photo)}
    clean = measure(systems, pictures, evaluation.isotropic_degradations(scale, [SIGMA]))
    best = clean[isotropic][f"{SIGMA:g}"]
    lost = {name: mean(best) - mean(clean[name][f"{SIGMA:g}"]) for name in NETWORKS}
    chosen = chosen_weights(pictures, Degradations.isotropic(SIGMA, scale))
    by_choice = {name: clean[taken][f"{SIGMA:g}"][name] for name, taken in chosen.items()}
    lost["dasr upscale"] = mean(best) - mean(by_choice)
    return {
        "dataset": TEST_SET,
        "width": {
            "rows": measure(systems, pictures, evaluation.isotropic_degradations(scale, WIDTHS)),
            "trained": seen.widths[1],
        },
        "noise": {"rows": measure(trained_on_noise, pictures, noisy), "trained": seen.noise},
        "sigma": SIGMA,
        "clean": clean,
        "chosen": chosen,
        "lost": {name: round(value, 3) for name, value in lost.items()},
    }
