"""One picture in, one picture out, any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dasrlib import data
from dasrlib import weights as weights_module
from dasrlib.acceleration.devices import fastest_dtype, fastest_layout
from dasrlib.degradation import quantise
from dasrlib.network import BlindSR
from dasrlib.systems import DEFAULT_WEIGHTS

# LR pixels that a tile sees beyond its own part. Not all that the network could see, which is a
# pixel for every 3×3 convolution on the way (30 for the laptop profile's, 109 for the paper's): in
# the bundled network what lies further than 16 away moves a pixel by 0.002 of a grey level at most
# (4 pictures of Set14, in tiles of 48; 0.05 with 12, 1.2 with 8).
OVERLAP = 16
# LR pixels of the largest picture that is computed at once by default: in 1.3 GB, and larger than
# any LR picture of the benchmarks.
AT_ONCE = 600 * 600
# LR pixels of the side of the tiles that a larger one is computed in. One of 600×600 takes, on one
# core in float32, the bundled network 16 s and 0.2 GB in tiles of 96, 15 s and 0.35 GB in 192,
# 14 s and 0.45 GB in 256, 14 s and 0.7 GB in 384, 17 s and 1.3 GB at once.
TILE = 256
# Of the time a picture takes, what reading it takes: 0.08 with tiles of 96 or 144, 0.05 of 192.
READING = 0.08
NOT_FLOAT = "expected a float picture in [0, 1]: divide bytes by 255"


class Span(NamedTuple):
    """Along one side, in LR pixels: what a tile sees, and the part of it that is its own."""

    seen_from: int
    seen_to: int
    start: int
    end: int

    def within(self, scale: int) -> slice:
        """The SR pixels of the own part, in what the network makes of the seen one."""
        return slice(scale * (self.start - self.seen_from), scale * (self.end - self.seen_from))

    def enlarged(self, scale: int) -> slice:
        """The SR pixels of the own part, in the whole picture."""
        return slice(scale * self.start, scale * self.end)


class Step(NamedTuple):
    """A step of an enlargement: another tile has been read, or enlarged.

    done: of the work, (0, 1]. rows, columns: the SR pixels of the tile. picture: (3, rows, columns)
    in [0, 1], rounded to 8 bit; None where the tile was only read.
    """

    done: float
    rows: slice
    columns: slice
    picture: Tensor | None


def _spans(length: int, tile: int) -> list[Span]:
    ends = ((start, min(start + tile, length)) for start in range(0, length, tile))
    return [Span(max(0, a - OVERLAP), min(length, b + OVERLAP), a, b) for a, b in ends]


def upscale(
    image: str | Path | Tensor,
    weights: str | Path | BlindSR = DEFAULT_WEIGHTS,
    tile: int | None = None,
    progress: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """A picture enlarged by a blind network, the degradation found out from the picture itself
    (§3.2).

    image: a file, or (3, H, W) in [0, 1]. weights: a bundled name, a .safetensors file, or a
    network. tile: side of the tiles in LR pixels; by default 256 for a picture of more than 600×600
    pixels, and a smaller one is computed at once. The representation is the mean of the tiles', so
    that all of them are told the same.
    dtype: to compute in; None for bfloat16 where that is faster (acceleration.devices), which is a
    quarter of a grey level from float32, 0.002 dB.
    Returns (3, sH, sW) in [0, 1], rounded to 8 bit. Raises ValueError for a tensor of another
    shape or range, a tile under 32, or Model 5, which is not blind.
    """
    model = weights if isinstance(weights, BlindSR) else weights_module.load(weights)
    lr = image if isinstance(image, Tensor) else data.load_image(image)
    steps = in_tiles(lr, model, tile, dtype=dtype)
    if not lr.is_floating_point():
        raise ValueError(NOT_FLOAT)
    h, w = lr.shape[-2:]
    sr = torch.empty(3, model.scale * h, model.scale * w)
    bar = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, disable=not progress, bar_format=bar) as shown:
        for step in steps:
            if step.picture is not None:
                sr[:, step.rows, step.columns] = step.picture
            shown.update(step.done - shown.n)
    return sr


def in_tiles(
    lr: Tensor,
    model: BlindSR,
    tile: int | None,
    wanted: Callable[[], tuple[float, float]] | None = None,
    dtype: torch.dtype | None = None,
) -> Iterator[Step]:
    """The steps of upscale, each computed when it is asked for: who stops asking has cancelled.

    lr: (3, H, W) in [0, 1], or 8-bit, a quarter of the memory. tile, dtype: see upscale. All tiles
    are read before the first is enlarged. wanted: the LR pixel (y, x) near which to enlarge first,
    asked anew for each tile; by default from the top down. Raises what upscale raises, at once.
    """
    if model.needs != "nothing":
        raise ValueError(
            f"{model.name} needs the {model.needs} of the picture: choose a blind model, "
            f"such as {DEFAULT_WEIGHTS}"
        )
    if lr.ndim != 3 or lr.shape[0] != 3:
        raise ValueError(f"expected a picture (3, H, W), got {tuple(lr.shape)}")
    h, w = lr.shape[-2:]
    if min(h, w) < 3:
        raise ValueError(f"a picture of {h}×{w} is too small: each side must be at least 3 pixels")
    if lr.dtype != torch.uint8 and not bool(((lr >= 0) & (lr <= 1)).all()):
        raise ValueError(NOT_FLOAT)
    if tile is not None and tile < 32:
        raise ValueError(f"tile must be at least 32 LR pixels, got {tile}")
    model.eval()
    side = tile or (max(h, w) if h * w <= AT_ONCE else TILE)
    boxes = [(y, x) for y in _spans(h, side) for x in _spans(w, side)]
    return _steps(model, lr, boxes, wanted, dtype)


def _steps(
    model: BlindSR,
    lr: Tensor,
    boxes: list[tuple[Span, Span]],
    wanted: Callable[[], tuple[float, float]] | None,
    dtype: torch.dtype | None,
) -> Iterator[Step]:
    s, device = model.scale, next(model.parameters()).device
    dtype, layout = dtype or fastest_dtype(device), fastest_layout(device)

    def seen(y: Span, x: Span) -> Tensor:
        part = lr[None, :, y.seen_from : y.seen_to, x.seen_from : x.seen_to]
        part = part.to(device, torch.float32, memory_format=layout)
        return part / 255 if lr.dtype == torch.uint8 else part

    def computed(function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        # Around each step: left open over a yield, the modes would be those of whoever asked.
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
        ):
            return function(*inputs)

    areas, vectors = [], []
    for number, (y, x) in enumerate(boxes, 1):
        areas.append(float((y.seen_to - y.seen_from) * (x.seen_to - x.seen_from)))
        vectors.append(computed(model.represent, seen(y, x)))
        yield Step(READING * number / len(boxes), y.enlarged(s), x.enlarged(s), None)
    share = torch.tensor(areas, device=device) / sum(areas)
    representation = (share[:, None] * torch.cat(vectors)).sum(0, keepdim=True)

    left = list(boxes)
    while left:
        y, x = left.pop(0 if wanted is None else _nearest(left, *wanted()))
        sr = computed(model, seen(y, x), None, representation)[0]
        own = quantise(sr[:, y.within(s), x.within(s)]).cpu()
        done = 1.0 - (1.0 - READING) * len(left) / len(boxes)
        yield Step(done, y.enlarged(s), x.enlarged(s), own)


def _nearest(boxes: list[tuple[Span, Span]], row: float, column: float) -> int:
    def distance(index: int) -> float:
        y, x = boxes[index]
        return math.hypot((y.start + y.end) / 2 - row, (x.start + x.end) / 2 - column)

    return min(range(len(boxes)), key=distance)
