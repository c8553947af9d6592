"""§4 Evaluation: PSNR-Y and SSIM-Y as the field computes them, benchmark runs, representations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from dasrlib import data
from dasrlib.data import crop_to_multiple
from dasrlib.degradation import Degradations, degrade, quantise, resize_bicubic
from dasrlib.network import BlindSR

Row = dict[str, Any]


def luminance(images: Tensor) -> Tensor:
    """The Y channel of BT.601 in studio range, 16..235, of RGB images in [0, 1]; (..., 3, H, W) ->
    (..., H, W)."""
    r, g, b = images.double().unbind(-3)
    return 16 + 65.481 * r + 128.553 * g + 24.966 * b


def _comparable(sr: Tensor, hr: Tensor, shave: int) -> tuple[Tensor, Tensor]:
    if hr.ndim not in (3, 4) or hr.shape[:-3].numel() != 1:
        raise ValueError(f"expected one picture, (3, H, W) or (1, 3, H, W), got {tuple(hr.shape)}")
    if sr.shape != hr.shape:
        raise ValueError(f"SR is {tuple(sr.shape)} and HR is {tuple(hr.shape)}: they must be equal")
    if min(hr.shape[-2:]) <= 2 * shave:
        raise ValueError(
            f"nothing is left of {tuple(hr.shape)} after shaving {shave} pixels off each side"
        )
    inner = (..., slice(shave, hr.shape[-2] - shave), slice(shave, hr.shape[-1] - shave))
    return luminance(quantise(sr))[inner], luminance(hr)[inner]


def psnr_y(sr: Tensor, hr: Tensor, shave: int) -> float:
    """PSNR in dB on the Y channel, SR rounded to 8 bit, `shave` pixels of border left out (§4.1).

    sr, hr: (3, H, W) or (1, 3, H, W) in [0, 1]. Returns inf for equal pictures.
    Raises ValueError for different sizes or nothing left after shaving.
    """
    y_sr, y_hr = _comparable(sr, hr, shave)
    error = float(((y_sr - y_hr) ** 2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim_y(sr: Tensor, hr: Tensor, shave: int) -> float:
    """SSIM on the Y channel: 11×11 Gaussian window of σ 1.5, SR rounded to 8 bit, border shaved
    (§4.1).

    sr, hr: (3, H, W) or (1, 3, H, W) in [0, 1]. Raises ValueError as psnr_y does.
    """
    y_sr, y_hr = _comparable(sr, hr, shave)
    if min(y_hr.shape[-2:]) < 11:
        raise ValueError(
            f"{y_hr.shape[-2]}×{y_hr.shape[-1]} pixels are left after shaving: "
            "SSIM needs at least its window, 11×11"
        )
    return float(
        structural_similarity(
            y_sr.squeeze(0).numpy(),
            y_hr.squeeze(0).numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
    )


def bicubic(scale: int) -> Callable[[Tensor], Tensor]:
    """Plain bicubic enlargement as a model: LR (B, 3, H, W) -> (B, 3, sH, sW)."""
    return lambda lr: resize_bicubic(lr, scale)


def is_told(model: object) -> bool:
    """Whether a model wants the true degradation beside the picture (Model 5)."""
    return isinstance(model, BlindSR) and not model.blind


def device_of(model: object) -> torch.device:
    """Where a model's weights are; the CPU for a model without any."""
    if isinstance(model, nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")


@torch.inference_mode()
def benchmark(
    model: Callable[..., Tensor],
    images: str | Sequence[tuple[str, Tensor]],
    degradations: Mapping[str, Degradations],
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> list[Row]:
    """A tidy table of a model's PSNR-Y and SSIM-Y: one row a picture and degradation (§4.2, §4.3).

    model: anything that enlarges LR (1, 3, H, W) in [0, 1]; Model 5 is also told the degradation.
    images: a name for data.images, or (name, picture) pairs. degradations: by label, one each.
    seed: of the noise. dtype: that a network computes in.
    Rows: image, degradation, psnr_y (dB), ssim_y. `mean` averages them.
    """
    if isinstance(images, str):
        images = data.images(images)
    network = isinstance(model, nn.Module)
    if isinstance(model, nn.Module):
        model.eval()
    device = device_of(model)
    rows = []
    for label, degradation in degradations.items():
        generator = torch.Generator().manual_seed(seed)
        for name, image in images:
            hr = crop_to_multiple(image, degradation.scale)
            lr = degrade(hr[None], degradation, generator, "fast").to(device)
            told = {"degradations": degradation} if is_told(model) else {}
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32 and network):
                sr = model(lr, **told).float().cpu()[0]
            rows.append(
                {
                    "image": name,
                    "degradation": label,
                    "psnr_y": psnr_y(sr, hr, degradation.scale),
                    "ssim_y": ssim_y(sr, hr, degradation.scale),
                }
            )
    return rows


def mean(rows: Iterable[Row], column: str = "psnr_y") -> dict[str, float]:
    """The mean of a column of benchmark's table for each degradation, in the table's order."""
    collected: dict[str, list[float]] = {}
    for row in rows:
        collected.setdefault(row["degradation"], []).append(row[column])
    return {label: float(np.mean(values)) for label, values in collected.items()}


def isotropic_grid(scale: int, widths: Sequence[float]) -> dict[str, Degradations]:
    """Noise-free isotropic degradations by label, for benchmark: {"1.2": ...} (§4.2)."""
    return {f"{width:g}": Degradations.isotropic(width, scale) for width in widths}


@torch.inference_mode()
def representations(
    model: BlindSR,
    images: Sequence[tuple[str, Tensor]],
    degradations: Mapping[str, Degradations],
    seed: int = 0,
) -> tuple[Tensor, list[str], list[str]]:
    """The representation of every picture under every degradation: what the t-SNE figures show
    (§4.2).

    Returns (N, 256) and, for each of the N = pictures × degradations, the picture's name and the
    degradation's label. The layer read is the encoder's pooled output, not the MLP's embedding.
    """
    model.eval()
    device = device_of(model)
    vectors, names, labels = [], [], []
    for label, degradation in degradations.items():
        generator = torch.Generator().manual_seed(seed)
        for name, image in images:
            hr = crop_to_multiple(image, degradation.scale)
            lr = degrade(hr[None], degradation, generator, "fast")
            vectors.append(model.represent(lr.to(device), degradation).float().cpu())
            names.append(name)
            labels.append(label)
    return torch.cat(vectors), names, labels
