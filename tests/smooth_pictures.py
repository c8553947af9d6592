"""Small pictures with which rounding can be told from error, for the tests of what is shown."""

from __future__ import annotations

import numpy as np
import torch

from dasrlib import data
from dasrlib.degradation import quantise, resize_bicubic


def picture(h: int, w: int, seed: int = 0) -> torch.Tensor:
    """A picture of 8 bit that differs everywhere, and from whose black and white nothing is cut."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 0.25 + 0.5 * torch.rand(1, 3, -(-h // 4), -(-w // 4), generator=generator)
    return quantise(resize_bicubic(coarse, 4))[0, :, :h, :w]


def pixels(image: torch.Tensor) -> np.ndarray:
    """(3, H, W) as (H, W, 3) of bytes."""
    return data.to_uint8(image).permute(1, 2, 0).numpy()
