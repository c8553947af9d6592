"""The GPU kernels against float64: natively where there is a GPU, else through Triton's
interpreter."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed")

import dasrlib.grouped_conv as door
from dasrlib import network, systems
from dasrlib.grouped_conv import da_conv2d, depthwise, fused, grouped_conv2d
from dasrlib.profiles import Sizes

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
pytestmark = [pytest.mark.slow, *([pytest.mark.gpu] if GPU else [])]

CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last
# ‖out − exact‖ / ‖exact‖: what a rounding of the result costs, and a margin for the order of sums.
TOLERANCE = {
    torch.float64: 1e-13,
    torch.float32: 2e-6,
    torch.bfloat16: 6e-3,
    torch.float16: 8e-4,
}
LAYOUTS = pytest.mark.parametrize(
    "layout", [CONTIGUOUS, CHANNELS_LAST], ids=["contiguous", "channels_last"]
)


@pytest.fixture(autouse=True)
def _poisoned_memory():
    """What a kernel forgets to write is NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(before)


def random(*shape: int, dtype=torch.float32, layout=CONTIGUOUS) -> Tensor:
    x = torch.randn(shape).to(DEVICE, dtype)
    return x.contiguous(memory_format=layout) if x.ndim == 4 else x


def error(got: Tensor, exact: Tensor) -> float:
    return float((got.detach().double() - exact.detach()).norm() / exact.detach().norm())


def convolution_and_gradients(function, x: Tensor, kernels: Tensor, grad: Tensor) -> list[Tensor]:
    x, kernels = x.detach().requires_grad_(), kernels.detach().requires_grad_()
    out = function(x, kernels)
    return [out.detach(), *torch.autograd.grad(out, (x, kernels), grad)]


def check_convolution(x: Tensor, kernels: Tensor) -> None:
    grad = torch.randn_like(x)
    got = convolution_and_gradients(lambda *a: grouped_conv2d(*a, "triton"), x, kernels, grad)
    exact = convolution_and_gradients(
        lambda *a: grouped_conv2d(*a, "reference"), x.double(), kernels.double(), grad.double()
    )
    for value, right in zip(got, exact, strict=True):
        assert value.dtype == x.dtype
        assert value.shape == right.shape
        assert error(value, right) < TOLERANCE[x.dtype]


# The grouped convolution


# The interpreter takes seconds for a large kernel: there, these go with float32 alone.
KINDS = [(d, k) for d in TOLERANCE for k in (1, 3, 5, 7) if GPU or k == 3 or d == torch.float32]


@LAYOUTS
@pytest.mark.parametrize(("dtype", "k"), KINDS, ids=str)
def test_convolution_and_gradients_are_those_of_float64(dtype, layout, k):
    # Odd sizes, channels that are no power of two, more than one tile across.
    x = random(2, 5, 7, 19, dtype=dtype, layout=layout)
    check_convolution(x, random(2, 5, k, k, dtype=dtype))


@LAYOUTS
@pytest.mark.parametrize(
    "shape",
    [(3, 4, 1, 1), (1, 1, 1, 50), (2, 1, 70, 1), (1, 40, 3, 2), (1, 3, 50, 70), (1, 64, 16, 16)],
    ids=str,
)
def test_convolution_of_any_size(layout, shape):
    x = random(*shape, layout=layout)
    check_convolution(x, random(*shape[:2], 3, 3))


def test_convolution_with_the_blurs_kernel_shared_by_the_channels():
    x, kernels = random(1, 3, 24, 30), random(1, 1, 21, 21)
    exact = grouped_conv2d(x.double(), kernels.double(), "reference")
    assert error(grouped_conv2d(x, kernels, "triton"), exact) < TOLERANCE[torch.float32]


def test_more_channels_than_a_grid_has_blocks():
    # 65538 kernels; the second and third axis of a CUDA grid end at 65535.
    check_convolution(random(2, 32769, 1, 2), random(2, 32769, 3, 3))


@pytest.mark.skipif(not GPU, reason="65537 programs take the interpreter minutes: needs a GPU")
def test_more_samples_than_a_grid_has_blocks():
    check_convolution(random(65537, 1, 2, 3), random(65537, 1, 3, 3))


def test_convolution_reads_any_strides():
    wide = random(2, 6, 10, 24)
    x, kernels = wide[:, ::2, 1:9, 3:20], random(2, 3, 3, 6)[..., ::2]
    check_convolution(x, kernels)
    # The gradient of a sum has one value at all places: strides of 0.
    leaf = x.detach().requires_grad_()
    grouped_conv2d(leaf, kernels, "triton").sum().backward()
    copy = x.detach().double().requires_grad_()
    grouped_conv2d(copy, kernels.double(), "reference").sum().backward()
    assert error(leaf.grad, copy.grad) < TOLERANCE[torch.float32]


def test_an_empty_batch_has_an_empty_result():
    x = random(0, 4, 5, 5).requires_grad_()
    kernels = random(0, 4, 3, 3).requires_grad_()
    out = grouped_conv2d(x, kernels, "triton")
    assert out.shape == x.shape
    out.sum().backward()
    assert kernels.grad.shape == kernels.shape


