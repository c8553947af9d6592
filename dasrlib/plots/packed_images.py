"""Small pictures as text that a figure's json can hold."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def packed(picture: Tensor, quality: int | None = None) -> str:
    """A picture (3, H, W) in [0, 1] as text: an 8-bit PNG in base64, or a JPEG of a quality."""
    levels = picture.detach().float().cpu().clamp(0, 1).mul(255).round().byte()
    file = io.BytesIO()
    image = Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
    if quality is None:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=quality)
    return base64.b64encode(file.getvalue()).decode()


def unpacked(text: str) -> Tensor:
    """The picture (3, H, W) in [0, 1] that `packed` made text of."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
