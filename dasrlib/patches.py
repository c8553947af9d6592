"""Training patches: two crops of each of B pictures, flipped and turned (§4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class PatchPairs:
    """Draws pairs of patches from pictures that are held in memory as bytes.

    images: (name, (3, H, W) in [0, 1]) pairs, as data.images gives them. patch: in HR pixels.
    Raises ValueError for a picture smaller than a patch.
    """

    def __init__(self, images: Sequence[tuple[str, Tensor]], patch: int) -> None:
        if not images:
            raise ValueError("there are no pictures to draw patches from")
        for name, image in images:
            if min(image.shape[-2:]) < patch:
                h, w = image.shape[-2:]
                raise ValueError(
                    f"{name} is {h}×{w}, smaller than a patch of {patch}×{patch}: "
                    "leave it out, or train with smaller patches"
                )
        self.patch = patch
        self.images = [(image * 255).round().to(torch.uint8) for _, image in images]

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Two patches of each of `batch` pictures, (batch, 2, 3, P, P) in [0, 1].

        The pictures are drawn with replacement; both patches of a picture get the same one of the
        eight flips and turns, as the released code flips the picture before it cuts.
        """
        chosen = torch.randint(len(self.images), (batch,), generator=generator)
        places = torch.rand(batch, 2, 2, generator=generator)
        turns = torch.randint(8, (batch,), generator=generator)
        p = self.patch
        out = torch.empty(batch, 2, 3, p, p, dtype=torch.uint8)
        for i in range(batch):
            image = self.images[int(chosen[i])]
            room = torch.tensor([image.shape[-2] - p + 1, image.shape[-1] - p + 1])
            for j, (top, left) in enumerate((places[i] * room).long().tolist()):
                out[i, j] = image[:, top : top + p, left : left + p]
            turned = torch.rot90(out[i], int(turns[i]) % 4, dims=(-2, -1))
            out[i] = turned.flip(-1) if turns[i] >= 4 else turned
        return out.float() / 255