@LAYOUTS
def test_the_kernels_gradient_is_the_same_bits_every_time(layout):
    x, grad = (random(2, 20, 40, 40, layout=layout) for _ in range(2))
    first = depthwise.kernel_gradient(x, grad, 3)
    assert all(torch.equal(depthwise.kernel_gradient(x, grad, 3), first) for _ in range(3))


def test_the_kernels_gradient_adds_in_float32():
    # A bfloat16 sum of 4096 ones stops at 256.
    ones = torch.ones(1, 2, 64, 64, device=DEVICE, dtype=torch.bfloat16)
    assert depthwise.kernel_gradient(ones, ones, 1).flatten().tolist() == [4096.0, 4096.0]


@LAYOUTS
def test_gradients_of_the_convolution_and_their_gradients(layout):
    x = random(1, 2, 3, 4, dtype=torch.float64, layout=layout).requires_grad_()
    kernels = random(1, 2, 3, 3, dtype=torch.float64).requires_grad_()
    for mirrored in (False, True):
        inputs = (x, kernels, mirrored)
        # In fast mode along a random direction, as a step along each axis takes minutes.
        assert torch.autograd.gradcheck(depthwise.grouped_conv2d_triton, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(depthwise.grouped_conv2d_triton, inputs, fast_mode=True)


# The fused DA convolution


def da_exact(x, kernels, weight, bias, modulation, positive):
    """float64, and the last LeakyReLU on the side of zero where the rounded result was."""
    filtered = F.leaky_relu(grouped_conv2d(x, kernels, "reference"), 0.1)
    out = torch.einsum("oi,bihw->bohw", weight, filtered) + bias[:, None, None]
    if modulation is not None:
        out = out + x * modulation[:, :, None, None]
    return out if positive is None else torch.where(positive, out, 0.1 * out)


def check_da_conv(x: Tensor, k: int, modulated: bool, leaky: bool) -> None:
    b, c = x.shape[:2]
    given = [x, random(b, c, k, k), random(c, c) / c**0.5, random(c)]
    given += [random(b, c).sigmoid()] if modulated else []
    inputs = [t.to(x.dtype).detach().requires_grad_() for t in given]
    more = inputs[4:] or [None]
    out = da_conv2d(*inputs[:4], *more, "leaky_relu" if leaky else None, "triton")
    grad = torch.randn_like(out)
    got = [out, *torch.autograd.grad(out, inputs, grad)]

    exact_inputs = [t.detach().double().requires_grad_() for t in inputs]
    more = exact_inputs[4:] or [None]
    exact_out = da_exact(*exact_inputs[:4], *more, out > 0 if leaky else None)
    exact = [exact_out, *torch.autograd.grad(exact_out, exact_inputs, grad.double())]
    for value, right in zip(got, exact, strict=True):
        assert value.dtype == x.dtype
        assert value.shape == right.shape
        # Two roundings: of the filtered map, for the tensor cores, and of the result.
        assert error(value, right) < 2 * TOLERANCE[x.dtype]
    assert out.stride() == x.stride()


PARTS = [
    (dtype, *parts)
    for dtype in TOLERANCE
    for parts in [(True, True), (True, False), (False, True)]
    if GPU or all(parts) or dtype == torch.float32
]


@LAYOUTS
@pytest.mark.parametrize(("dtype", "modulated", "leaky"), PARTS, ids=str)
def test_fused_da_conv_and_gradients_are_those_of_float64(dtype, layout, modulated, leaky):
    check_da_conv(random(2, 20, 9, 19, dtype=dtype, layout=layout), 3, modulated, leaky)


@pytest.mark.parametrize(
    ("shape", "k"), [((2, 64, 8, 8), 3), ((3, 5, 1, 1), 3), ((1, 16, 40, 40), 3), ((1, 7, 6, 5), 7)]
)
@LAYOUTS
def test_fused_da_conv_of_any_size(layout, shape, k):
    check_da_conv(random(*shape, layout=layout), k, modulated=True, leaky=True)


@pytest.mark.parametrize(("modulated", "leaky"), [(True, True), (False, False)])
def test_gradients_of_the_fused_da_conv(modulated, leaky):
    given = [random(1, 3, 3, 4), random(1, 3, 3, 3), random(3, 3), random(3), random(1, 3)]
    inputs = [t.double().requires_grad_() for t in given[: 5 if modulated else 4]]

    def function(x, kernels, weight, bias, modulation=None):
        activation = "leaky_relu" if leaky else None
        return da_conv2d(x, kernels, weight, bias, modulation, activation, "triton")

    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


def test_fused_da_conv_keeps_the_sums_of_its_gradients_in_float32():
    # 6400 pixels and the sum of their gradients, one each: in bfloat16 it would stop at 256.
    x = torch.ones(1, 16, 80, 80, device=DEVICE, dtype=torch.bfloat16)
    zeros = torch.zeros(1, 16, 1, 1, device=DEVICE)
    weight = torch.zeros(16, 16, device=DEVICE)
    bias = torch.zeros(16, device=DEVICE, requires_grad=True)
    v = torch.ones(1, 16, device=DEVICE, requires_grad=True)
    da_conv2d(x, zeros, weight, bias, v, backend="triton").sum().backward()
    assert bias.grad.tolist() == v.grad[0].tolist() == [6400.0] * 16


# What torch.library, autocast and the compiler make of them


def operators() -> dict:
    x, kernels = random(2, 3, 5, 6).requires_grad_(), random(2, 3, 3, 3).requires_grad_()
    weight, bias, v = (random(*s).requires_grad_() for s in ((3, 3), (3,), (2, 3)))
    given = (x, kernels, weight, bias)
    detached = tuple(t.detach() for t in (random(2, 3, 5, 6), x, kernels, weight, v))
    return {
        "convolution": (depthwise.grouped_conv2d_triton, (x, kernels)),
        "mirrored": (depthwise.grouped_conv2d_triton, (x, kernels, True)),
        "kernels' gradient": (depthwise.kernel_gradient, (x, random(2, 3, 5, 6), 3)),
        "fused": (fused.da_conv2d_triton, (*given, v, True)),
        "fused, no modulation": (fused.da_conv2d_triton, (*given, None, False)),
        "fused backward": (fused.da_conv2d_backward, (*detached, x.detach())),
    }


@pytest.mark.parametrize("name", operators())
def test_opcheck(name):
    operator, arguments = operators()[name]
    torch.library.opcheck(operator, arguments)


@LAYOUTS
def test_opcheck_knows_the_layout_of_what_comes_back(layout):
    x = random(2, 4, 5, 6, layout=layout)
    torch.library.opcheck(depthwise.grouped_conv2d_triton, (x, random(2, 4, 3, 3)))


def test_autocast_gives_bfloat16_and_the_gradients_their_own_types():
    x, kernels = random(2, 4, 6, 6).requires_grad_(), random(2, 4, 3, 3).requires_grad_()
    weight, bias, v = (random(*s).requires_grad_() for s in ((4, 4), (4,), (2, 4)))
    with torch.autocast(DEVICE, torch.bfloat16):
        filtered = grouped_conv2d(x, kernels, "triton")
        out = da_conv2d(x, kernels, weight, bias, v, "leaky_relu", "triton")
    assert filtered.dtype == out.dtype == torch.bfloat16
    assert torch.equal(filtered, grouped_conv2d(x.bfloat16(), kernels, "triton"))
    (filtered.float().sum() + out.float().sum()).backward()
    assert {t.grad.dtype for t in (x, kernels, weight, bias, v)} == {torch.float32}


@pytest.mark.parametrize("backend", ["triton", "reference", "auto"])
def test_compiles_in_one_graph(backend):
    def block(x, kernels, weight, bias, v):
        x = da_conv2d(x, kernels, weight, bias, v, "leaky_relu", backend)
        return grouped_conv2d(x, kernels, backend).square().mean()

    inputs = [random(2, 4, 6, 6), random(2, 4, 3, 3), random(4, 4), random(4), random(2, 4)]
    inputs = [t.requires_grad_() for t in inputs]
    expected = torch.autograd.grad(block(*inputs), inputs)
    # The inductor is for GPUs here; without one, all but its code generation is gone through.
    compiled = torch.compile(block, fullgraph=True, backend="inductor" if GPU else "aot_eager")
    for got, right in zip(torch.autograd.grad(compiled(*inputs), inputs), expected, strict=True):
        torch.testing.assert_close(got, right)


@pytest.mark.parametrize("model", ["model3", "model4"])
def test_the_network_is_the_same_through_the_kernels(model, monkeypatch):
    torch.manual_seed(0)
    sizes = Sizes(groups=1, blocks=1, channels=16, tail_channels=16)
    sr = network.DASR(2, sizes, systems.MODELS[model]).to(DEVICE, torch.float64)
    lr, representation = torch.rand(2, 3, 7, 9), torch.randn(2, 256)
    lr, representation = lr.to(DEVICE, torch.float64), representation.to(DEVICE, torch.float64)

    def gradients() -> list[Tensor]:
        out = sr(lr, representation)
        return [out, *torch.autograd.grad(out.square().sum(), list(sr.parameters()))]

    monkeypatch.setattr(door, "uses_triton", lambda x, backend="auto": False)
    expected = gradients()
    monkeypatch.setattr(door, "uses_triton", lambda x, backend="auto": True)
    calls, fused_call = [], door.da_conv2d_triton
    monkeypatch.setattr(
        door, "da_conv2d_triton", lambda *given: calls.append(given[5]) or fused_call(*given)
    )
    got = gradients()
    assert calls == [True, True]  # two DA convolutions, the LeakyReLU of the block included
    for value, right in zip(got, expected, strict=True):
        torch.testing.assert_close(
            value, right, rtol=1e-9, atol=1e-9 * float(right.detach().abs().max())
        )
