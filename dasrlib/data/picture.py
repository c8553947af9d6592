"""One picture between two files: what was read, what is computed from it, what is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_uint8(image: Tensor) -> Tensor:
    """A picture in [0, 1] as uint8, rounded; a uint8 picture is returned unchanged."""
    return image if image.dtype == torch.uint8 else (image * 255).round().to(torch.uint8)


def to_float(image: Tensor) -> Tensor:
    """A picture as float32 in [0, 1]; uint8 is divided by 255."""
    return image.float().div_(255) if image.dtype == torch.uint8 else image.float()


@dataclass(frozen=True)
class Picture:
    """A picture in the colours of sRGB, upright, with all that a file says beside its pixels.

    Args:
        pixels: (1, H, W) grey or (3, H, W) RGB, uint8 or float in [0, 1].
        alpha: (1, H, W), 0 where nothing is to be seen; None where the file has no transparency.
        bits: of each channel of its file, 8 or 16.
        exif: as Pillow writes it, without the rotation mark; empty for none.
        remarks: what was not as expected, a sentence each.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    exif: bytes = b""
    remarks: tuple[str, ...] = ()

    @property
    def is_grey(self) -> bool:
        return self.pixels.shape[0] == 1

    @property
    def size(self) -> str:
        """Width×height."""
        return f"{self.pixels.shape[2]}×{self.pixels.shape[1]}"

    def rgb(self) -> Tensor:
        """The pixels (3, H, W), grey three times; shares memory and keeps the dtype."""
        return self.pixels.expand(3, -1, -1)

    def over_white(self) -> Picture:
        """Without transparency: the pixels over white, as float where there was some."""
        if self.alpha is None:
            return self
        alpha = to_float(self.alpha)
        return replace(self, pixels=to_float(self.pixels) * alpha + (1 - alpha), alpha=None)

    def with_hidden_filled(self) -> Picture:
        """Pixels of alpha 0 take the colour of the nearest pixel that is to be seen.

        Programs leave any colour there, and enlarging would mix it into the visible edge.
        """
        if self.alpha is None or bool(self.alpha.all()) or not bool(self.alpha.any()):
            return self
        from scipy import ndimage

        hidden = (self.alpha[0] == 0).numpy()
        y, x = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
        return replace(self, pixels=self.pixels[:, torch.from_numpy(y), torch.from_numpy(x)])

    def alpha_of_size(self, height: int, width: int) -> Tensor | None:
        """The transparency, resized by bicubic interpolation (a = −0.5), float (1, height, width).

        Its values are clamped to [0, 1].
        """
        if self.alpha is None:
            return None
        plane = Image.fromarray(to_float(self.alpha)[0].numpy())
        resized = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
        return torch.from_numpy(resized.copy()).clamp_(0, 1)[None]
