"""The bench: what is wrong gets no time, what is right is counted and told as it was measured.

No test asks how long anything took: where a time matters, the clock is the test's own.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from dasrlib import bench
from dasrlib.bench import cases, exact, measure, networks, operators, released
from dasrlib.bench.measure import Budget, Case, Check, Repeat
from dasrlib.bench.operators import LAYOUTS
from dasrlib.da_conv import DAConv
from dasrlib.devices import fastest_dtype
from dasrlib.network import BlindSR

CPU = torch.device("cpu")


@dataclass
class Clock:
    """A clock that only `works` moves."""

    now: float = 0.0

    def perf_counter(self) -> float:
        return self.now

    def works(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    own = Clock()
    monkeypatch.setattr(measure, "time", own)
    return own


@dataclass
class Fake:
    """A way that gives `out` for a truth of `truth` and takes the seconds of `taken`, in turn."""

    clock: Clock
    out: torch.Tensor
    taken: list[float]
    name: str = "fake"
    dtype: str = "float32"
    layout: str = "contiguous"
    tolerance: float = 1e-4
    truth: torch.Tensor = field(default_factory=lambda: torch.ones(4))
    calls: int = 1
    goes: int = 0

    def check(self) -> Check:
        return Check((self.out,), (self.truth,))

    def repeat(self) -> Repeat:
        def go() -> None:
            self.clock.works(self.taken[self.goes % len(self.taken)])
            self.goes += 1

        return Repeat(go, self.calls)


# What is right


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
    out = exact.grouped_conv2d(x, kernels)
    for b, c, y, z in ((0, 0, 0, 0), (1, 2, 4, 3), (0, 1, 2, 2), (1, 0, 3, 0)):
        total = 0.0
        for i in range(3):
            for j in range(3):
                row, column = y + i - 1, z + j - 1
                if 0 <= row < 5 and 0 <= column < 4:
                    total += float(kernels[b, c, i, j] * x[b, c, row, column])
        assert float(out[b, c, y, z]) == pytest.approx(total, abs=1e-12)


def operator(function, wrap=operators.alone, **keywords) -> operators.Operator:
    """The grouped convolution as computed by `function`."""

    def draw():
        maps = [torch.randn(2, 4, 9, 9) for _ in range(1 + (wrap is not operators.alone))]
        return (*maps, torch.randn(2, 4, 3, 3))

    right = wrap(exact.grouped_conv2d)
    return operators.Operator("tried", wrap(function), right, draw, CPU, **keywords)


def refused(way) -> str | None:
    (row,) = measure.rows_of(Case("g", "what", "size", [way]), CPU, Budget(0, 2, 2))
    assert (row["seconds"] is None) == (row["refused"] is not None)
    return row["refused"]


def in_tf32(x, kernels):
    """Inputs rounded to tf32's 10 bits of mantissa."""
    cut = (
        t.view(torch.int32).add(1 << 12).bitwise_and(-(1 << 13)).view(torch.float32)
        for t in (x, kernels)
    )
    return exact.grouped_conv2d(*cut)


def mostly(x, kernels):
    """Leaves the last element unwritten."""
    out = torch.empty_like(x)
    out.view(-1)[:-1] = exact.grouped_conv2d(x, kernels).reshape(-1)[:-1]
    return out


