"""One picture in, one picture out, any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from dasrlib import data, estimates
from dasrlib import weights as weights_module
from dasrlib.acceleration.devices import fastest_dtype, fastest_layout
from dasrlib.degradation import quantise
from dasrlib.network import BlindSR
from dasrlib.systems import DEFAULT_WEIGHTS

# LR pixels that are read around a tile. The network sees further (30 in the laptop profile, 109 in
# the paper's), but in the bundled one pixels more than 16 away change the result by at most 0.002
# grey levels (4 pictures of Set14 in tiles of 48; 0.05 with 12, 1.2 with 8).
TILE_OVERLAP = 16
# LR pixels of the largest picture that is computed in one piece by default, in 1.3 GB.
WHOLE_PICTURE = 600 * 600
# The side of the tiles of a larger picture, in LR pixels. For 600×600 the bundled network needs, on
# one core in float32: 16 s and 0.2 GB in tiles of 96, 15 s and 0.35 GB in 192, 14 s and 0.45 GB in
# 256, 14 s and 0.7 GB in 384, 17 s and 1.3 GB in one piece.
TILE = 256
# The encoder's share of the time: 0.08 with tiles of 96 or 144, 0.05 with 192.
ENCODER_TIME_SHARE = 0.08
NOT_FLOAT = "expected a float picture in [0, 1]: divide bytes by 255"


class TileSpan(NamedTuple):
    """A tile along one side, in LR pixels: its own part, and the larger part that is read."""

    read_start: int
    read_end: int
    start: int
    end: int

    def own_part_in_tile(self, scale: int) -> slice:
        """The SR pixels of the own part, in the network's output for the part that is read."""
        return slice(scale * (self.start - self.read_start), scale * (self.end - self.read_start))

    def own_part_in_picture(self, scale: int) -> slice:
        """The SR pixels of the own part, in the whole picture."""
        return slice(scale * self.start, scale * self.end)


Box = tuple[TileSpan, TileSpan]  # rows and columns


class TileStep(NamedTuple):
    """A step of upscale_tiles: one more tile has been encoded, or upscaled."""

    done: float  # the share of the work that is done, in (0, 1]
    rows: slice  # the SR pixels of the tile
    columns: slice
    picture: Tensor | None  # (3, rows, columns), rounded; None if encoded only


def _spans(length: int, tile: int) -> list[TileSpan]:
    ends = ((start, min(start + tile, length)) for start in range(0, length, tile))
    return [
        TileSpan(max(0, a - TILE_OVERLAP), min(length, b + TILE_OVERLAP), a, b) for a, b in ends
    ]


