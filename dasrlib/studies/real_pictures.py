"""§4.4 Real photographs: what three networks make of them, and what an encoder thinks happened.

Nobody knows how a photograph was degraded. So its representation is compared with those of a bank:
clear pictures under 64 known degradations.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dasrlib import data, inference, profiles, weights
from dasrlib.data import Pictures, crop_to_multiple
from dasrlib.degradation import Degradations
from dasrlib.estimates import READER
from dasrlib.evaluation import device_of, luminance, representations
from dasrlib.network import BlindSR
from dasrlib.plots.packed_images import packed

PHOTOGRAPHS = "RealSRSet"
NETWORKS = ("laptop/model4-x4-iso", "laptop/model4-x4-aniso", READER)
WIDTHS = (0.2, 1.2, 2.4, 3.6)  # HR pixels
NOISES = (0.0, 5.0, 10.0, 20.0)  # 0..255 scale
QUALITIES = (0, 80, 60, 40)  # of JPEG; 0: none
# Chosen by eye from the photographs alone, before any network had seen them: a neon sign at night,
# a street sign, a noisy dog, and an old print.
LARGE = ("building", "dped_crop00061", "dog", "oldphoto2")
LARGE_SIDE, SMALL_SIDE = 48, 32  # LR pixels of the crops that are shown
JPEG = 90  # quality of the SR crops in the json


def bank_degradations(scale: int) -> dict[str, Degradations]:
    """The 64 degradations of the bank, isotropic widths × noise levels × JPEG qualities, by what
    they are in words (§4.4)."""
    bank = {}
    for width, noise, quality in itertools.product(WIDTHS, NOISES, QUALITIES):
        words = f"σ {width:g}, noise {noise:g}, {f'JPEG {quality}' if quality else 'no JPEG'}"
        bank[words] = Degradations.isotropic(width, scale, noise).with_jpeg(quality)
    return bank


def clear_pictures() -> tuple[str, Pictures]:
    """Pictures that no bundled network was trained on, and where they are from (§4.1).

    They are the held-out pictures of the laptop profile's training data, or else the samples.
    """
    profile = profiles.get("laptop")
    if data.available()[profile.data[0]] is None:
        return "samples", data.images("samples")
    held_out = data.split(data.paths(profile.data[0]), profile.held_out)[1]
    return profile.data[0], [(path.stem, data.load_image(path)) for path in held_out]


@dataclass(frozen=True)
class Bank:
    """Known degradations as points: the mean representation of each (§4.4).

    Args:
        keys: K degradations.
        points: (K, D), the mean over the pictures; every dimension is standardised.
        centre, spread: (D,), mean and standard deviation of the vectors before.
    """

    keys: list[str]
    points: Tensor
    centre: Tensor
    spread: Tensor

    @classmethod
    def of(cls, vectors: Tensor, labels: Sequence[str]) -> Bank:
        """The bank of vectors (N, D) and the degradation of each."""
        keys = list(dict.fromkeys(labels))
        centre, spread = vectors.mean(dim=0), vectors.std(dim=0).clamp(min=1e-6)
        member = torch.tensor([[label == key for label in labels] for key in keys]).float()
        means = member @ vectors / member.sum(dim=1, keepdim=True)
        return cls(keys, (means - centre) / spread, centre, spread)

    def distances(self, vectors: Tensor) -> Tensor:
        """Euclidean distances of vectors (N, D) to every degradation, (N, K).

        They are divided by √D: 1 is a standard deviation in every dimension.
        """
        scaled = (vectors - self.centre) / self.spread
        return torch.cdist(scaled, self.points) / len(self.centre) ** 0.5

    def to_json(self) -> dict[str, Any]:
        """The bank as a figure's json can hold it."""
        table = torch.cat([self.points, self.centre[None], self.spread[None]]).numpy()
        text = base64.b64encode(table.astype("<f4").tobytes()).decode()
        return {"keys": self.keys, "table": text}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Bank:
        """The bank that `to_json` wrote."""
        numbers = np.frombuffer(base64.b64decode(found["table"]), "<f4").copy()
        table = torch.from_numpy(numbers).view(len(found["keys"]) + 2, -1)
        return cls(found["keys"], table[:-2], table[-2], table[-1])


