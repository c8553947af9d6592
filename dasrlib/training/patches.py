"""§4.1 Training pictures, and pairs of patches cut from them, flipped and turned."""

from __future__ import annotations

import torch
from torch import Tensor

from dasrlib.acceleration.devices import to_device
from dasrlib.data import Pictures, to_uint8
from dasrlib.training.pictures import large_enough


class PatchPairs:
    """Draws pairs of patches from pictures, which are held as uint8.

    images: (name, (3, H, W)) pairs of any sizes, uint8 or floats in [0, 1]; those that are smaller
    than a patch are skipped, and a warning counts them. patch: in HR pixels. device: of the
    patches; the pictures are there too if half of its free memory can hold them.
    """

    def __init__(self, images: Pictures, patch: int, device: torch.device | str = "cpu") -> None:
        if not images:
            raise ValueError("there are no pictures to draw patches from")
        images = large_enough(images, patch, "a patch", "train with smaller patches (--patch)")
        self.patch, self.device = patch, torch.device(device)
        sizes = torch.tensor([image.numel() for _, image in images])
        self.heights = torch.tensor([image.shape[-2] for _, image in images])
        self.widths = torch.tensor([image.shape[-1] for _, image in images])
        self.picture_starts = sizes.cumsum(0) - sizes
        # All pictures in one row, so that a batch of patches of many pictures is one gather.
        storage = self._storage_device(sizes)
        self.pixels = torch.empty(int(sizes.sum()), dtype=torch.uint8, device=storage)
        for start, (_, image) in zip(self.picture_starts.tolist(), images, strict=True):
            self.pixels[start : start + image.numel()] = to_uint8(image).flatten()

    def _storage_device(self, sizes: Tensor) -> torch.device:
        """The device if the pictures fit there, else the CPU: then patches travel, as uint8."""
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if int(sizes.sum()) > free // 2:
                return torch.device("cpu")
        return self.device

    def sample(
        self, batch: int, generator: torch.Generator | None = None, copies: int = 1
    ) -> Tensor:
        """Two patches of each of B pictures, which are drawn with replacement.

        copies: a divisor of B; each drawn picture stands this many times in a row, in other patches
        with the same turn.

        Both patches of a picture get the same one of the eight turns: `turn` % 4 quarter turns, and
        mirrored from 4 on. The released code flips the picture before it cuts.
        The generator is the CPU's, whatever the device: the same seed gives the same patches.
        Returns (B, 2, 3, P, P) in [0, 1], on the device.
        """
        if batch % copies:
            raise ValueError(f"a batch of {batch} cannot hold each picture {copies} times")
        drawn = (batch // copies,)
        chosen = torch.randint(len(self.picture_starts), drawn, generator=generator)
        places = torch.rand(batch, 2, 2, generator=generator)
        turns = torch.randint(8, drawn, generator=generator)
        chosen, turns = (t.repeat_interleave(copies) for t in (chosen, turns))
        h, w, p = self.heights[chosen], self.widths[chosen], self.patch
        room = torch.stack([h, w], dim=-1)[:, None] - p + 1
        top, left = (places * room).long().unbind(-1)  # (B, 2) each

        # Row and column of a patch's pixel (i, j), each ± i or ± j: a quarter turn makes (j, −i) of
        # (i, j), the mirror turns j round. Where it counts down, it starts from the far end.
        cos = torch.tensor([1, 0, -1, 0])[turns % 4]
        sin = torch.tensor([0, 1, 0, -1])[turns % 4]
        mirror = 1 - 2 * (turns // 4)
        row_i, row_j, column_i, column_j = cos, sin * mirror, -sin, cos * mirror
        top = top + ((row_i + row_j < 0) * (p - 1))[:, None]
        left = left + ((column_i + column_j < 0) * (p - 1))[:, None]

        # Where in the row of pixels: each patch's first one, and the steps from plane to plane,
        # with i and with j. All that travels to the device is these.
        first = self.picture_starts[chosen][:, None] + top * w[:, None] + left
        steps = torch.stack([h * w, row_i * w + column_i, row_j * w + column_j], dim=-1)
        numbers = to_device(torch.cat([first, steps], dim=-1), self.pixels.device)  # (B, 5)
        first, (plane, step_i, step_j) = numbers[:, :2], numbers[:, 2:, None, None, None].unbind(1)
        along, planes = (torch.arange(n, device=first.device) for n in (p, 3))
        index = first[:, :, None, None, None] + plane[..., None] * planes[:, None, None]
        index = index + step_i[..., None] * along[:, None] + step_j[..., None] * along
        return to_device(self.pixels.take(index), self.device).float().div_(255)
