"""The printed numbers and the hyper-parameters of the paper, as data.

Everything here is what the paper says, not what this library does: profiles choose smaller sizes,
and `dasrlib.evaluation` measures. `paper_tables.json` has two kinds of numbers: *printed* ones, as
`table2` and `table3` return them, and *measured* ones, as `reference_bicubic` returns them. The
latter are the Bicubic rows, measured again with the authors' degradation code, which does not
reproduce the printed ones.

PSNR is in dB on the Y channel with a border of `scale` pixels shaved. Kernel widths are in HR
pixels, angles in radians, noise levels on the 0..255 scale.
"""

from __future__ import annotations

import json
import math
from importlib import resources
from typing import Any

TABLES: dict[str, Any] = json.loads(
    resources.files("dasrlib").joinpath("paper_tables.json").read_text(encoding="utf-8")
)

SCALES = (2, 3, 4)


def check_scale(scale: int) -> int:
    """The scale, if it is 2, 3 or 4; raises ValueError otherwise."""
    if scale not in SCALES:
        raise ValueError(f"scale must be 2, 3 or 4, got {scale!r}")
    return scale


# Section 3.1, and 4.1 for the ranges: the degradation.
KERNEL_SIZE = 21
SIGMA_RANGE = {2: (0.2, 2.0), 3: (0.2, 3.0), 4: (0.2, 4.0)}  # isotropic width, by scale
LAMBDA_RANGE = (0.2, 4.0)  # anisotropic: standard deviation along each axis

# Section 3.2.1: the encoder and its contrastive loss.
ENCODER_WIDTHS = (64, 64, 128, 128, 256, 256)
ENCODER_STRIDES = (1, 1, 2, 1, 2, 1)
REPRESENTATION = 256
QUEUE_SIZE = 8192
MOMENTUM = 0.999
TEMPERATURE = 0.07

# Section 3.2.2: the degradation-aware network.
GROUPS = 5
BLOCKS = 5  # in each group
FEATURES = 64
REDUCTION = 8
LEAKY_SLOPE = 0.1  # of every LeakyReLU
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K; subtracted before the network, added after
PARAMETERS = 5_800_000  # as printed in Table 3

# Section 4.1: data and training.
TEST_SETS = ("Set5", "Set14", "B100", "Urban100")
BATCH_SIZE = 32
ADAM_BETAS = (0.9, 0.999)

# Sections 4.2 and 4.3: what the figures and tables are drawn over.
UNSEEN_SIGMAS = (4.5, 5.0)  # in the supplement; the training ends at 4.0

# (lambda1, lambda2, theta) of Table 3's nine kernels from left to right. The json file says how
# certain they are.
TABLE3_KERNELS: tuple[tuple[float, float, float], ...] = tuple(
    (lambda1, lambda2, math.radians(degrees))
    for lambda1, lambda2, degrees in TABLES["table3"]["kernels_lambda1_lambda2_thetadeg"]
)
BICUBIC_FINDING: str = TABLES["reference_measurements"]["finding"]


def kernel_widths(scale: int) -> tuple[float, ...]:
    """The four kernel widths of Table 2, HR pixels; 0 is bicubic downsampling alone (§4.2)."""
    return tuple(TABLES["table2"]["kernel_widths"][f"x{check_scale(scale)}"])


def table2(scale: int) -> dict[str, dict[str, dict[float, float]]]:
    """The PRINTED Table 2: `table2(4)["DASR"]["Set14"][3.6] == 27.45` (§4.2, no noise).

    Returns method, then test set, then kernel width σ, to PSNR in dB. The printed Bicubic rows
    cannot be reproduced for σ > 0: see `reference_bicubic`.
    """
    widths = kernel_widths(scale)
    columns = TABLES["table2"]["columns"]
    return {
        method: {
            dataset: dict(zip(widths, psnr, strict=True))
            for dataset, psnr in zip(columns, row["psnr"], strict=True)
        }
        for method, row in TABLES["table2"]["rows"][f"x{scale}"].items()
    }


def table3() -> dict[str, dict[int, tuple[float, ...]]]:
    """The PRINTED Table 3 (Set14, ×4): `table3()["DASR"][10][0] == 26.57` (§4.3).

    Returns method, then noise level, to nine PSNRs in dB in the order of `TABLE3_KERNELS`.
    """
    table = TABLES["table3"]
    return {
        method: dict(zip(table["noise_levels"], map(tuple, row["psnr"]), strict=True))
        for method, row in table["rows"].items()
    }


def reference_bicubic(scale: int) -> dict[str, dict[float, float]]:
    """The MEASURED Bicubic rows: `reference_bicubic(4)["Set14"][3.6] == 23.25` (§4.2).

    Returns test set, then kernel width σ, to PSNR in dB; Urban100 was measured at ×4 only. For
    σ > 0 they are 0.05 to 1.19 dB above the printed ones: see `BICUBIC_FINDING`.
    """
    widths = kernel_widths(scale)
    measured = TABLES["reference_measurements"]["bicubic"][f"x{scale}"]
    return {name: dict(zip(widths, psnr, strict=True)) for name, psnr in measured.items()}
