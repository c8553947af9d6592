"""A wrong result gets no time: operators, gradients and whole networks."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from dasrlib.bench import authors_code, cases, ground_truth, measure, networks, operators
from dasrlib.bench.measure import WORKLOADS, Case, Variant, Workload
from dasrlib.da_conv import DAConv

CPU = torch.device("cpu")
QUICK = WORKLOADS["quick"]


# Operators


@pytest.mark.parametrize(
    ("out", "error"),
    [
        ([3.0, 4.0], 0.0),
        ([3.0, 4.5], 0.1),
        ([0.0, 0.0], 1.0),
        ([3.0, math.nan], math.inf),
        ([math.inf, 4.0], math.inf),
        ([[3.0, 4.0]], math.inf),
    ],
)
def test_relative_error_is_of_the_whole_and_no_number_is_never_right(out, error):
    assert measure.relative_error(torch.tensor(out), torch.tensor([3.0, 4.0])) == error


def test_nothing_is_right_beside_zeros():
    assert measure.relative_error(torch.zeros(3), torch.zeros(3)) == math.inf


def test_fresh_memory_is_poisoned_for_as_long_as_a_check_lasts():
    with measure.poisoned_memory():
        assert torch.empty(1000).isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_exact_grouped_convolution_is_a_sum_over_neighbours():
    x, kernels = torch.randn(2, 3, 5, 4).double(), torch.randn(2, 3, 3, 3).double()
    out = ground_truth.grouped_conv2d(x, kernels)
    for b, c, y, z in ((0, 0, 0, 0), (1, 2, 4, 3), (0, 1, 2, 2), (1, 0, 3, 0)):
        total = 0.0
        for i in range(3):
            for j in range(3):
                row, column = y + i - 1, z + j - 1
                if 0 <= row < 5 and 0 <= column < 4:
                    total += float(kernels[b, c, i, j] * x[b, c, row, column])
        assert float(out[b, c, y, z]) == pytest.approx(total, abs=1e-12)


def operator(function, wrap=operators.forward_only, **keywords) -> Variant:
    """The grouped convolution as computed by `function`."""

    def draw():
        maps = [torch.randn(2, 4, 9, 9) for _ in range(1 + (wrap is not operators.forward_only))]
        return (*maps, torch.randn(2, 4, 3, 3))

    right = wrap(ground_truth.grouped_conv2d)
    return operators.operator("tried", wrap(function), right, draw, CPU, **keywords)


def refused(variant) -> str | None:
    (row,) = measure.rows_of(Case("what", "size", [variant]), CPU, Workload(0, 2, 2))
    assert (row["seconds"] is None) == (row["refused"] is not None)
    return row["refused"]


def in_tf32(x, kernels):
    """Inputs rounded to tf32's 10 bits of mantissa."""
    cut = (
        t.view(torch.int32).add(1 << 12).bitwise_and(-(1 << 13)).view(torch.float32)
        for t in (x, kernels)
    )
    return ground_truth.grouped_conv2d(*cut)


def mostly(x, kernels):
    """Leaves the last element unwritten."""
    out = torch.empty_like(x)
    out.view(-1)[:-1] = ground_truth.grouped_conv2d(x, kernels).reshape(-1)[:-1]
    return out


