"""Training patches: two crops of each of B pictures, flipped and turned (§4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dasrlib.acceleration.devices import moved
from dasrlib.data import to_uint8


class PatchPairs:
    """Draws pairs of patches from pictures that are held as bytes, where the patches are wanted.

    images: (name, (3, H, W)) pairs, uint8 or floats in [0, 1]. patch:
    in HR pixels. device: of the patches; the pictures lie there too where half of its free memory
    holds them. Raises ValueError for a picture smaller than a patch.
    """

    def __init__(
        self,
        images: Sequence[tuple[str, Tensor]],
        patch: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if not images:
            raise ValueError("there are no pictures to draw patches from")
        for name, image in images:
            if min(image.shape[-2:]) < patch:
                h, w = image.shape[-2:]
                raise ValueError(
                    f"{name} is {h}×{w}, smaller than a patch of {patch}×{patch}: "
                    "leave it out, or train with smaller patches"
                )
        self.patch, self.device = patch, torch.device(device)
        sizes = torch.tensor([image.numel() for _, image in images])
        self.heights = torch.tensor([image.shape[-2] for _, image in images])
        self.widths = torch.tensor([image.shape[-1] for _, image in images])
        self.offsets = sizes.cumsum(0) - sizes
        # One line of bytes, so that a batch of patches of many pictures is one gather.
        self.bytes = torch.empty(int(sizes.sum()), dtype=torch.uint8, device=self._home(sizes))
        for offset, (_, image) in zip(self.offsets.tolist(), images, strict=True):
            self.bytes[offset : offset + image.numel()] = to_uint8(image).flatten()

    def _home(self, sizes: Tensor) -> torch.device:
        """The device where the pictures fit there, else the CPU: then patches travel, as bytes."""
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if int(sizes.sum()) > free // 2:
                return torch.device("cpu")
        return self.device

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Two patches of each of `batch` pictures, (batch, 2, 3, P, P) in [0, 1], on the device.

        The pictures are drawn with replacement; both patches of a picture get the same one of the
        eight flips and turns, as the released code flips the picture before it cuts. The generator
        is the CPU's, whatever the device: the same seed gives the same patches everywhere.
        """
        chosen = torch.randint(len(self.offsets), (batch,), generator=generator)
        places = torch.rand(batch, 2, 2, generator=generator)
        turns = torch.randint(8, (batch,), generator=generator)
        h, w, p = self.heights[chosen], self.widths[chosen], self.patch
        room = torch.stack([h, w], dim=-1)[:, None] - p + 1
        top, left = (places * room).long().unbind(-1)  # (batch, 2)

        # Row and column of a patch's pixel (i, j), each ± i or ± j: a quarter turn makes (j, −i) of
        # (i, j), the mirror turns j round. Where it counts down, it starts from the far end.
        cos = torch.tensor([1, 0, -1, 0])[turns % 4]
        sin = torch.tensor([0, 1, 0, -1])[turns % 4]
        mirror = 1 - 2 * (turns // 4)
        row_i, row_j, column_i, column_j = cos, sin * mirror, -sin, cos * mirror
        top = top + ((row_i + row_j < 0) * (p - 1))[:, None]
        left = left + ((column_i + column_j < 0) * (p - 1))[:, None]

        # Where in the line of bytes: each patch's first pixel, and the steps from plane to plane,
        # with i and with j. All that travels to the device is these.
        first = self.offsets[chosen][:, None] + top * w[:, None] + left
        steps = torch.stack([h * w, row_i * w + column_i, row_j * w + column_j], dim=-1)
        numbers = moved(torch.cat([first, steps], dim=-1), self.bytes.device)  # (batch, 5)
        first, (plane, step_i, step_j) = numbers[:, :2], numbers[:, 2:, None, None, None].unbind(1)
        along, planes = (torch.arange(n, device=first.device) for n in (p, 3))
        index = first[:, :, None, None, None] + plane[..., None] * planes[:, None, None]
        index = index + step_i[..., None] * along[:, None] + step_j[..., None] * along
        return moved(self.bytes.take(index), self.device).float().div_(255)
