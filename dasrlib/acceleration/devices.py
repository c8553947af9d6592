"""Which dtype and layout a device computes with, and how tensors get to it without waiting."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

DtypeName = Literal["float32", "bfloat16"]


class Capability(NamedTuple):
    """A row of PROCESSORS: what PyTorch finds of a processor, and what to compute with on it."""

    query: str  # a function of torch.cpu
    name: str
    dtype: torch.dtype


# The first row that a processor has decides; one that has none of them (ARM, Apple silicon, other
# systems: nobody measured there) computes in float32. Measured is the processor time of a training
# step of the laptop profile on one core.
PROCESSORS = (
    # Not measured here. Its units multiply small matrices of bfloat16, where AVX512-BF16's
    # multiply vectors.
    Capability("_is_amx_tile_supported", "AMX", torch.bfloat16),
    # AMD EPYC: bfloat16 0.41 s, float32 0.71 s.
    Capability("_is_avx512_bf16_supported", "AVX512-BF16", torch.bfloat16),
    # Without units bfloat16 is emulated: a 3×3 convolution takes ten times float32's time.
    Capability("_is_avx512_supported", "AVX512 without bfloat16 units", torch.float32),
    Capability("_is_avx2_supported", "AVX2", torch.float32),
)


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on the device; towards a GPU without waiting for the work that it still has."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From ordinary memory the copy would wait; from pinned memory it takes its turn.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def here() -> torch.device:
    """The GPU if this machine has one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fastest_layout(device: torch.device | str) -> torch.memory_format:
    """The layout in which the network computes fastest on this device.

    Channels_last, but for a processor: there the batch folds into the channels (see grouped_conv)
    without a copy in the contiguous layout alone. A training step of the laptop profile on two
    cores, contiguous and channels_last: with AVX2 0.44 and 0.51 s in float32, with AVX512-BF16 0.23
    and 0.32 s in bfloat16.
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
        for row in PROCESSORS:
            # These queries are private to PyTorch: one that a version lacks answers no.
            if getattr(torch.cpu, row.query, bool)():
                return row.dtype, f"the processor has {row.name}"
    return torch.float32, "bfloat16 was not measured on such a device"


def fastest_dtype(device: torch.device | str) -> torch.dtype:
    """float32 or bfloat16, whichever the network trains faster in on this device.

    Read from what the device can do, so that the same machine always computes the same numbers.
    """
    return _fastest(torch.device(device))[0]


def describe_dtype(device: torch.device | str, dtype: torch.dtype | None = None) -> str:
    """The line that tells the user which dtype is computed with, and why.

    Args:
        device: where.
        dtype: the one in use; None for the fastest.
    """
    fastest, reason = _fastest(torch.device(device))
    name = str(fastest).removeprefix("torch.")
    if dtype is None or dtype == fastest:
        return f"computing in {name}: {reason}"
    used = str(dtype).removeprefix("torch.")
    return f"computing in {used}, not in {name}, the choice here ({reason})"


def dtype_named(name: str | None) -> torch.dtype | None:
    """The dtype of a DtypeName; None for None. Raises ValueError for another name."""
    if name is not None and name not in get_args(DtypeName):
        raise ValueError(f"dtype must be one of {get_args(DtypeName)}, got {name!r}")
    return None if name is None else getattr(torch, name)