WRONG = {
    "tf32": in_tf32,
    "one element unwritten": mostly,
    "mirrored": lambda x, k: ground_truth.grouped_conv2d(x, k.flip(-1)),
    "other padding": lambda x, k: ground_truth.grouped_conv2d(F.pad(x, (1,) * 4, "reflect"), k)[
        ..., 1:-1, 1:-1
    ],
    "the same result whatever the input": lambda x, k: torch.ones_like(x),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_operator_gets_no_time(name):
    assert refused(operator(WRONG[name])).startswith("wrong (error ")


class NoGradient(torch.autograd.Function):
    """The right result with a gradient that forgets the kernels."""

    @staticmethod
    def forward(ctx, x, kernels):
        ctx.save_for_backward(kernels)
        return ground_truth.grouped_conv2d(x, kernels)

    @staticmethod
    def backward(ctx, grad):
        (kernels,) = ctx.saved_tensors
        return ground_truth.grouped_conv2d(grad, kernels.flip(-2, -1)), torch.zeros_like(kernels)


def test_a_wrong_gradient_gets_no_time():
    with_gradients = operators.forward_and_grads
    assert refused(operator(NoGradient.apply)) is None
    assert refused(operator(ground_truth.grouped_conv2d, with_gradients)) is None
    assert "wrong" in refused(operator(NoGradient.apply, with_gradients))


def test_what_does_not_run_says_why_in_a_line():
    def fails(x, kernels):
        raise RuntimeError("out of memory: tried 3 GiB\nand a long story")

    assert refused(operator(fails)) == "failed (out of memory: tried 3 GiB)"


def test_a_variant_is_checked_in_poisoned_memory():
    poisoned = []

    def spy(x, kernels):
        poisoned.append(bool(torch.empty(100).isnan().all()))
        return ground_truth.grouped_conv2d(x, kernels)

    operator(spy).check()
    assert poisoned[0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", operators.LAYOUTS)
def test_a_variant_gets_fresh_inputs_in_its_dtype_and_layout(dtype, layout):
    seen = []

    def spy(x, kernels):
        seen.append((x, kernels))
        return ground_truth.grouped_conv2d(x, kernels)

    way = operator(spy, dtype=dtype, layout=layout)
    assert refused(way) is None
    assert refused(way) is None
    assert all(t.dtype == getattr(torch, dtype) for pair in seen for t in pair)
    assert all(x.is_contiguous(memory_format=operators.LAYOUTS[layout]) for x, _ in seen)
    assert all(kernels.is_contiguous() for _, kernels in seen)
    assert not any(torch.equal(seen[0][0], x) for x, _ in seen[-2:])


def test_a_cache_does_not_hold_what_is_timed(monkeypatch):
    seen = []
    monkeypatch.setattr(operators, "cache_bytes", lambda device: 8000)
    call = operator(lambda x, k: seen.append(x.data_ptr()) or x).prepare()
    for _ in range(40):
        call.run()
    inputs = 4 * (2 * 4 * 9 * 9 + 2 * 4 * 9)
    assert len(set(seen)) * inputs >= 4 * 8000
    assert seen[0] not in seen[1 : len(set(seen))]


@pytest.mark.parametrize("backward", [False, True])
def test_gradients_are_compared_off_the_kinks(backward):
    x, kernels, weight, bias, modulation = cases.draw_da_conv((2, 16, 9, 9), backward, CPU)
    filtered = ground_truth.grouped_conv2d(x, kernels)
    before = ground_truth.da_conv2d(x, kernels, weight, bias, modulation)
    near = (filtered.abs() < 0.005).any() or (before.abs() < 0.005).any()
    assert bool(near) != backward
    for values in (filtered, before):  # both sides of a LeakyReLU are still taken
        assert (values > 0).any()
        assert (values < 0).any()


# The whole networks


def test_the_exact_network_is_the_network():
    model, images = networks.network(QUICK).eval(), torch.rand(1, 3, 9, 8)
    sr = model(images)
    for module in (authors_code, ground_truth):
        same = networks.with_da_conv(module.da_conv2d, copy.deepcopy(model))
        assert sum(isinstance(m, networks.ComputedDAConv) for m in same.modules()) == 2
        torch.testing.assert_close(same(images), sr)


def without_modulation(x, kernels, weight, bias, v):
    return ground_truth.da_conv2d(x, kernels, weight, bias)


def forgetful(step, sr):
    networks.with_da_conv(without_modulation, sr)
    return step, sr


def without_update(step, sr):
    def again():
        before = copy.deepcopy(sr.state_dict())
        losses = step()
        sr.load_state_dict(before)
        return losses

    return again, sr


def doubled_gradient(step, sr):
    def double():
        losses = step()
        for parameter in sr.parameters():
            parameter.grad *= 2
        return losses

    return double, sr


@pytest.mark.parametrize("mistake", [None, forgetful, without_update, doubled_gradient])
def test_a_wrong_training_step_gets_no_time(mistake):
    def begin(exact=False):
        run = networks.start(QUICK, CPU, exact=exact)
        return run if exact or mistake is None else mistake(*run)

    found = refused(networks.training_variant("tried", begin, CPU))
    assert found is None if mistake is None else found.startswith("wrong (error ")


@pytest.mark.parametrize("authors", [True, False])
def test_training_is_compared_with_float64_and_trains(authors):
    for exact, dtype in ((True, torch.float64), (False, torch.float32)):
        step, sr = networks.start(QUICK, CPU, authors=authors, exact=exact)
        assert {p.dtype for p in sr.parameters()} == {dtype}
        before = [p.detach().clone() for p in sr.parameters()]
        step()
        assert not any(map(torch.equal, before, sr.parameters()))


def test_a_wrong_network_gets_no_time(monkeypatch):
    (case,) = networks.inference(CPU, QUICK)
    ours = next(v for v in case.variants if v.name == "ours" and v.dtype == "float32")
    assert refused(ours) is None
    monkeypatch.setattr(DAConv, "forward", lambda self, features, r: features)
    assert refused(ours).startswith("wrong (error ")
