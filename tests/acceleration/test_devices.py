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


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"_is_amx_tile_supported", "_is_avx512_bf16_supported"}, torch.bfloat16),
        ({"_is_avx512_bf16_supported"}, torch.bfloat16),
        (set(), torch.float32),
    ],
)
def test_a_processor_is_known_by_what_it_can_do(monkeypatch, able, expected):
    for query in devices.BFLOAT16_UNITS:
        monkeypatch.setattr(torch.cpu, query, lambda yes=query in able: yes)
    assert devices.fastest_dtype("cpu") == expected


def test_the_queries_are_pytorchs_and_one_that_is_missing_answers_no(monkeypatch):
    for query in devices.BFLOAT16_UNITS:
        assert callable(getattr(torch.cpu, query)), query
        monkeypatch.delattr(torch.cpu, query)
    assert devices.fastest_dtype("cpu") == torch.float32


def test_choosing_leaves_the_random_state_as_it_was():
    before = torch.get_rng_state()
    devices.fastest_dtype("cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_user_reads_which_and_why(monkeypatch):
    for query, units in devices.BFLOAT16_UNITS.items():
        monkeypatch.setattr(torch.cpu, query, lambda yes=units == "AMX": yes)
    assert devices.describe_dtype("cpu") == "computing in bfloat16: the processor has AMX"
    assert devices.describe_dtype("cpu", torch.float32) == (
        "computing in float32, not in bfloat16, the choice here (the processor has AMX)"
    )


def test_a_dtype_is_named_or_refused():
    assert devices.dtype_named("bfloat16") == torch.bfloat16
    assert devices.dtype_named(None) is None
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'bfloat16', got 'bf16'"):
        devices.dtype_named("bf16")


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_has_units_or_emulates_them(monkeypatch, native, expected):
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or native,
    )
    assert devices.fastest_dtype("cuda") == expected


def test_what_is_there_already_is_not_copied():
    tensor = torch.arange(3)
    assert devices.to_device(tensor, "cpu") is tensor


def test_a_device_by_its_name(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices.torch.backends.mps, "is_available", lambda: False)
    assert devices.device_named(None) == devices.here()
    for name in ("cpu", "cuda", "cuda:1"):
        assert devices.device_named(name) == torch.device(name)
    for name in ("cuda:2", "mps"):
        with pytest.raises(ValueError, match=f"there is no device {name} on this machine: compute"):
            devices.device_named(name)
    for name in ("gpu", "cuda:x", "cuda:-1", ""):
        with pytest.raises(ValueError, match=f"no device is named '{name}'"):
            devices.device_named(name)
