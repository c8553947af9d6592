"""Which way the grouped convolution goes, and what the compiler makes of its kernels for chips that
are not here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

import dasrlib.grouped_conv as door
from dasrlib.grouped_conv import da_conv2d, grouped_conv2d

pytestmark = [pytest.mark.gpu] if torch.cuda.is_available() else []

# The choice of the backend


def test_auto_is_the_reference_on_the_cpu(monkeypatch):
    monkeypatch.setattr(door, "grouped_conv2d_triton", None)  # calling it would fail
    monkeypatch.setattr(door, "da_conv2d_triton", None)
    x, kernels = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 3, 3)
    assert torch.equal(grouped_conv2d(x, kernels), grouped_conv2d(x, kernels, "reference"))
    weight, bias = torch.randn(2, 2), torch.randn(2)
    by_rule = da_conv2d(x, kernels, weight, bias)
    assert torch.equal(by_rule, da_conv2d(x, kernels, weight, bias, backend="reference"))


def test_triton_is_refused_where_it_cannot_be_had(monkeypatch):
    x, kernels = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 3, 3)
    monkeypatch.setattr(door, "_INTERPRETED", False)
    with pytest.raises(ValueError, match=r'"triton" needs a GPU, and x is on the cpu: use "auto"'):
        grouped_conv2d(x, kernels, "triton")
    monkeypatch.setattr(door, "HAS_TRITON", False)
    with pytest.raises(ValueError, match=r'needs Triton, which is not installed: use "auto"'):
        grouped_conv2d(x, kernels, "triton")
    assert grouped_conv2d(x, kernels).shape == x.shape


def test_a_misspelt_activation_is_refused():
    x, kernels = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 3, 3)
    with pytest.raises(ValueError, match="activation must be one of 'leaky_relu', got 'relu'"):
        da_conv2d(x, kernels, torch.randn(2, 2), torch.randn(2), activation="relu")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("weight", (4, 3), r"weight must be \(4, 4\), got \(4, 3\)"),
        ("bias", (3,), r"bias must be \(4,\), got \(3,\)"),
        ("modulation", (2, 3), r"modulation must be \(2, 4\), got \(2, 3\)"),
        ("x", (4, 6, 6), r"x must be \(B, C, H, W\), got \(4, 6, 6\)"),
    ],
)
def test_da_conv_refuses(name, value, sentence):
    shapes = {"x": (2, 4, 6, 6), "kernels": (2, 4, 3, 3), "weight": (4, 4), "bias": (4,)}
    given = {n: torch.randn(shape) for n, shape in {**shapes, name: value}.items()}
    with pytest.raises(ValueError, match=sentence):
        da_conv2d(**given)
    with pytest.raises(ValueError, match=r"x must be floating point, got torch.int64"):
        da_conv2d(**{n: torch.ones(s, dtype=torch.long) for n, s in shapes.items()})


# What the compiler makes of the kernels for chips that are not here

COMPILE = r'''
import re, subprocess
from pathlib import Path
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

class Chip:
    """A driver that knows which chip to compile for, and has none."""
    def get_current_target(self): return GPUTarget("cuda", CHIP, 32)
    def get_current_device(self): return 0
    def get_current_stream(self, device=0): return 0

launch = JITFunction.run

def compile_only(self, *args, warmup, **options):
    kernel = launch(self, *args, warmup=True, **options)
    ptx = Path(__file__).with_suffix(".ptx")
    ptx.write_text(kernel.asm["ptx"])
    arch = re.search(r"\.target (\w+)", kernel.asm["ptx"])[1]
    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    command = [ptxas, "-v", f"--gpu-name={arch}", "-o", ptx.with_suffix(".cubin"), ptx]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spills = sum(map(int, re.findall(r"(\d+) bytes spill", said)))
    assert "bytes spill" in said, said
    vectors = "v4.b32" in kernel.asm["ptx"]
    mma = "mma" in kernel.asm["ptx"]
    print(self.fn.__name__, kernel.metadata.shared, spills, vectors, mma)
    return kernel

driver.set_active(Chip())
JITFunction.run = compile_only
from dasrlib.grouped_conv import depthwise, fused

x = torch.randn(2, 64, 48, 48).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
kernels, v = torch.randn(2, 64, 3, 3).to(x.dtype), torch.rand(2, 64).to(x.dtype)
weight, bias = torch.randn(64, 64), torch.randn(64)
depthwise.grouped_conv2d_triton(x, kernels)
fused._multiplication = lambda x: (fused.TYPES[x.dtype], "tf32x3")
fused.da_conv2d_triton(x, kernels, weight, bias, v, True)
fused.da_conv2d_backward(x, x, kernels, weight, v, x)
'''


@pytest.mark.skipif(sys.platform != "linux", reason="Triton's compiler runs on Linux")
@pytest.mark.parametrize("chip", [80, 90])
@pytest.mark.slow
def test_kernels_compile_for_a_gpu_without_one(chip, tmp_path):
    script = tmp_path / "compile.py"
    script.write_text(COMPILE.replace("CHIP", str(chip)))
    clean = {n: v for n, v in os.environ.items() if n != "TRITON_INTERPRET"}
    environment = {**clean, "TRITON_CACHE_DIR": str(tmp_path / "cache"), "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    compiled = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert len(compiled) == 5
    for name, (shared, spills, vectors, mma) in compiled.items():
        # What a program may have of an A100's or an H100's shared memory, and half of it.
        assert int(shared) <= 80 * 1024, name
        # The tiles were chosen for the H100: there a thread's part of one fits its registers. On
        # the A100 the backward kernel's does not, which costs time and changes no number.
        assert chip != 90 or spills == "0", name
        assert vectors == "True", name  # 16 bytes in one access
        assert (mma == "True") == (name in ("da_conv_kernel", "da_conv_backward_kernel")), name
