"""Beyond the paper: JPEG compression, which almost every photograph went through."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dasrlib.errors import check_pictures


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """Each picture as a JPEG file has it, colour at half the resolution (4:2:0).

    The grid of 8×8 blocks begins in the upper left corner. There is no gradient.

    Args:
        images: (B, 3, H, W) in [0, 1], multiples of 1/255.
        quality: (B,), 1..100, rounded to whole numbers; 0 leaves the picture as it is.

    Returns:
        (B, 3, H, W) in [0, 1], multiples of 1/255.
    """
    check_pictures(images)
    compressed = images.clone()
    for i, level in enumerate(quality.round().int().tolist()):
        if level:
            pixels = (images[i] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=level, subsampling="4:2:0")
            decoded = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
            compressed[i] = decoded.to(images) / 255
    return compressed