def how_often_right(
    vectors: Tensor, names: Sequence[str], labels: Sequence[str]
) -> dict[str, float]:
    """How often the nearest degradation is the true one, on pictures outside the bank, 0..1 (§4.4).

    Every second picture makes a bank for the other half, and the other way round. "all" counts
    where width, noise and JPEG are right together: chance is 1/64. That of each part is 1/4.
    """
    order = list(dict.fromkeys(names))
    half = np.array([order.index(name) % 2 for name in names])
    truths, guesses = np.array(labels), np.empty(len(labels), dtype=object)
    for out in (half == 0, half == 1):
        bank = Bank.of(vectors[~out], truths[~out].tolist())
        guesses[out] = [bank.keys[i] for i in bank.distances(vectors[out]).argmin(dim=1).tolist()]
    right = np.array([t.split(", ") for t in truths]) == np.array([g.split(", ") for g in guesses])
    parts = dict(zip(("width", "noise", "JPEG"), right.mean(axis=0).tolist(), strict=True))
    return {"all": float(right.all(axis=1).mean()), **parts}


@torch.inference_mode()
def thought(lr: Tensor, model: BlindSR, bank: Bank) -> dict[str, Any]:
    """What an encoder thinks happened to a picture (3, H, W): the nearest degradation (§4.4).

    "ratio" is its distance over the next one's: near 1, the two are equally good.
    """
    vector = model.represent(lr[None].to(device_of(model))).float().cpu()
    distances = bank.distances(vector)[0]
    first, second = distances.topk(2, largest=False).values.tolist()
    return {
        "nearest": bank.keys[int(distances.argmin())],
        "distance": round(first, 3),
        "ratio": round(first / second, 3),
    }


def busiest(lr: Tensor, side: int) -> tuple[int, int]:
    """Top and left of the square with the most gradient energy: the rule for every crop (§4.4)."""
    y = luminance(lr)[None].float()
    energy = F.pad(y.diff(dim=-1) ** 2, (0, 1)) + F.pad(y.diff(dim=-2) ** 2, (0, 0, 0, 1))
    sums = F.avg_pool2d(energy, min(side, *lr.shape[-2:]), stride=1)[0]
    top, left = divmod(int(sums.argmax()), sums.shape[-1])
    return top, left


def crops(lr: Tensor, models: dict[str, BlindSR], side: int) -> dict[str, Any]:
    """The busiest square of a picture as text: LR, and SR by each network from the whole picture.

    Returns "box" (top, left, side in LR pixels), "lr" and "sr", by network.
    """
    top, left = busiest(lr, side)
    restored = {}
    for name, model in models.items():
        sr, s = inference.upscale(lr, model, dtype=torch.float32), model.scale
        part = sr[:, s * top : s * (top + side), s * left : s * (left + side)]
        restored[name] = packed(part, JPEG)
    part = lr[:, top : top + side, left : left + side]
    return {"box": [top, left, side], "lr": packed(part), "sr": restored}


def reproduce() -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """All photographs with what the encoder thinks, four with large crops, and the data sets
    (§4.4)."""
    photographs = data.images(PHOTOGRAPHS)
    models = {name: weights.load(name) for name in NETWORKS}
    reader, (source, clear) = models[READER], clear_pictures()
    clear = [(name, crop_to_multiple(picture, reader.scale)) for name, picture in clear]
    vectors, names, labels = representations(reader, clear, bank_degradations(reader.scale))
    bank = Bank.of(vectors, labels)
    own = bank.distances(vectors)[range(len(labels)), [bank.keys.index(key) for key in labels]]
    sheet = {
        "reader": READER,
        "bank": bank.to_json(),
        "clear": source,
        "pictures": len(clear),
        "right": how_often_right(vectors, names, labels),
        "own": round(float(own.median()), 3),
        "photographs": [
            {"name": name} | thought(lr, reader, bank) | crops(lr, {READER: reader}, SMALL_SIDE)
            for name, lr in photographs
        ],
    }
    large = [
        {"name": name} | crops(lr, models, LARGE_SIDE) for name, lr in photographs if name in LARGE
    ]
    return sheet, {"photographs": large}, [PHOTOGRAPHS, source]
