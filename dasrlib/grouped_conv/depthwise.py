"""The per-sample grouped convolution in Triton, and its two gradients.

The gradient for x is the same convolution with mirrored kernels, the one for the kernels a sum over
the picture. Both are operators of torch.library, so autograd, autocast and torch.compile treat them
like PyTorch's own.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from dasrlib.grouped_conv.tiles import (
    accumulator,
    accumulator_dtype,
    choose_tiles,
    filter_tile,
    in_taps,
    load,
    store,
    tile_coordinates,
)


@triton.jit
def filter_kernel(
    x, kernels, out, channels, height, width, across, per_plane, blocks,
    xb, xc, xy, xx, kb, kc, kt, ob, oc, oy, ox,
    K: tl.constexpr, MIRRORED: tl.constexpr,
    WIDTH: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One tile of the convolution. The two letters are strides: kb steps kernels to the next b."""
    program = tl.program_id(0)
    rows, columns = tile_coordinates(program % per_plane, across, WIDTH, PIXELS)
    c = program // per_plane % blocks * CHANNELS + tl.arange(0, CHANNELS)
    # 64 bits, since a batch may hold more than 2³¹ values.
    b = (program // per_plane // blocks).to(tl.int64)
    total = filter_tile(
        x + b * xb, kernels + b * kb, rows, columns, c, channels, height, width, xc, xy, xx, kc, kt,
        K, MIRRORED, PIXELS, CHANNELS, WIDE,
    )  # fmt: skip
    store(out + b * ob, total, rows, columns, c, channels, height, width, oc, oy, ox)


@triton.jit
def kernel_gradient_kernel(
    x, grad, sums, channels, height, width, across, per_plane, blocks,
    xb, xc, xy, xx, gb, gc, gy, gx, stride_tile, stride_b,
    K: tl.constexpr,
    WIDTH: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One tile's share of the gradient for the kernels; grad is read once, x from the cache."""
    program = tl.program_id(0)
    tile = program % per_plane
    rows, columns = tile_coordinates(tile, across, WIDTH, PIXELS)
    c = program // per_plane % blocks * CHANNELS + tl.arange(0, CHANNELS)
    b = (program // per_plane // blocks).to(tl.int64)
    g = load(grad + b * gb, rows, columns, c, channels, height, width, gc, gy, gx).to(WIDE)
    sums += tile.to(tl.int64) * stride_tile + b * stride_b
    # ∂L/∂k(u, v) = Σ_yx g(y, x) · x(y + u − k//2, x + v − k//2)
    for u in range(K):
        for v in tl.static_range(K):
            shifted = load(
                x + b * xb, rows + (u - K // 2), columns + (v - K // 2), c,
                channels, height, width, xc, xy, xx,
            )  # fmt: skip
            share = tl.sum(g * shifted.to(WIDE), axis=0)
            tl.store(sums + (u * K + v) * channels + c, share, mask=c < channels)


@torch.library.custom_op("dasrlib::grouped_conv2d", mutates_args=())
def grouped_conv2d_triton(x: Tensor, kernels: Tensor, mirrored: bool = False) -> Tensor:
    """(B, C, H, W) with (B, C, k, k) -> (B, C, H, W); mirrored: with the kernels flipped."""
    out = torch.empty_like(x)
    if out.numel() == 0:
        return out
    taps = in_taps(kernels, x)
    tiles = choose_tiles(x, 2048)
    with torch.cuda.device_of(x):
        filter_kernel[(tiles.programs,)](
            x, taps, out, *x.shape[1:], tiles.across, tiles.per_plane, tiles.blocks,
            *x.stride(), *taps.stride(), *out.stride(),
            kernels.shape[-1], mirrored, tiles.width, tiles.pixels, tiles.channels, accumulator(x),
        )  # fmt: skip
    return out


@grouped_conv2d_triton.register_fake
def _(x: Tensor, kernels: Tensor, mirrored: bool = False) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("dasrlib::grouped_conv2d_kernel_gradient", mutates_args=())
def kernel_gradient(x: Tensor, grad: Tensor, k: int) -> Tensor:
    """x and grad (B, C, H, W) -> (B, C, k, k), float32 (float64 for float64).

    Each tile writes its own sum, and these are added in one order: the same bits every time.
    """
    b, c = x.shape[:2]
    tiles = choose_tiles(x, 8192)
    sums = torch.empty(tiles.per_plane, b, k * k, c, dtype=accumulator_dtype(x), device=x.device)
    with torch.cuda.device_of(x):
        kernel_gradient_kernel[(tiles.programs,)](
            x, grad, sums, *x.shape[1:], tiles.across, tiles.per_plane, tiles.blocks,
            *x.stride(), *grad.stride(), *sums.stride()[:2],
            k, tiles.width, tiles.pixels, tiles.channels, accumulator(x), num_warps=8,
        )  # fmt: skip
    return sums.sum(0).mT.contiguous().view(b, c, k, k)


@kernel_gradient.register_fake
def _(x: Tensor, grad: Tensor, k: int) -> Tensor:
    return torch.empty(*x.shape[:2], k, k, dtype=accumulator_dtype(x), device=x.device)


def _save_convolution(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, kernels, ctx.mirrored = inputs
    ctx.save_for_backward(x, kernels)


def _convolution_backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    x, kernels = ctx.saved_tensors
    grad_x = grad_kernels = None
    if ctx.needs_input_grad[0]:
        grad_x = grouped_conv2d_triton(grad, kernels, not ctx.mirrored)
    if ctx.needs_input_grad[1]:
        pair = (grad, x) if ctx.mirrored else (x, grad)
        grad_kernels = kernel_gradient(*pair, kernels.shape[-1]).to(kernels.dtype)
    return grad_x, grad_kernels, None


def _save_gradient(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[:2])


def _gradient_backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    # Linear in x and in g: the gradient for one is a convolution of the other.
    x, g = ctx.saved_tensors
    grad_x = grouped_conv2d_triton(g, grad, True) if ctx.needs_input_grad[0] else None
    grad_g = grouped_conv2d_triton(x, grad) if ctx.needs_input_grad[1] else None
    return grad_x, grad_g, None


grouped_conv2d_triton.register_autograd(_convolution_backward, setup_context=_save_convolution)
kernel_gradient.register_autograd(_gradient_backward, setup_context=_save_gradient)


_library = torch.library.Library("dasrlib", "FRAGMENT")


def autocast_x(operator: torch.library.CustomOpDef, name: str) -> None:
    """Registers the operator with autocast: x is cast, the other arguments keep their dtype."""

    def register(device: str) -> None:
        def cast(x: Tensor, *others):  # type: ignore[no-untyped-def]
            dtype = torch.get_autocast_dtype(device)
            with torch.autocast(device, enabled=False):
                return operator(x.to(dtype) if x.dtype == torch.float32 else x, *others)

        _library.impl(name, cast, "AutocastCUDA" if device == "cuda" else "AutocastCPU")

    for device in ("cpu", "cuda"):
        register(device)


autocast_x(grouped_conv2d_triton, "grouped_conv2d")
