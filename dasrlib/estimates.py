"""§4.4 What happened to a photograph: its noise level and JPEG quality, as an encoder reads them.

A readout is a linear map on the representations of one encoder. It is fitted when a training on
noisy pictures ends, and kept in the json beside the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dasrlib import probes, weights
from dasrlib.acceleration.devices import to_device
from dasrlib.data import Pictures, centre_crop
from dasrlib.degradation import DegradationSpace, degrade
from dasrlib.evaluation import device_of
from dasrlib.network import BlindSR
from dasrlib.records.run_record import Readout, RunRecord
from dasrlib.systems import DEFAULT_WEIGHTS, PHOTO_WEIGHTS

READER = PHOTO_WEIGHTS  # bundled: its encoder has seen blur, noise and JPEG
DRAWS = 40  # degradations of each picture that a readout is fitted on
SIDE = 384  # LR pixels of a photograph's middle part, which are read
# Below these, a picture counts as one without noise, or without JPEG.
VISIBLE_NOISE, VISIBLE_LOSS = 3.0, 10.0


class Estimate(NamedTuple):
    """What an encoder reads off a picture."""

    noise: float  # standard deviation on the 0..255 scale
    quality: float  # of JPEG; 100: as good as none

    @property
    def is_noisy(self) -> bool:
        return self.noise > VISIBLE_NOISE

    @property
    def is_compressed(self) -> bool:
        return self.quality < 100 - VISIBLE_LOSS

    def __str__(self) -> str:
        noise = f"noise level about {self.noise:.0f} of 255"
        jpeg = f"JPEG quality about {self.quality:.0f}"
        return ", ".join(
            [
                noise if self.is_noisy else "no visible noise",
                jpeg if self.is_compressed else "no visible JPEG",
            ]
        )


@torch.inference_mode()
def _seen(
    model: BlindSR, pictures: Pictures, space: DegradationSpace, draws: int, seed: int
) -> tuple[Tensor, Tensor, list[str]]:
    """Representations (N, 256), their (noise level, 100 − quality) (N, 2), and pictures' names."""
    generator, device = torch.Generator().manual_seed(seed), device_of(model)
    vectors, truths, names = [], [], []
    for name, picture in pictures:
        drawn = space.sample(draws, generator)
        hr = picture[None].expand(draws, -1, -1, -1)
        lr = to_device(degrade(hr, drawn, generator, "fast"), device)
        vectors.append(model.represent(lr).float().cpu())
        quality = torch.zeros(draws) if drawn.quality is None else drawn.quality
        truths.append(torch.stack([drawn.noise, (100 - quality).where(quality > 0, 0)], dim=1))
        names += [name] * draws
    return torch.cat(vectors), torch.cat(truths), names


def fit(
    model: BlindSR, images: tuple[Pictures, Pictures], space: DegradationSpace, seed: int = 0
) -> Readout:
    """A readout of an encoder, with its mean errors on pictures it was not fitted on.

    images: (to fit on, to measure the errors on), (3, H, W) in [0, 1], sides divisible by the
    scale.
    """
    vectors, truths, names = _seen(model, images[0], space, DRAWS, seed)
    weight, bias = [], []
    for truth in truths.T:
        scaler, ridge = probes.fit_ridge(vectors, truth, names).best_estimator_.named_steps.values()
        row = ridge.coef_ / scaler.scale_
        weight.append([float(f"{value:.6g}") for value in row])
        bias.append(float(ridge.intercept_ - row @ scaler.mean_))
    vectors, truths, _ = _seen(model, images[1], space, DRAWS // 10, seed + 1)
    unchecked = Readout(weight, bias, [])
    errors = (_values(vectors, unchecked) - truths).abs().mean(dim=0)
    return Readout(weight, bias, [round(error, 3) for error in errors.tolist()])


def _values(vectors: Tensor, readout: Readout) -> Tensor:
    """(N, 256) -> noise levels and 100 − quality, (N, 2)."""
    return vectors @ torch.tensor(readout.weight).T + torch.tensor(readout.bias)


@torch.inference_mode()
def estimate(lr: Tensor, model: BlindSR, readout: Readout) -> Estimate:
    """The noise level and JPEG quality of a picture (3, H, W) in [0, 1], read in its middle."""
    middle = centre_crop(lr, SIDE)[None].to(device_of(model))
    noise, loss = _values(model.represent(middle).float().cpu(), readout)[0].clamp(min=0).tolist()
    return Estimate(noise, max(100 - loss, 1.0))


def untrained_for(found: Estimate, record: RunRecord) -> list[str]:
    """What a picture has and a training had not: noise, JPEG, both or nothing."""
    visible = {"noise": found.is_noisy, "JPEG": found.is_compressed}
    trained = {"noise": record.space["noise"], "JPEG": record.space.get("quality")}
    return [name for name, seen in visible.items() if seen and not trained[name]]


def read(lr: Tensor) -> Estimate:
    """What the encoder of READER reads off a picture (3, H, W) in [0, 1]."""
    readout = weights.catalogue()[READER].readout
    assert readout is not None  # it was trained with noise
    return estimate(lr, weights.load(READER), readout)


def fitting_weights(found: Estimate) -> str:
    """The bundled weights for a photograph: those of PHOTO_WEIGHTS for noise or JPEG, else others.

    On clean pictures a network that was trained on nothing else is better (§4.4).
    """
    return PHOTO_WEIGHTS if found.is_noisy or found.is_compressed else DEFAULT_WEIGHTS


def advice(found: Estimate, name: str | Path) -> str | None:
    """A sentence if the named weights do not fit a picture, and which fit better."""
    record = weights.record(name)
    unseen = untrained_for(found, record) if record else []
    if not unseen:
        return None
    return (
        f"{name} was trained without {' and '.join(unseen)}: "
        f"--weights {fitting_weights(found)} fits this picture better"
    )
