"""Which dtype and layout a device computes with, and how tensors get to it without waiting."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dasrlib.errors import check_choice, unknown_name_message

DtypeName = Literal["float32", "bfloat16"]

# The functions of torch.cpu that find a processor's units for bfloat16, and the units' names.
# Without such units bfloat16 is emulated: a 3×3 convolution takes ten times float32's time.
# A training step of the laptop profile on an AMD EPYC with AVX512-BF16, one thread of a busy
# machine, the shortest of several: float32 0.69 s, bfloat16 0.39 s. AMX was not measured; it
# multiplies matrices of bfloat16 where AVX512-BF16 multiplies vectors.
BFLOAT16_UNITS = {"_is_amx_tile_supported": "AMX", "_is_avx512_bf16_supported": "AVX512-BF16"}


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on the device. A copy to a GPU does not wait for the work that it still has."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        # Only from pinned memory can PyTorch queue the copy behind that work.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def here() -> torch.device:
    """The GPU if this machine has one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_named(name: str | None) -> torch.device:
    """The device that a user names, as cpu, cuda, cuda:1 or mps; `here` for None.

    Raises ValueError for another name, and for a device that this machine does not have.
    """
    if name is None:
        return here()
    kind, _, index = name.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": torch.backends.mps.is_available()}
    if kind not in count or (index and not index.isdecimal()):
        raise ValueError(unknown_name_message("device", name, ("cpu", "cuda", "cuda:1", "mps")))
    if int(index or 0) >= count[kind]:
        raise ValueError(f"there is no device {name} on this machine: compute with --device cpu")
    return torch.device(name)


def fastest_layout(device: torch.device | str) -> torch.memory_format:
    """The layout in which the network computes fastest on this device.

    On a processor contiguous, everywhere else channels_last. The batch is folded into the channels
    (see grouped_conv), and that takes a copy unless the layout is contiguous: on processors a
    training step in channels_last took 1.2 to 1.4 times as long.
    """
    on_processor = torch.device(device).type == "cpu"
    return torch.contiguous_format if on_processor else torch.channels_last


def _fastest(device: torch.device) -> tuple[torch.dtype, str]:
    """The dtype to compute with, and why."""
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "the GPU has units for it"
        return torch.float32, "the GPU has no bfloat16 units"
    if device.type == "cpu":
        for query, units in BFLOAT16_UNITS.items():
            # PyTorch may rename its private functions: a missing one counts as "no".
            if getattr(torch.cpu, query, bool)():
                return torch.bfloat16, f"the processor has {units}"
    return torch.float32, "no units for bfloat16 were found"


def fastest_dtype(device: torch.device | str) -> torch.dtype:
    """float32 or bfloat16: the one in which the network trains faster on this device.

    It depends on the device's abilities alone, so one machine always computes the same numbers.
    """
    return _fastest(torch.device(device))[0]


def describe_dtype(device: torch.device | str, dtype: torch.dtype | None = None) -> str:
    """A line for the user: the dtype in use (None: the fastest), and why."""
    fastest, reason = _fastest(torch.device(device))
    names = [str(d).removeprefix("torch.") for d in (dtype or fastest, fastest)]
    if names[0] == names[1]:
        return f"computing in {names[0]}: {reason}"
    return f"computing in {names[0]}, not in {names[1]}, the choice here ({reason})"


def dtype_named(name: str | None) -> torch.dtype | None:
    """The dtype of a DtypeName; None for None. Raises ValueError for another name."""
    if name is None:
        return None
    check_choice("dtype", name, DtypeName)
    return getattr(torch, name)
