"""§4.2 What the representation is worth to the SR network: the content study, and wrong
representations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dasrlib.data import Pictures, crop_to_multiple
from dasrlib.degradation import Degradations, degrade, quantise
from dasrlib.evaluation import device_of, psnr_y
from dasrlib.network import BlindSR


def _lr(model: BlindSR, hr: Tensor, degradation: Degradations) -> Tensor:
    """HR (3, H, W) -> LR (1, 3, H/s, W/s) on the model's device, the same noise every time."""
    generator = torch.Generator().manual_seed(0)
    return degrade(hr[None], degradation, generator, "fast").to(device_of(model))


def _psnr(model: BlindSR, lr: Tensor, representation: Tensor, hr: Tensor) -> float:
    sr = quantise(model(lr, representation=representation).float().cpu())[0]
    return psnr_y(sr, hr, model.scale)


@torch.inference_mode()
def content_costs(model: BlindSR, pictures: Pictures, degradation: Degradations) -> Tensor:
    """What it costs to restore a picture with the representation of another one that was degraded
    alike (§4.2, the content study).

    Returns (N, N) in dB for N pictures: entry i, j is the PSNR-Y of picture i with its own
    representation minus that with picture j's. It is 0 on the diagonal, and below 0 where the other
    one serves better. Raises ValueError for a model of another scale, or one that is not blind.
    """
    if model.needs != "nothing":
        raise ValueError(
            f"{model.name}'s representation is of the degradation alone: choose a blind model"
        )
    if degradation.scale != model.scale:
        raise ValueError(
            f"the degradation is of scale {degradation.scale}, the model of {model.scale}"
        )
    model.eval()
    hrs = [crop_to_multiple(picture, model.scale) for _, picture in pictures]
    lrs = [_lr(model, hr, degradation) for hr in hrs]
    representations = [model.represent(lr) for lr in lrs]
    pairs = zip(lrs, hrs, strict=True)
    psnr = torch.tensor([[_psnr(model, lr, r, hr) for r in representations] for lr, hr in pairs])
    return psnr.diagonal()[:, None] - psnr


@torch.inference_mode()
def wrong_representations(
    model: BlindSR, pictures: Pictures, true: Sequence[float], assumed: Sequence[float]
) -> Tensor:
    """Kernel mismatch: PSNR-Y where the network assumes another kernel width than the true one
    (§4.2).

    A blind model is given the representation of the same picture degraded with the assumed width,
    so that nothing but the degradation is wrong. Model 5 is given the assumed width.

    true, assumed: isotropic kernel widths in HR pixels. Returns (true, assumed) in dB, means over
    the pictures.
    """
    model.eval()
    psnr = torch.zeros(len(true), len(assumed))
    wrong = [Degradations.isotropic(width, model.scale) for width in assumed]
    for _, picture in pictures:
        hr = crop_to_multiple(picture, model.scale)
        representations = [model.represent(_lr(model, hr, d), d) for d in wrong]
        for row, width in enumerate(true):
            lr = _lr(model, hr, Degradations.isotropic(width, model.scale))
            psnr[row] += torch.tensor([_psnr(model, lr, r, hr) for r in representations])
    return psnr / len(pictures)
