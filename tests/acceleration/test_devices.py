"""Which numbers a device computes with fastest."""

from __future__ import annotations

import pytest
import torch

from dasrlib.acceleration import devices


@pytest.mark.parametrize(
    ("device", "layout"), [("cpu", torch.contiguous_format), ("cuda", torch.channels_last)]
)
def test_the_layout_is_a_rule_of_the_device(device, layout):
    assert devices.fastest_layout(device) == layout


@pytest.fixture
def measured_anew():
    devices._fastest_on_processor.cache_clear()
    yield
    devices._fastest_on_processor.cache_clear()


class Stopwatch:
    """A clock on which the measurements take what they are told to, float32 and bfloat16 in
    turns."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.starting = 0.0, True
        self.left = list(seconds)

    def perf_counter(self) -> float:
        if not self.starting:
            self.now += self.left.pop(0)
        self.starting = not self.starting
        return self.now


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([1.0, 0.5] * 6, torch.bfloat16),
        ([1.0, 10.0] * 6, torch.float32),
        ([1.0, 0.9] * 6, torch.float32),  # no units: two times the same speed
        # Something else kept the machine busy for most of the time.
        ([9.0, 9.0] * 4 + [1.0, 9.0, 9.0, 10.0], torch.float32),
        ([9.0, 9.0] * 4 + [1.0, 9.0, 9.0, 0.5], torch.bfloat16),
    ],
)
def test_the_best_of_each_decides_and_bfloat16_has_to_win_clearly(
    monkeypatch, measured_anew, seconds, expected
):
    monkeypatch.setattr(devices, "time", Stopwatch(*seconds))
    assert devices.fastest_dtype("cpu") == expected


def test_a_processor_is_measured_once(monkeypatch, measured_anew):
    first = devices.fastest_dtype("cpu")
    assert first in (torch.float32, torch.bfloat16)
    monkeypatch.setattr(devices, "time", None)
    assert devices.fastest_dtype(torch.device("cpu")) == first


def test_measuring_within_inference_mode(measured_anew):
    with torch.inference_mode():
        assert devices.fastest_dtype("cpu") in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_has_units_or_emulates_them(monkeypatch, native, expected):
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or native,
    )
    assert devices.fastest_dtype("cuda") == expected


def test_what_is_there_already_is_not_moved():
    tensor = torch.arange(3)
    assert devices.moved(tensor, "cpu") is tensor
