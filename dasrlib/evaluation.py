"""§4 Evaluation: PSNR-Y and SSIM-Y as the field computes them, benchmark runs, representations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from dasrlib import data
from dasrlib.data import crop_to_multiple
from dasrlib.degradation import Degradations, degrade, quantise, resize_bicubic
from dasrlib.errors import check_pictures
from dasrlib.network import BlindSR
from dasrlib.network import System as System
from dasrlib.paper import check_scale
from dasrlib.records.run_record import Label, Measurement
from dasrlib.systems import Needs


def luminance(images: Tensor) -> Tensor:
    """RGB (..., 3, H, W) in [0, 1] -> Y (..., H, W) of BT.601 in 16..235, float64 (§4.1)."""
    r, g, b = images.double().unbind(-3)
    return 16 + 65.481 * r + 128.553 * g + 24.966 * b


def _comparable(sr: Tensor, hr: Tensor, shave: int) -> tuple[Tensor, Tensor]:
    if hr.ndim not in (3, 4) or hr.shape[:-3].numel() != 1:
        raise ValueError(f"expected one picture, (3, H, W) or (1, 3, H, W), got {tuple(hr.shape)}")
    if sr.shape != hr.shape:
        raise ValueError(f"SR is {tuple(sr.shape)} and HR is {tuple(hr.shape)}: they must be equal")
    for images in (sr, hr):
        check_pictures(images.unflatten(0, (-1, 3)) if images.ndim == 3 else images)
    if shave < 0:
        raise ValueError(f"shave is {shave}: must be a number of pixels, 0 or more")
    if min(hr.shape[-2:]) <= 2 * shave:
        raise ValueError(
            f"nothing is left of {tuple(hr.shape)} after shaving {shave} pixels off each side"
        )
    inner = (..., slice(shave, hr.shape[-2] - shave), slice(shave, hr.shape[-1] - shave))
    return luminance(quantise(sr))[inner], luminance(hr)[inner]


def psnr_y(sr: Tensor, hr: Tensor, shave: int) -> float:
    """PSNR on the Y channel, SR rounded to 8 bit (§4.1).

    Args:
        sr, hr: (3, H, W) or (1, 3, H, W) in [0, 1].
        shave: pixels of border left out on each side.

    Returns:
        dB; inf for equal pictures.

    Raises:
        ValueError: the sizes differ, there are several pictures, or shaving leaves nothing.
    """
    y_sr, y_hr = _comparable(sr, hr, shave)
    error = float(((y_sr - y_hr) ** 2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim_y(sr: Tensor, hr: Tensor, shave: int) -> float:
    """SSIM on the Y channel with a Gaussian window of 11×11, σ 1.5; SR rounded to 8 bit (§4.1).

    Args:
        sr, hr, shave: as in psnr_y.

    Raises:
        ValueError: as psnr_y, or fewer than 11×11 pixels are left after shaving.
    """
    y_sr, y_hr = _comparable(sr, hr, shave)
    if min(y_hr.shape[-2:]) < 11:
        raise ValueError(
            f"{y_hr.shape[-2]}×{y_hr.shape[-1]} pixels are left after shaving: "
            "SSIM needs at least its window, 11×11"
        )
    pictures = y_sr.squeeze(0).numpy(), y_hr.squeeze(0).numpy()
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(*pictures, data_range=255, **window))


class Bicubic:
    """Plain bicubic upsampling, as a system."""

    name = "bicubic"
    needs: Needs = "nothing"

    def __init__(self, scale: int) -> None:
        self.scale = check_scale(scale)

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """LR pictures (B, 3, H, W) -> (B, 3, sH, sW); the degradation is not read."""
        check_pictures(lr)
        return resize_bicubic(lr, self.scale)


def device_of(system: object) -> torch.device:
    """Where a network's weights are; the CPU for a system without any."""
    parameters = system.parameters() if isinstance(system, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def degrade_and_restore(
    system: System,
    picture: Tensor,
    degradation: Degradations,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """A picture (3, H, W) in [0, 1], cut to multiples of the scale, and its SR picture (§4.1).

    A blind system is given the LR picture alone, another one also the degradation. Both results are
    on the CPU, in [0, 1].
    """
    hr, sr, _ = _timed(system, picture, degradation, generator, dtype)
    return hr, sr


@torch.inference_mode()
def _timed(
    system: System,
    picture: Tensor,
    degradation: Degradations,
    generator: torch.Generator | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, float]:
    """What degrade_and_restore returns, and the seconds from the LR picture to the SR picture."""
    device = device_of(system)
    hr = crop_to_multiple(picture, degradation.scale)
    lr = degrade(hr[None], degradation, generator, "fast")
    given = None if system.needs == "nothing" else degradation
    lower = isinstance(system, nn.Module) and dtype != torch.float32
    started = time.perf_counter()
    with torch.autocast(device.type, dtype, enabled=lower):
        sr = system.restore(lr.to(device), given).float().cpu()[0]
        seconds = time.perf_counter() - started
    # A system that is told something wrong overshoots, as far as no picture does.
    return hr, sr.clamp(0, 1), seconds


def benchmark(
    system: System,
    pictures: str | data.Pictures,
    degradations: Mapping[Label, Degradations],
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> list[Measurement[Label]]:
    """PSNR-Y and SSIM-Y of every picture under every degradation (§4.2, §4.3).

    Args:
        system: a network, Bicubic, or anything else that answers `restore`.
        pictures: a name for data.images, or (name, (3, H, W) in [0, 1]) pairs.
        degradations: one of each kind, by kernel width or by a word.
        seed: of the noise.
        dtype: that a network computes in.

    Returns:
        A row for each degradation and picture, in this order; `mean_by_degradation` averages them.
    """
    if isinstance(pictures, str):
        pictures = data.images(pictures)
    if isinstance(system, nn.Module):
        system.eval()
    rows = []
    for label, degradation in degradations.items():
        generator = torch.Generator().manual_seed(seed)
        for name, picture in pictures:
            try:
                hr, sr, seconds = _timed(system, picture, degradation, generator, dtype)
                psnr, ssim = (metric(sr, hr, degradation.scale) for metric in (psnr_y, ssim_y))
            except ValueError as error:
                raise ValueError(f"the picture {name}: {error}") from error
            rows.append(Measurement(system.name, name, label, psnr, ssim, seed, seconds))
    return rows


def mean_by_degradation(
    rows: Iterable[Measurement[Label]], column: Literal["psnr", "ssim"] = "psnr"
) -> dict[Label, float]:
    """The mean over the pictures for each degradation, in the order of benchmark's rows."""
    collected: dict[Label, list[float]] = {}
    for row in rows:
        collected.setdefault(row.degradation, []).append(getattr(row, column))
    return {label: float(np.mean(values)) for label, values in collected.items()}


def isotropic_degradations(scale: int, widths: Sequence[float]) -> dict[float, Degradations]:
    """Isotropic degradations without noise by kernel width σ in HR pixels, for benchmark (§4.2)."""
    return {float(width): Degradations.isotropic(width, scale) for width in widths}


@torch.inference_mode()
def representations(
    model: BlindSR,
    pictures: data.Pictures,
    degradations: Mapping[Label, Degradations],
    seed: int = 0,
) -> tuple[Tensor, list[str], list[Label]]:
    """The representation of every picture under every degradation: what t-SNE maps show (§4.2).

    Read is the encoder's pooled output, not the MLP's embedding. Returns (N, 256) and, for each of
    the N = pictures × degradations, the picture's name and the degradation's key. seed: of the
    noise.
    """
    model.eval()
    device = device_of(model)
    vectors, names, labels = [], [], []
    for label, degradation in degradations.items():
        generator = torch.Generator().manual_seed(seed)
        for name, picture in pictures:
            hr = crop_to_multiple(picture, degradation.scale)
            lr = degrade(hr[None], degradation, generator, "fast")
            vectors.append(model.represent(lr.to(device), degradation).float().cpu())
            names.append(name)
            labels.append(label)
    return torch.cat(vectors), names, labels
