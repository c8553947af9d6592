"""§4.3 The two maps of representations: four tilted kernels, and four noise levels.

The paper shows the maps and prints no number beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dasrlib import data, probes, profiles, weights
from dasrlib.data import Pictures
from dasrlib.network import BlindSR
from dasrlib.studies.probe_set import ask, noise_levels, tilted_kernels

Unknown = Literal["kernel", "noise"]

# Bundled: trained on anisotropic kernels with noise, and on isotropic ones without.
WEIGHTS = ("laptop/model4-x4-aniso", "laptop/model4-x4-iso")
LABELS: dict[Unknown, str] = {"kernel": "θ = {:g}°", "noise": "noise {:g}"}
SHUFFLES = 20
FEW = 10  # pictures whose k-NN is also kept alone: to be measured again in seconds


def degradations(unknown: Unknown) -> dict[float, Any]:
    """The four to tell apart: kernels without noise by their angle, or noise under one kernel."""
    return tilted_kernels(noise=0.0) if unknown == "kernel" else noise_levels()


def encoders(seed: int = 0) -> dict[str, BlindSR]:
    """The networks whose representations are mapped, by the title of the map (§4.3)."""
    general, isotropic = map(weights.load, WEIGHTS)
    torch.manual_seed(seed)
    untrained = BlindSR(
        general.scale, general.sizes, encoder_input=general.encoder_input, patch=general.patch
    ).eval()
    return {
        "untrained": untrained,
        "trained on isotropic kernels without noise": isotropic,
        "trained on anisotropic kernels with noise": general,
    }


def read_off(
    unknown: Unknown, vectors: Tensor, labels: Sequence[str], owners: Sequence[str]
) -> dict[str, float]:
    """k-NN accuracy, silhouette and, for noise, R²: the numbers beside a map (§4.3).

    An angle has no R²: 135° is as near to 0° as to 90°. Arguments as those of dasrlib.probes.
    """
    found = {"knn": probes.knn_accuracy(vectors, labels, owners)}
    if unknown == "noise":
        found["r2"] = probes.ridge_r2(vectors, [float(label) for label in labels], owners)
    found["silhouette"] = probes.silhouette(vectors, labels)
    return {name: round(value, 4) for name, value in found.items()}


def maps(
    unknown: Unknown, pictures: Pictures, models: Mapping[str, BlindSR], seed: int = 0
) -> dict[str, Any]:
    """What plots.representation.degradation_maps draws, and the k-NN on FEW pictures (§4.3).

    pictures: (name, (3, H, W)) pairs, at least 3. models: blind ones for ×4, by title. seed: of
    t-SNE and of the shuffled labels.
    """
    asked = ask(pictures, degradations(unknown))
    lr, labels, owners = asked
    vectors = {title: asked.vectors(model.represent) for title, model in models.items()}
    statistics = probes.pixel_statistics([picture[0] for picture in lr])
    perplexity = min(30, len(labels) // 4)
    *_, shown = vectors.values()
    generator = np.random.default_rng(seed)
    shuffled = [
        probes.knn_accuracy(shown, generator.permutation(labels).tolist(), owners)
        for _ in range(SHUFFLES)
    ]
    few = [i for i, owner in enumerate(owners) if owner in dict(pictures[:FEW])]
    return {
        "labels": [LABELS[unknown].format(float(label)) for label in labels],
        "maps": {
            title: {
                "points": probes.tsne(found, perplexity, seed).round(2).tolist(),
                **read_off(unknown, found, labels, owners),
            }
            for title, found in vectors.items()
        },
        "baseline": read_off(unknown, statistics, labels, owners),
        "chance": 1 / len(set(labels)),
        "shuffled": round(fmean(shuffled), 4),
        "perplexity": perplexity,
        "seed": seed,
        "few": {
            "pictures": [name for name, _ in pictures[:FEW]],
            "knn": {
                title: round(
                    probes.knn_accuracy(
                        found[few], [labels[i] for i in few], [owners[i] for i in few]
                    ),
                    4,
                )
                for title, found in vectors.items()
            },
        },
    }


def reproduce(profile: str, seed: int = 0) -> tuple[str, dict[Unknown, dict[str, Any]]]:
    """The name of the test set, B100, and both maps of it; of corners of the samples in smoke."""
    if profiles.get(profile).is_plumbing:
        test = "samples"
        pictures = [(name, picture[:, :96, :96]) for name, picture in data.images(test)]
    else:
        test = "B100"
        pictures = list(data.images(test))
    models = encoders(seed)
    return test, {unknown: maps(unknown, pictures, models, seed) for unknown in LABELS}
