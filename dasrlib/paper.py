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
TRAINING_SETS = {"DIV2K": 800, "Flickr2K": 2650}  # pictures of each
TEST_SETS = ("Set5", "Set14", "B100", "Urban100")
BATCH_SIZE = 32
PATCH_SIZE = 48  # LR pixels
ADAM_BETAS = (0.9, 0.999)
ITERATIONS_PER_EPOCH = 1000
STAGE1 = {"epochs": 100, "lr": 1e-3, "lr_drop_epoch": 60, "lr_after_drop": 1e-4}  # encoder alone
STAGE2 = {"epochs": 500, "lr": 1e-4, "halve_every": 125}  # everything

# Sections 4.2 and 4.3: what the figures and tables are drawn over.
UNSEEN_SIGMAS = (4.5, 5.0)  # in the supplement; the training ends at 4.0

TABLE3_NOISE_LEVELS: tuple[int, ...] = tuple(TABLES["table3"]["noise_levels"])
# (lambda1, lambda2, theta) of the nine kernels from left to right; the json says how sure they are.
TABLE3_KERNELS: tuple[tuple[float, float, float], ...] = tuple(
    (lambda1, lambda2, math.radians(degrees))
    for lambda1, lambda2, degrees in TABLES["table3"]["kernels_lambda1_lambda2_thetadeg"]
)


def kernel_widths(scale: int) -> tuple[float, ...]:
    """The isotropic kernel widths of Table 2 in HR pixels; 0 is bicubic downsampling alone (§4.2).

    Args:
        scale: 2, 3 or 4.

    Returns:
        Four numbers.

    Raises:
        ValueError: the paper does not have this scale.
    """
    return tuple(TABLES["table2"]["kernel_widths"][_key(scale)])


def table2(scale: int) -> dict[str, dict[str, dict[float, float]]]:
    """The PRINTED Table 2: `table2(4)["DASR"]["Set14"][3.6] == 27.45` (§4.2, no noise).

    The printed Bicubic rows cannot be reproduced for σ > 0: see `reference_bicubic`.

    Args:
        scale: 2, 3 or 4.

    Returns:
        Method, then test set, then kernel width σ, to PSNR in dB.

    Raises:
        ValueError: the paper does not have this scale.
    """
    widths = kernel_widths(scale)
    columns = TABLES["table2"]["columns"]
    return {
        method: {
            dataset: dict(zip(widths, psnr, strict=True))
            for dataset, psnr in zip(columns, row["psnr"], strict=True)
        }
        for method, row in TABLES["table2"]["rows"][_key(scale)].items()
    }


def table3() -> dict[str, dict[int, tuple[float, ...]]]:
    """The PRINTED Table 3 (Set14, ×4): `table3()["DASR"][10][0] == 26.57` (§4.3).

    Returns:
        Method, then noise level, to nine PSNRs in dB in the order of `TABLE3_KERNELS`.
    """
    return {
        method: {
            level: tuple(psnr) for level, psnr in zip(TABLE3_NOISE_LEVELS, row["psnr"], strict=True)
        }
        for method, row in TABLES["table3"]["rows"].items()
    }


def reference_bicubic(scale: int) -> dict[str, dict[float, float]]:
    """The MEASURED Bicubic rows: `reference_bicubic(4)["Set14"][3.6] == 23.25` (§4.2).

    For σ > 0 they are 0.05 to 1.19 dB above the printed ones; `BICUBIC_FINDING` says so in words.

    Args:
        scale: 2, 3 or 4. Urban100 was measured at 4 only.

    Returns:
        Test set, then kernel width σ, to PSNR in dB.

    Raises:
        ValueError: the paper does not have this scale.
    """
    widths = kernel_widths(scale)
    measured = TABLES["reference_measurements"]["bicubic"][_key(scale)]
    return {name: dict(zip(widths, psnr, strict=True)) for name, psnr in measured.items()}


BICUBIC_FINDING: str = TABLES["reference_measurements"]["finding"]


def _key(scale: int) -> str:
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, as in the paper's tables, got {scale!r}")
    return f"x{int(scale)}"