def upscale(
    image: str | Path | Tensor,
    weights: str | Path | BlindSR | None = None,
    tile: int | None = None,
    progress: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Upscale a picture by a blind network, which encodes the degradation itself (§3.2).

    All tiles get the same representation, the mean of theirs. A grey picture stays grey.

    Args:
        image: a file, or (3, H, W) in [0, 1], each side at least 3 pixels.
        weights: a bundled name, a .safetensors file, or a network of scale s. By default the
            bundled ×4 ones that fit the noise and JPEG read off the picture (§4.4).
        tile: side of the tiles in LR pixels, at least 32. By default 256 for pictures of more than
            600×600 pixels; smaller ones are computed in one piece.
        progress: whether to show a progress bar.
        dtype: to compute in; by default the faster one on this processor.

    Returns:
        (3, sH, sW) in [0, 1], rounded to 8 bits.

    Raises:
        ValueError: the picture or the tile is none of these, or the network is Model 5, which is
            not blind.
        FileNotFoundError: there is no such file.
    """
    lr = image if isinstance(image, Tensor) else data.load_image(image)
    if not lr.is_floating_point():
        raise ValueError(NOT_FLOAT)
    if weights is None:
        check_picture(lr)
        weights = estimates.fitting_weights(estimates.read(lr))
    model = weights if isinstance(weights, BlindSR) else weights_module.load(weights)
    steps = upscale_tiles(lr, model, tile, dtype=dtype)
    h, w = lr.shape[-2:]
    return _assembled(steps, torch.empty(3, model.scale * h, model.scale * w), progress)


def upscale_picture(
    picture: data.Picture,
    model: BlindSR,
    tile: int | None = None,
    progress: bool = False,
    dtype: torch.dtype | None = None,
) -> data.Picture:
    """Upscale what was read from a file, with all that belongs to it (§3.2).

    The network computes the colours, a picture of 16 bits in float32 by default. Transparency is
    enlarged by bicubic interpolation, and hidden colours are replaced by visible ones before.

    Args:
        picture: each side at least 3 pixels.
        model: of scale s.
        tile, progress, dtype: as of `upscale`.

    Returns:
        s times as wide and high: grey stays grey, and 16 bits stay 16 bits.

    Raises:
        ValueError: as `upscale`.
    """
    lr, s = picture.with_hidden_filled(), model.scale
    channels, h, w = lr.pixels.shape
    if picture.bits > 8:
        dtype = dtype or torch.float32
    steps = upscale_tiles(lr.rgb(), model, tile, dtype=dtype, bits=picture.bits)
    kind = torch.uint8 if picture.bits == 8 else torch.float32
    sr = _assembled(steps, torch.empty(channels, s * h, s * w, dtype=kind), progress)
    return replace(picture, pixels=sr, alpha=picture.alpha_of_size(s * h, s * w))


def _assembled(steps: Iterator[TileStep], sr: Tensor, progress: bool) -> Tensor:
    """All tiles in one picture (1 or 3, H, W), uint8 or float."""
    bar = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, disable=not progress, bar_format=bar) as shown:
        for step in steps:
            if step.picture is not None:
                own = step.picture[: len(sr)]  # of grey, the three are one
                own = data.to_uint8(own) if sr.dtype == torch.uint8 else own
                sr[:, step.rows, step.columns] = own
            shown.update(step.done - shown.n)
    return sr


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards each part of it is in the mode that it was in."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def check_picture(lr: Tensor) -> None:
    """Raises ValueError for what is no LR picture: (3, H, W), uint8 or in [0, 1], H and W ≥ 3."""
    if lr.ndim != 3 or lr.shape[0] != 3:
        raise ValueError(f"expected a picture (3, H, W), got {tuple(lr.shape)}")
    check_size(*lr.shape[-2:])
    if lr.dtype != torch.uint8 and not bool(((lr >= 0) & (lr <= 1)).all()):
        raise ValueError(NOT_FLOAT)


def check_size(h: int, w: int) -> None:
    """Raises ValueError for a picture that is too small for the network."""
    if min(h, w) < 3:
        raise ValueError(f"a picture of {h}×{w} is too small: each side must be at least 3 pixels")


def check_settings(model: BlindSR, tile: int | None) -> None:
    """Raises ValueError for a network that is not blind, and for a tile that is too small."""
    if model.needs != "nothing":
        raise ValueError(
            f"{model.name} is not blind: it needs the {model.needs} and cannot upscale a picture "
            f"without; choose another model, such as {DEFAULT_WEIGHTS}"
        )
    if tile is not None and tile < 32:
        raise ValueError(f"tile must be at least 32 LR pixels, got {tile}")


def upscale_tiles(
    lr: Tensor,
    model: BlindSR,
    tile: int | None,
    priority_point: Callable[[], tuple[float, float]] | None = None,
    dtype: torch.dtype | None = None,
    bits: int = 8,
) -> Iterator[TileStep]:
    """The steps of `upscale`, each computed when the iterator is asked for it.

    All tiles are encoded before the first is upscaled. What `upscale` refuses is refused before the
    first step. lr may also be uint8. priority_point is called before each tile, and returns the LR
    pixel (y, x) that the next tile should be nearest to; by default they go from the top down.
    SR is rounded to that many bits.
    """
    check_settings(model, tile)
    check_picture(lr)
    h, w = lr.shape[-2:]
    side = tile or (max(h, w) if h * w <= WHOLE_PICTURE else TILE)
    boxes = [(y, x) for y in _spans(h, side) for x in _spans(w, side)]
    return _steps(model, lr, boxes, priority_point, dtype, bits)


def _steps(
    model: BlindSR,
    lr: Tensor,
    boxes: list[Box],
    priority_point: Callable[[], tuple[float, float]] | None,
    dtype: torch.dtype | None,
    bits: int,
) -> Iterator[TileStep]:
    s, device = model.scale, next(model.parameters()).device
    dtype, layout = dtype or fastest_dtype(device), fastest_layout(device)

    def read(y: TileSpan, x: TileSpan) -> Tensor:
        part = lr[None, :, y.read_start : y.read_end, x.read_start : x.read_end]
        part = part.to(device, torch.float32, memory_format=layout)
        return part / 255 if lr.dtype == torch.uint8 else part

    def computed(function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        # Entered for each step: over a yield, the modes would also apply to the caller's code.
        mixed = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        with torch.inference_mode(), mixed, evaluating(model):
            return function(*inputs)

    areas, vectors = [], []
    for number, (y, x) in enumerate(boxes, 1):
        areas.append(float((y.read_end - y.read_start) * (x.read_end - x.read_start)))
        vectors.append(computed(model.represent, read(y, x)))
        done = ENCODER_TIME_SHARE * number / len(boxes)
        yield TileStep(done, y.own_part_in_picture(s), x.own_part_in_picture(s), None)
    share = torch.tensor(areas, device=device) / sum(areas)
    representation = (share[:, None] * torch.cat(vectors)).sum(0, keepdim=True)

    is_grey = bool((lr == lr[:1]).all())
    left = list(boxes)
    while left:
        y, x = left.pop(0 if priority_point is None else _nearest(left, *priority_point()))
        sr = computed(model, read(y, x), None, representation)[0]
        own = sr[:, y.own_part_in_tile(s), x.own_part_in_tile(s)]
        if is_grey:  # the network was trained on colours, and adds some
            own = own.mean(dim=0, keepdim=True).expand(3, -1, -1)
        own = quantise(own, bits).cpu()
        done = 1.0 - (1.0 - ENCODER_TIME_SHARE) * len(left) / len(boxes)
        yield TileStep(done, y.own_part_in_picture(s), x.own_part_in_picture(s), own)


def _nearest(boxes: list[Box], row: float, column: float) -> int:
    def distance(index: int) -> float:
        y, x = boxes[index]
        return math.hypot((y.start + y.end) / 2 - row, (x.start + x.end) / 2 - column)

    return min(range(len(boxes)), key=distance)