WRONG = {
    "tf32": in_tf32,
    "one element unwritten": mostly,
    "mirrored": lambda x, k: exact.grouped_conv2d(x, k.flip(-1)),
    "other padding": lambda x, k: exact.grouped_conv2d(F.pad(x, (1,) * 4, "reflect"), k)[
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
        return exact.grouped_conv2d(x, kernels)

    @staticmethod
    def backward(ctx, grad):
        (kernels,) = ctx.saved_tensors
        return exact.grouped_conv2d(grad, kernels.flip(-2, -1)), torch.zeros_like(kernels)


def test_a_wrong_gradient_gets_no_time():
    with_gradients = partial(operators.with_gradients, leaves=2)
    assert refused(operator(NoGradient.apply)) is None
    assert refused(operator(exact.grouped_conv2d, with_gradients)) is None
    assert "wrong" in refused(operator(NoGradient.apply, with_gradients))


def test_what_does_not_run_says_why_in_a_line():
    def fails(x, kernels):
        raise RuntimeError("out of memory: tried 3 GiB\nand a long story")

    assert refused(operator(fails)) == "failed (out of memory: tried 3 GiB)"


def test_a_way_is_checked_in_poisoned_memory():
    poisoned = []

    def spy(x, kernels):
        poisoned.append(bool(torch.empty(100).isnan().all()))
        return exact.grouped_conv2d(x, kernels)

    operator(spy).check()
    assert poisoned[0]


@pytest.mark.parametrize("number", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", operators.LAYOUTS)
def test_a_way_gets_fresh_inputs_in_its_dtype_and_layout(number, layout):
    seen = []

    def spy(x, kernels):
        seen.append((x, kernels))
        return exact.grouped_conv2d(x, kernels)

    way = operator(spy, number=number, layout=layout)
    assert refused(way) is None
    assert refused(way) is None
    assert all(t.dtype == number for pair in seen for t in pair)
    assert all(x.is_contiguous(memory_format=operators.LAYOUTS[layout]) for x, _ in seen)
    assert all(kernels.is_contiguous() for _, kernels in seen)
    assert not any(torch.equal(seen[0][0], x) for x, _ in seen[-2:])


def test_a_cache_does_not_hold_what_is_timed(monkeypatch):
    seen = []
    monkeypatch.setattr(operators, "cache_bytes", lambda device: 8000)
    repeat = operator(lambda x, k: seen.append(x.data_ptr()) or x).repeat()
    for _ in range(40):
        repeat.go()
    inputs = 4 * (2 * 4 * 9 * 9 + 2 * 4 * 9)
    assert len(set(seen)) * inputs >= 4 * 8000
    assert seen[0] not in seen[1 : len(set(seen))]


# What is measured


def test_rows_hold_median_quartiles_and_ratio(clock):
    first = Fake(clock, torch.ones(4), [0.5, 1.0, 2.0, 3.0, 4.0, 50.0], name="first")
    second = Fake(clock, torch.ones(4), [1.0], name="second", calls=2)
    case = Case("g", "what", "size", [first, second], numbers=6, flops=12)
    rows = measure.rows_of(case, CPU, Budget(0.0, 5, 99))
    assert [row["samples"] for row in rows] == [5, 5]
    assert rows[0]["seconds"] == [2.0, 3.0, 4.0]  # of 1, 2, 3, 4, 50: the first is warming up
    assert rows[1]["seconds"] == [0.5, 0.5, 0.5]
    assert [row["ratio"] for row in rows] == [1.0, 6.0]
    assert [row["bytes"] for row in rows] == [24, 24]
    assert [row["flops"] for row in rows] == [12, 12]


def test_a_wrong_first_way_leaves_no_ratio(clock):
    wrong = Fake(clock, torch.full((4,), 1.1), [1.0], name="wrong")
    nan = Fake(clock, torch.full((4,), math.nan), [1.0], name="nan")
    right = Fake(clock, torch.ones(4), [2.0], name="right", dtype="bfloat16")
    rows = measure.rows_of(Case("g", "w", "s", [wrong, nan, right], 6), CPU, Budget(0.0, 3, 3))
    assert (wrong.goes, nan.goes) == (0, 0)
    assert [row["seconds"] for row in rows] == [None, None, [2.0, 2.0, 2.0]]
    assert [row["ratio"] for row in rows] == [None, None, None]
    assert rows[0]["refused"] == "wrong (error 1.0e-01, at most 1e-04)"
    assert rows[1]["error"] is None
    assert rows[2]["bytes"] == 12
    json.dumps(rows, allow_nan=False)


def test_ways_take_turns_and_none_always_follows_the_same(clock):
    order: list[int] = []
    repeats = [Repeat(partial(lambda i: (order.append(i), clock.works(1.0)), i)) for i in range(3)]
    samples = measure.interleaved(repeats, CPU, Budget(18.0, 1, 99))
    assert [len(s) for s in samples] == [6, 6, 6]  # 18 seconds of 3 seconds a round
    rounds = [order[i : i + 3] for i in range(3, len(order), 3)]
    assert all(sorted(turn) == [0, 1, 2] for turn in rounds)
    assert {turn[0] for turn in rounds} == {0, 1, 2}


@pytest.mark.parametrize(
    ("seconds", "rounds"), [(0.1, 20), (5.0, 5), (1000.0, 3)], ids=["fast", "between", "slow"]
)
def test_a_slow_case_gets_fewer_rounds_but_some(clock, seconds, rounds):
    repeat = Repeat(lambda: clock.works(seconds))
    (taken,) = measure.interleaved([repeat], CPU, Budget(25.0, 3, 20))
    assert len(taken) == rounds


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_set_and_put_back(allowed):
    def flags():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = flags()
    with measure.tf32(allowed):
        assert flags() == (allowed, allowed)
    assert flags() == before


# What is counted


def test_bytes_and_operations_of_the_convolutions_are_counted_once():
    b, c, h, w = cases.QUICK_SIZES[0]
    x, k = b * c * h * w, b * c * 9
    forward, _, both, _ = cases.grouped_conv(CPU, True)
    assert (forward.numbers, forward.flops) == (2 * x + k, 18 * x)
    assert (both.numbers, both.flops) == (5 * x + 3 * k, 54 * x)
    forward, _, both, _ = cases.da_conv(CPU, True)
    weights = k + c * c + c + b * c
    assert (forward.numbers, forward.flops) == (2 * x + weights, (18 + 2 * c + 2) * x)
    assert (both.numbers, both.flops) == (5 * x + 3 * weights, 3 * (18 + 2 * c + 2) * x)


def test_a_training_step_of_the_whole_network_is_1_4_tflop():
    _, flops = networks.counted(BlindSR(4), torch.empty(32, 3, 48, 48))
    assert 3 * flops == pytest.approx(1.4e12, rel=0.03)


def test_a_da_convolution_counts_as_one_layer():
    model = BlindSR(4, networks.chosen_profile(True, 1).sizes)
    numbers, _ = networks.counted(model, torch.empty(1, 3, 16, 16))
    c, pixels = 16, 16 * 16
    parameters = sum(p.numel() for p in model.parameters())
    da_block = 4 * 2 * c  # two DA convolutions, two 3×3 ones
    body = (3 + c) + da_block + 2 * c + 2 * c  # head, block, the group's convolution, the last
    tail = (c + 4 * c) + 4 * (c + 4 * c) + 16 * (c + 3)
    encoder = (3 + 64) + (64 + 64) + (64 + 128 / 4) + 256 / 4 + (128 / 4 + 256 / 16) + 512 / 16
    assert numbers == parameters + pixels * (body + tail + encoder)


@pytest.mark.parametrize("backward", [False, True])
def test_gradients_are_compared_off_the_kinks(backward):
    x, kernels, weight, bias, modulation = cases.draw_da_conv((2, 16, 9, 9), backward, CPU)
    filtered = exact.grouped_conv2d(x, kernels)
    before = exact.da_conv2d(x, kernels, weight, bias, modulation)
    near = (filtered.abs() < 0.005).any() or (before.abs() < 0.005).any()
    assert bool(near) != backward
    for values in (filtered, before):  # both sides of a LeakyReLU are still taken
        assert (values > 0).any()
        assert (values < 0).any()


# The whole networks


def test_the_exact_network_is_the_network():
    model, images = (
        BlindSR(4, networks.chosen_profile(True, 1).sizes).eval(),
        torch.rand(1, 3, 9, 8),
    )
    sr = model(images)
    for kind in (released.ReleasedDAConv, exact.ExactDAConv):
        same = released.computed_as(kind, model)
        assert sum(type(m) is kind for m in same.modules()) == 2
        torch.testing.assert_close(same(images), sr)


class NoModulation(DAConv):
    """A DA convolution without its second branch."""

    def forward(self, features, r, leaky=False):
        mix, bias = self.mix.weight[:, :, 0, 0], self.mix.bias
        return exact.da_conv2d(features, self.kernels(r), mix, bias, None, leaky)


def forgetful(started: networks.Started) -> networks.Started:
    for module in started.sr.modules():
        if isinstance(module, DAConv):
            module.__class__ = NoModulation
    return started


def without_update(started: networks.Started) -> networks.Started:
    def step():
        before = copy.deepcopy(started.sr.state_dict())
        losses = started.step()
        started.sr.load_state_dict(before)
        return losses

    return networks.Started(step, started.sr)


def doubled_gradient(started: networks.Started) -> networks.Started:
    def step():
        losses = started.step()
        for parameter in started.sr.parameters():
            parameter.grad *= 2
        return losses

    return networks.Started(step, started.sr)


@pytest.mark.parametrize("mistake", [forgetful, without_update, doubled_gradient])
def test_a_wrong_training_step_gets_no_time(mistake):
    (case,) = networks.training_step(CPU, True)
    way = next(way for way in case.ways if way.name == "ours" and way.dtype == "float32")
    start = way.start
    way.start = lambda seed, right: start(seed, right) if right else mistake(start(seed, right))
    assert refused(way).startswith("wrong (error ")


@pytest.mark.parametrize("name", ["released", "ours"])
def test_training_is_compared_with_float64_and_trains(name):
    (case,) = networks.training_step(CPU, True)
    way = next(way for way in case.ways if way.name == name)
    for right, dtype in ((True, torch.float64), (False, torch.float32)):
        started = way.start(3, right)
        assert {p.dtype for p in started.sr.parameters()} == {dtype}
        before = [p.detach().clone() for p in started.sr.parameters()]
        started.step()
        assert not any(map(torch.equal, before, started.sr.parameters()))


def test_a_wrong_network_gets_no_time(monkeypatch):
    (case,) = networks.enlargement(CPU, True)
    way = next(way for way in case.ways if way.name == "ours" and way.dtype == "float32")
    assert refused(way) is None
    monkeypatch.setattr(DAConv, "forward", NoModulation.forward)
    assert refused(way).startswith("wrong (error ")


# The whole bench, in its smallest sizes


@pytest.fixture(scope="module")
def quick() -> dict:
    return bench.run("cpu", quick=True)


def test_everything_is_measured_and_right(quick):
    assert [row["refused"] for row in quick["rows"] if row["refused"]] == []
    found = {(row["group"], row["variant"]) for row in quick["rows"]}
    assert found >= {
        ("grouped_conv", "reference"),
        ("da_conv", "eager"),
        ("da_conv", "reference"),
        ("blur", "released"),
        ("blur", "degrade"),
        ("training", "released"),
        ("training", "ours"),
        ("inference", "released"),
        ("inference", "ours"),
    }
    both = {(d, layout) for d in ("float32", "bfloat16") for layout in LAYOUTS}
    # Whole networks in float32, and in bfloat16 where the processor has units for it.
    chosen = {("float32", "contiguous")}
    if fastest_dtype(CPU) == torch.bfloat16:
        chosen |= {("bfloat16", "channels_last")}
    expected = {"grouped_conv": both, "da_conv": both, "blur": {("float32", "contiguous")}}
    for group in bench.GROUPS:
        layouts = {(r["dtype"], r["layout"]) for r in quick["rows"] if r["group"] == group}
        assert layouts == expected.get(group, chosen)
    json.dumps(quick, allow_nan=False)
    assert quick["ceilings"]["copy"] > 0
    assert set(quick["ceilings"]["matmul"]) == {"float32", "bfloat16"}


def test_triton_on_the_cpu_is_not_measured(quick, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert all(row["variant"] != "triton" for row in quick["rows"])
    again = [way.name for case in cases.grouped_conv(CPU, True) for way in case.ways]
    assert set(again) == {"reference"}


def test_the_fraction_of_the_copy_bandwidth_is_of_bytes_moved_once(quick):
    row = next(row for row in quick["rows"] if row["bytes"])
    moved = row["bytes"] / row["seconds"][1]
    assert row["bandwidth"] == pytest.approx(moved / quick["ceilings"]["copy"])


def test_inputs_are_fresh_on_every_run(monkeypatch):
    monkeypatch.setattr(bench, "GROUPS", {})
    assert bench.run("cpu", quick=True)["seed"] != bench.run("cpu", quick=True)["seed"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_everything_is_measured_and_right_on_a_gpu():
    record = bench.run("cuda", quick=True)
    assert [row["refused"] for row in record["rows"] if row["refused"]] == []
    assert {"triton", "ours, no graph"} <= {row["variant"] for row in record["rows"]}
