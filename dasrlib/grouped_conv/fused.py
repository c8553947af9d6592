"""The whole degradation-aware convolution in one pass over the feature map, in Triton (§3.2.2).

x is read once and the result is written once. The filtered map and its LeakyReLU stay on the chip.
The backward pass computes them again, which is cheaper than storing them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from dasrlib import paper
from dasrlib.grouped_conv import depthwise
from dasrlib.grouped_conv.tiles import (
    TYPES,
    accumulator,
    accumulator_dtype,
    choose_tiles,
    filter_tile,
    in_taps,
    load,
    store,
    tile_coordinates,
)

SLOPE = tl.constexpr(paper.LEAKY_SLOPE)
TILES_PER_PROGRAM = 8  # of the backward pass: tiles whose shares of ∂L/∂W one program adds up


@triton.jit
def leaky_relu(x):
    """max(x, 0) + 0.1 · min(x, 0)"""
    return tl.where(x > 0, x, SLOPE * x)


@triton.jit
def da_conv_kernel(
    x, kernels, weight, bias, modulation, out, channels, height, width, across, per_plane,
    xb, xc, xy, xx, kb, kc, kt, ob, oc, oy, ox,
    K: tl.constexpr, MODULATED: tl.constexpr, LEAKY: tl.constexpr,
    WIDTH: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
    OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of pixels, all its channels, from x to the finished result."""
    program = tl.program_id(0)
    rows, columns = tile_coordinates(program % per_plane, across, WIDTH, PIXELS)
    c = tl.arange(0, CHANNELS)
    b = (program // per_plane).to(tl.int64)
    x += b * xb
    # F ⊛ k(R), one kernel per sample and channel
    filtered = filter_tile(
        x, kernels + b * kb, rows, columns, c, channels, height, width, xc, xy, xx, kc, kt,
        K, False, PIXELS, CHANNELS, WIDE,
    )  # fmt: skip
    # F_1 = mix(LeakyReLU(F ⊛ k(R))): (PIXELS, C_in) times Wᵀ (C_in, C_out), on the tensor cores
    square = (c < channels)[:, None] & (c < channels)[None, :]
    transposed = tl.load(weight + c[None, :] * channels + c[:, None], mask=square, other=0.0)
    half = x.dtype.element_ty
    mixed = tl.dot(
        leaky_relu(filtered).to(half).to(OPERAND), transposed.to(half).to(OPERAND),
        input_precision=PRECISION, out_dtype=WIDE,
    )  # fmt: skip
    mixed += tl.load(bias + c, mask=c < channels, other=0.0).to(WIDE)[None, :]
    if MODULATED:
        # F_1 + F · v(R)
        v = tl.load(modulation + b * channels + c, mask=c < channels, other=0.0).to(WIDE)
        centre = load(x, rows, columns, c, channels, height, width, xc, xy, xx).to(WIDE)
        mixed += centre * v[None, :]
    if LEAKY:
        mixed = leaky_relu(mixed)
    store(out + b * ob, mixed, rows, columns, c, channels, height, width, oc, oy, ox)


@triton.jit
def before_leaky(
    grad, out, rows, columns, c, channels, height, width, gc, gy, gx, oc, oy, ox,
    LEAKY: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The gradient before the last LeakyReLU; the result's sign tells which side it was on."""
    g = load(grad, rows, columns, c, channels, height, width, gc, gy, gx).to(WIDE)
    if LEAKY:
        kept = load(out, rows, columns, c, channels, height, width, oc, oy, ox)
        g = tl.where(kept > 0, g, SLOPE * g)
    return g


@triton.jit
def da_conv_backward_kernel(
    grad, x, kernels, weight, out, grad_filtered, weight_sums, bias_sums, modulation_sums,
    channels, height, width, across, per_plane, per_sample,
    gb, gc, gy, gx, xb, xc, xy, xx, kb, kc, kt, ob, oc, oy, ox, fb, fc, fy, fx,
    K: tl.constexpr, MODULATED: tl.constexpr, LEAKY: tl.constexpr, TILES: tl.constexpr,
    WIDTH: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
    OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The filtered map's gradient, and this program's share of those of W, bias and v."""
    program = tl.program_id(0)
    c = tl.arange(0, CHANNELS)
    b = (program // per_sample).to(tl.int64)
    grad += b * gb
    x += b * xb
    kernels += b * kb
    out += b * ob
    grad_filtered += b * fb
    half = x.dtype.element_ty
    square = (c < channels)[:, None] & (c < channels)[None, :]
    mix = tl.load(weight + c[:, None] * channels + c[None, :], mask=square, other=0.0)
    mix = mix.to(half).to(OPERAND)
    weight_sum = tl.zeros([CHANNELS, CHANNELS], WIDE)
    bias_sum = tl.zeros([CHANNELS], WIDE)
    modulation_sum = tl.zeros([CHANNELS], WIDE)
    for i in range(TILES):
        # The last program's tiles may lie below the picture: all they load is zero.
        rows, columns = tile_coordinates(program % per_sample * TILES + i, across, WIDTH, PIXELS)
        filtered = filter_tile(
            x, kernels, rows, columns, c, channels, height, width, xc, xy, xx, kc, kt,
            K, False, PIXELS, CHANNELS, WIDE,
        )  # fmt: skip
        g = before_leaky(
            grad, out, rows, columns, c, channels, height, width, gc, gy, gx, oc, oy, ox,
            LEAKY, WIDE,
        )  # fmt: skip
        # ∂L/∂W = Σ g · LeakyReLU(filtered)ᵀ,  ∂L/∂bias = Σ g,  ∂L/∂v = Σ g · F
        g_operand = g.to(half).to(OPERAND)
        weight_sum = tl.dot(
            tl.trans(g_operand), leaky_relu(filtered).to(half).to(OPERAND), weight_sum,
            input_precision=PRECISION, out_dtype=WIDE,
        )  # fmt: skip
        bias_sum += tl.sum(g, axis=0)
        if MODULATED:
            centre = load(x, rows, columns, c, channels, height, width, xc, xy, xx).to(WIDE)
            modulation_sum += tl.sum(g * centre, axis=0)
        # ∂L/∂filtered = Wᵀ g, through the LeakyReLU
        before_mix = tl.dot(g_operand, mix, input_precision=PRECISION, out_dtype=WIDE)
        before_mix = tl.where(filtered > 0, before_mix, SLOPE * before_mix)
        store(grad_filtered, before_mix, rows, columns, c, channels, height, width, fc, fy, fx)
    of_program = program.to(tl.int64) * channels
    tl.store(
        weight_sums + of_program * channels + c[:, None] * channels + c[None, :], weight_sum,
        mask=square,
    )  # fmt: skip
    tl.store(bias_sums + of_program + c, bias_sum, mask=c < channels)
    if MODULATED:
        tl.store(modulation_sums + of_program + c, modulation_sum, mask=c < channels)


@triton.jit
def da_conv_grad_x_kernel(
    grad, grad_filtered, kernels, modulation, out, grad_x,
    channels, height, width, across, per_plane, blocks,
    gb, gc, gy, gx, fb, fc, fy, fx, kb, kc, kt, ob, oc, oy, ox, xb, xc, xy, xx,
    K: tl.constexpr, LEAKY: tl.constexpr,
    WIDTH: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """∂L/∂F = (∂L/∂filtered ⊛ mirrored k) + g · v, for a modulated convolution."""
    program = tl.program_id(0)
    rows, columns = tile_coordinates(program % per_plane, across, WIDTH, PIXELS)
    c = program // per_plane % blocks * CHANNELS + tl.arange(0, CHANNELS)
    b = (program // per_plane // blocks).to(tl.int64)
    total = filter_tile(
        grad_filtered + b * fb, kernels + b * kb, rows, columns, c, channels, height, width,
        fc, fy, fx, kc, kt, K, True, PIXELS, CHANNELS, WIDE,
    )  # fmt: skip
    g = before_leaky(
        grad + b * gb, out + b * ob, rows, columns, c, channels, height, width,
        gc, gy, gx, oc, oy, ox, LEAKY, WIDE,
    )  # fmt: skip
    v = tl.load(modulation + b * channels + c, mask=c < channels, other=0.0).to(WIDE)
    total += g * v[None, :]
    store(grad_x + b * xb, total, rows, columns, c, channels, height, width, xc, xy, xx)


def _multiplication(x: Tensor) -> tuple[tl.dtype, str]:
    """The type of the tensor cores' operands, and how they multiply float32."""
    if not x.is_cuda:  # the interpreter computes with NumPy, which has no bfloat16
        return TYPES[torch.float32 if x.dtype == torch.bfloat16 else x.dtype], "ieee"
    # Three passes in TF32, the tensor cores' short type, are as precise as float32.
    has_tf32 = torch.cuda.get_device_capability(x.device)[0] >= 8
    return TYPES[x.dtype], "tf32x3" if has_tf32 else "ieee"


@torch.library.custom_op("dasrlib::da_conv2d", mutates_args=())
def da_conv2d_triton(
    x: Tensor,
    kernels: Tensor,
    weight: Tensor,
    bias: Tensor,
    modulation: Tensor | None,
    leaky: bool,
) -> Tensor:
    """LeakyReLU?(mix(LeakyReLU(x ⊛ kernels)) + x · modulation), (B, C, H, W) -> (B, C, H, W)."""
    out = torch.empty_like(x)
    if out.numel() == 0:
        return out
    taps, weight = in_taps(kernels, x), weight.contiguous()
    v = bias if modulation is None else modulation.contiguous()  # then the kernel never reads v
    channels = triton.next_power_of_2(x.shape[1])
    tiles = choose_tiles(x, 4096, channels=channels, least=16)
    with torch.cuda.device_of(x):
        da_conv_kernel[(tiles.programs,)](
            x, taps, weight, bias, v, out, *x.shape[1:], tiles.across, tiles.per_plane,
            *x.stride(), *taps.stride(), *out.stride(),
            kernels.shape[-1], modulation is not None, leaky,
            tiles.width, tiles.pixels, tiles.channels, accumulator(x), *_multiplication(x),
        )  # fmt: skip
    return out


@da_conv2d_triton.register_fake
def _(x, kernels, weight, bias, modulation, leaky):  # type: ignore[no-untyped-def]
    return torch.empty_like(x)


@torch.library.custom_op("dasrlib::da_conv2d_backward", mutates_args=())
def da_conv2d_backward(
    grad: Tensor,
    x: Tensor,
    kernels: Tensor,
    weight: Tensor,
    modulation: Tensor | None,
    out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients for x, kernels, weight, bias and modulation (empty where there is none).

    out: the result, where a LeakyReLU ended it. Sums are kept in float32 and added in one order.
    """
    b, c = x.shape[:2]
    taps, weight = in_taps(kernels, x), weight.contiguous()
    k, leaky, modulated = kernels.shape[-1], out is not None, modulation is not None
    grad_filtered = torch.empty_like(x)
    result = grad if out is None else out  # then the kernel never reads it
    tiles = choose_tiles(x, 4096, channels=triton.next_power_of_2(c), least=16)
    per_sample = triton.cdiv(tiles.per_plane, TILES_PER_PROGRAM)

    def sums(*shape: int) -> Tensor:
        return torch.empty(b, per_sample, *shape, dtype=accumulator_dtype(x), device=x.device)

    weight_sums, bias_sums = sums(c, c), sums(c)
    modulation_sums = sums(c) if modulated else bias_sums
    with torch.cuda.device_of(x):
        da_conv_backward_kernel[(b * per_sample,)](
            grad, x, taps, weight, result, grad_filtered,
            weight_sums, bias_sums, modulation_sums,
            *x.shape[1:], tiles.across, tiles.per_plane, per_sample,
            *grad.stride(), *x.stride(), *taps.stride(), *result.stride(),
            *grad_filtered.stride(), k, modulated, leaky, TILES_PER_PROGRAM,
            tiles.width, tiles.pixels, tiles.channels, accumulator(x), *_multiplication(x),
            num_warps=8, num_stages=1,
        )  # fmt: skip
        if modulation is None:
            grad_x = depthwise.grouped_conv2d_triton(grad_filtered, kernels, True)
        else:
            grad_x, tiles = torch.empty_like(x), choose_tiles(x, 2048)
            da_conv_grad_x_kernel[(tiles.programs,)](
                grad, grad_filtered, taps, modulation.contiguous(), result, grad_x,
                *x.shape[1:], tiles.across, tiles.per_plane, tiles.blocks,
                *grad.stride(), *grad_filtered.stride(), *taps.stride(), *result.stride(),
                *grad_x.stride(), k, leaky,
                tiles.width, tiles.pixels, tiles.channels, accumulator(x),
            )  # fmt: skip
    return (
        grad_x,
        depthwise.kernel_gradient(x, grad_filtered, k).to(kernels.dtype),
        weight_sums.sum((0, 1)).to(weight.dtype),
        bias_sums.sum((0, 1)),
        modulation_sums.sum(1) if modulated else x.new_empty(0, dtype=accumulator_dtype(x)),
    )


@da_conv2d_backward.register_fake
def _(grad, x, kernels, weight, modulation, out):  # type: ignore[no-untyped-def]
    b, c = x.shape[:2]
    return (
        torch.empty_like(x),
        kernels.new_empty(kernels.shape),
        weight.new_empty(weight.shape),
        x.new_empty(c, dtype=accumulator_dtype(x)),
        x.new_empty((0,) if modulation is None else (b, c), dtype=accumulator_dtype(x)),
    )


def _save(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, kernels, weight, bias, modulation, leaky = inputs
    ctx.bias_dtype = bias.dtype
    # The next layer keeps the result anyway, so keeping it here costs nothing.
    ctx.save_for_backward(x, kernels, weight, modulation, output if leaky else None)


def _backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    modulation = ctx.saved_tensors[3]
    grads = da_conv2d_backward(grad, *ctx.saved_tensors)
    grad_v = None if modulation is None else grads[4].to(modulation.dtype)
    return *grads[:3], grads[3].to(ctx.bias_dtype), grad_v, None


da_conv2d_triton.register_autograd(_backward, setup_context=_save)
depthwise.autocast_x(da_conv2d_triton, "da_conv2d")
