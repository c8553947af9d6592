"""The bench: a right result is timed, counted and recorded.

No test asks how long anything took: where a time matters, the clock is the test's own.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from dasrlib import bench
from dasrlib.acceleration.devices import fastest_dtype
from dasrlib.bench import cases, measure, networks
from dasrlib.bench.measure import WORKLOADS, Case, TimedCall, Variant, Workload
from dasrlib.bench.operators import LAYOUTS
from dasrlib.network import BlindSR

CPU = torch.device("cpu")
QUICK = WORKLOADS["quick"]


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


def fake(clock: Clock, out: float, taken: list[float], calls: int = 1, **names) -> Variant:
    """A variant that gives `out` for ones and takes the seconds of `taken`, in turn."""
    turns = itertools.cycle(taken)
    return Variant(
        **{"name": "fake", "dtype": "float32", **names},
        layout="contiguous",
        tolerance=1e-4,
        check=lambda: ((torch.full((4,), out),), (torch.ones(4),), None),
        prepare=lambda: TimedCall(lambda: clock.works(next(turns)), calls),
    )


# What is measured


def test_rows_hold_median_quartiles_and_ratio(clock):
    first = fake(clock, 1.0, [0.5, 1.0, 2.0, 3.0, 4.0, 50.0])
    second = fake(clock, 1.0, [1.0], calls=2)
    case = Case("what", "size", [first, second], numbers=6, flops=12)
    rows = measure.rows_of(case, CPU, Workload(0.0, 5, 99))
    assert [row["samples"] for row in rows] == [5, 5]
    assert rows[0]["seconds"] == [2.0, 3.0, 4.0]  # of 1, 2, 3, 4, 50: the first is warming up
    assert rows[1]["seconds"] == [0.5, 0.5, 0.5]
    assert [row["ratio"] for row in rows] == [1.0, 6.0]
    assert [row["bytes"] for row in rows] == [24, 24]
    assert [row["flops"] for row in rows] == [12, 12]


def test_a_wrong_first_variant_leaves_no_ratio(clock):
    wrong, nan = fake(clock, 1.1, [1.0]), fake(clock, math.nan, [1.0])
    right = fake(clock, 1.0, [2.0], dtype="bfloat16")
    rows = measure.rows_of(Case("w", "s", [wrong, nan, right], 6), CPU, Workload(0.0, 3, 3))
    assert clock.now == 4 * 2.0  # a warm-up and three rounds of the right one alone
    assert [row["seconds"] for row in rows] == [None, None, [2.0, 2.0, 2.0]]
    assert [row["ratio"] for row in rows] == [None, None, None]
    assert rows[0]["refused"] == "wrong (error 1.0e-01, at most 1e-04)"
    assert rows[1]["error"] is None
    assert rows[2]["bytes"] == 12
    json.dumps(rows, allow_nan=False)


def test_variants_take_turns_and_none_always_follows_the_same(clock):
    order: list[int] = []
    calls = [TimedCall(partial(lambda i: (order.append(i), clock.works(1.0)), i)) for i in range(3)]
    samples = measure.interleaved(calls, CPU, Workload(18.0, 1, 99))
    assert [len(s) for s in samples] == [6, 6, 6]  # 18 seconds of 3 seconds a round
    rounds = [order[i : i + 3] for i in range(3, len(order), 3)]
    assert all(sorted(turn) == [0, 1, 2] for turn in rounds)
    assert {turn[0] for turn in rounds} == {0, 1, 2}


@pytest.mark.parametrize(
    ("seconds", "rounds"), [(0.1, 20), (5.0, 5), (1000.0, 3)], ids=["fast", "between", "slow"]
)
def test_a_slow_case_gets_fewer_rounds_but_some(clock, seconds, rounds):
    call = TimedCall(lambda: clock.works(seconds))
    (taken,) = measure.interleaved([call], CPU, Workload(25.0, 3, 20))
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
    b, c, h, w = QUICK.maps[0]
    x, k = b * c * h * w, b * c * 9
    forward, _, both, _ = cases.grouped_conv(CPU, QUICK)
    assert (forward.numbers, forward.flops) == (2 * x + k, 18 * x)
    assert (both.numbers, both.flops) == (5 * x + 3 * k, 54 * x)
    forward, _, both, _ = cases.da_conv(CPU, QUICK)
    weights = k + c * c + c + b * c
    assert (forward.numbers, forward.flops) == (2 * x + weights, (18 + 2 * c + 2) * x)
    assert (both.numbers, both.flops) == (5 * x + 3 * weights, 3 * (18 + 2 * c + 2) * x)


def test_a_training_step_of_the_whole_network_is_1_4_tflop():
    _, flops = networks.counted(BlindSR(4), (32, 3, 48, 48))
    assert 3 * flops == pytest.approx(1.4e12, rel=0.03)


def test_a_da_convolution_counts_as_one_layer():
    model = networks.network(QUICK)
    numbers, _ = networks.counted(model, (1, 3, 16, 16))
    c, pixels = 16, 16 * 16
    parameters = sum(p.numel() for p in model.parameters())
    da_block = 4 * 2 * c  # two DA convolutions, two 3×3 ones
    body = (3 + c) + da_block + 2 * c + 2 * c  # head, block, the group's convolution, the last
    tail = (c + 4 * c) + 4 * (c + 4 * c) + 16 * (c + 3)
    encoder = (1 + 64) + (64 + 64) + (64 + 128 / 4) + 256 / 4 + (128 / 4 + 256 / 16) + 512 / 16
    assert numbers == parameters + pixels * (body + tail + encoder)


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
        ("blur", "authors"),
        ("blur", "degrade"),
        ("training", "authors"),
        ("training", "ours"),
        ("inference", "authors"),
        ("inference", "ours"),
    }
    both = {(d, layout) for d in ("float32", "bfloat16") for layout in LAYOUTS}
    # Whole networks in float32, and in bfloat16 where the processor has units for it.
    chosen = {("float32", "contiguous")}
    if fastest_dtype(CPU) == torch.bfloat16:
        chosen |= {("bfloat16", "contiguous")}
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
    again = [v.name for case in cases.grouped_conv(CPU, QUICK) for v in case.variants]
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
