"""How the GPU kernels divide the work: a program computes a tile, pixels × channels of a sample.

Both layouts of a feature map run the same code; only the shape of the tile differs. In
channels_last a pixel's channels are neighbours in memory, and a tile has many channels of a small
square of pixels. In the contiguous layout pixels are neighbours, and it has many pixels of few
channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Tiles(NamedTuple):
    """The tiles of a (B, C, H, W) tensor: their shape, and how many there are.

    width, pixels, channels: powers of two; a tile is pixels // width rows of `width` pixels, times
    `channels`. across: tiles beside each other. per_plane: tiles of a channel block. blocks: blocks
    of channels. programs: all tiles of all samples.
    """

    width: int
    pixels: int
    channels: int
    across: int
    per_plane: int
    blocks: int
    programs: int


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of a pixel are neighbours in memory."""
    return x.stride(1) == 1 and x.shape[1] > 1


def choose_tiles(x: Tensor, elements: int, channels: int | None = None, least: int = 1) -> Tiles:
    """Tiles of about `elements` values of x (B, C, H, W).

    channels: of a tile, for kernels that mix them; None: what suits the layout. least: the smallest
    number of pixels and of channels (16 for the tensor cores).
    """
    b, c, h, w = x.shape
    last = is_channels_last(x)
    # The width with the fewest columns beyond the right border; of equal ones the largest.
    widths = (16,) if last else (64, 32, 16)
    width = min(widths, key=lambda v: (triton.cdiv(w, v) * v, -v))
    width = min(width, triton.next_power_of_2(w))
    if channels is None and last:
        # 32 channels are 64 bytes of bfloat16: whole memory sectors, and the tile stays square
        # enough that its margin, which the neighbours read too, is small.
        channels = min(triton.next_power_of_2(c), 32)
    height = max(1, elements // (width * max(channels or 1, least)))
    height = min(height, triton.next_power_of_2(h))
    pixels = max(width * height, least)
    if channels is None:
        channels = min(triton.next_power_of_2(c), max(1, elements // pixels))
    channels = max(channels, least)
    across = triton.cdiv(w, width)
    per_plane = across * triton.cdiv(h, pixels // width)
    blocks = triton.cdiv(c, channels)
    return Tiles(width, pixels, channels, across, per_plane, blocks, b * blocks * per_plane)


def in_taps(kernels: Tensor, like: Tensor) -> Tensor:
    """Kernels (B, C, k, k) as (B, C, k²), in the layout of `like`.

    In channels_last one load then reads a tap of eight channels instead of one.
    """
    taps = kernels.flatten(2)
    return taps.mT.contiguous().mT if is_channels_last(like) else taps


TYPES = {
    torch.float32: tl.float32,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
    torch.float64: tl.float64,
}


def accumulator_dtype(x: Tensor) -> torch.dtype:
    """The dtype of sums: float32, and float64 for float64."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def accumulator(x: Tensor) -> tl.dtype:
    """`accumulator_dtype`, as Triton calls it."""
    return TYPES[accumulator_dtype(x)]


@triton.jit
def tile_coordinates(tile, across, WIDTH: tl.constexpr, PIXELS: tl.constexpr):
    """The rows and columns of a tile's pixels, (PIXELS,) each."""
    pixel = tl.arange(0, PIXELS)
    rows = tile // across * (PIXELS // WIDTH) + pixel // WIDTH
    columns = tile % across * WIDTH + pixel % WIDTH
    return rows, columns


@triton.jit
def load(x, rows, columns, c, channels, height, width, sc, sy, sx):
    """x at (rows, columns) × c, (PIXELS, CHANNELS); outside the picture it is zero."""
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    offsets = (rows * sy + columns * sx)[:, None] + (c * sc)[None, :]
    return tl.load(x + offsets, mask=inside[:, None] & (c < channels)[None, :], other=0.0)


@triton.jit
def store(out, values, rows, columns, c, channels, height, width, sc, sy, sx):
    """Writes values (PIXELS, CHANNELS), but for those outside the picture."""
    inside = (rows < height) & (columns < width)
    offsets = (rows * sy + columns * sx)[:, None] + (c * sc)[None, :]
    mask = inside[:, None] & (c < channels)[None, :]
    tl.store(out + offsets, values.to(out.dtype.element_ty), mask=mask)


@triton.jit
def filter_row(
    total, u, x, kernels, rows, columns, c, channels, height, width, sc, sy, sx, kc, kt,
    K: tl.constexpr, MIRRORED: tl.constexpr,
):  # fmt: skip
    """Adds row u of the kernels to the sum over the taps."""
    for v in tl.static_range(K):
        # A mirrored kernel is read backwards.
        tap = (K - 1 - u) * K + (K - 1 - v) if MIRRORED else u * K + v
        weights = tl.load(kernels + c * kc + tap * kt, mask=c < channels, other=0.0)
        shifted = load(
            x, rows + (u - K // 2), columns + (v - K // 2), c, channels, height, width, sc, sy, sx
        )
        total += shifted.to(total.dtype) * weights.to(total.dtype)[None, :]
    return total


@triton.jit
def filter_tile(
    x, kernels, rows, columns, c, channels, height, width, sc, sy, sx, kc, kt,
    K: tl.constexpr, MIRRORED: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """A tile of x, each channel filtered with its own kernel: (PIXELS, CHANNELS) in WIDE."""
    # out(y, x) = Σ_uv k(u, v) · x(y + u − k//2, x + v − k//2)
    total = tl.zeros([PIXELS, CHANNELS], WIDE)
    if K <= 5:
        for u in tl.static_range(K):
            total = filter_row(
                total, u, x, kernels, rows, columns, c, channels, height, width, sc, sy, sx, kc, kt,
                K, MIRRORED,
            )  # fmt: skip
    else:  # 441 taps, unrolled, would take minutes to compile
        for u in range(K):
            total = filter_row(
                total, u, x, kernels, rows, columns, c, channels, height, width, sc, sy, sx, kc, kt,
                K, MIRRORED,
            )  # fmt: skip
    return total
