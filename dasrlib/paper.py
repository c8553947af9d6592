"""The printed numbers and the hyper-parameters of the paper, as data.

Everything here is what the paper says, not what this library does: profiles choose smaller sizes,
and `dasrlib.evaluation` measures. Two kinds of numbers stand in `paper_tables.json` and are never
mixed without a mark: *printed* ones (Tables 2 and 3) and *measured* ones (the Bicubic rows, taken
again with the released degradation code, because the printed ones cannot be reproduced with it).
`table2` and `table3` return printed numbers, `reference_bicubic` measured ones, and
`table2_records` both, each with its `source`.

PSNR is in dB on the Y channel with a border of `scale` pixels shaved; kernel widths are in HR
pixels, angles in radians, noise levels on the 0..255 scale.
"""

from __future__ import annotations

import json
import math
from importlib import resources
from typing import Any

TITLE = "Unsupervised Degradation Representation Learning for Blind Super-Resolution"
CITATION = """\
@inproceedings{wang2021unsupervised,
  title     = {Unsupervised Degradation Representation Learning for Blind Super-Resolution},
  author    = {Wang, Longguang and Wang, Yingqian and Dong, Xiaoyu and Xu, Qingyu and
               Yang, Jungang and An, Wei and Guo, Yulan},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2021},
  note      = {arXiv:2104.00416}
}
"""

TABLES: dict[str, Any] = json.loads(
    resources.files("dasrlib").joinpath("paper_tables.json").read_text(encoding="utf-8")
)

SCALES = (2, 3, 4)

# Section 3.1, and 4.1 for the ranges: the degradation.
KERNEL_SIZE = 21
SIGMA_RANGE = {2: (0.2, 2.0), 3: (0.2, 3.0), 4: (0.2, 4.0)}  # isotropic width, by scale
LAMBDA_RANGE = (0.2, 4.0)  # anisotropic: standard deviation along each axis
THETA_RANGE = (0.0, math.pi)
NOISE_RANGE = (0.0, 25.0)

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
DA_KERNEL_SIZE = 3
REDUCTION = 8
LEAKY_SLOPE = 0.1
COMPRESSED_REPRESENTATION = 64  # the vector R that every DA convolution reads
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K; subtracted before the network, added after
PARAMETERS = 5_800_000  # as printed in Table 3

# Section 4.1: data and training.
TRAINING_SETS = {"DIV2K": 800, "Flickr2K": 2650}  # pictures of each
TEST_SETS = ("Set5", "Set14", "B100", "Urban100")
BATCH_SIZE = 32
PATCH_SIZE = 48  # LR pixels
PATCHES_PER_IMAGE = 2
ADAM_BETAS = (0.9, 0.999)
ITERATIONS_PER_EPOCH = 1000
STAGE1 = {"epochs": 100, "lr": 1e-3, "lr_drop_epoch": 60, "lr_after_drop": 1e-4}  # encoder alone
STAGE2 = {"epochs": 500, "lr": 1e-4, "halve_every": 125}  # everything

# Sections 4.2 and 4.3: what the figures and tables are drawn over.
TSNE_NOISE_LEVELS = (0, 5, 10, 15)
CONTENT_STUDY_IMAGES = 10  # of Set14
UNSEEN_SIGMAS = (4.5, 5.0)  # supplement: trained up to 4.0

TABLE3_NOISE_LEVELS: tuple[int, ...] = tuple(TABLES["table3"]["noise_levels"])
# (lambda1, lambda2, theta) of the nine kernels from left to right; the json says how sure they are.
TABLE3_KERNELS: tuple[tuple[float, float, float], ...] = tuple(
    (lambda1, lambda2, math.radians(degrees))
    for lambda1, lambda2, degrees in TABLES["table3"]["kernels_lambda1_lambda2_thetadeg"]
)


def kernel_widths(scale: int) -> tuple[float, ...]:
    """The isotropic kernel widths sigma of Table 2 for one scale, in HR pixels.

    Four numbers; 0 means bicubic downsampling alone. Raises ValueError for a scale the paper does
    not have. Section 4.2.
    """
    return tuple(TABLES["table2"]["kernel_widths"][_key(scale)])


def table2(scale: int) -> dict[str, dict[str, dict[float, float]]]:
    """The PRINTED Table 2 for one scale: `table2(4)["DASR"]["Set14"][3.6] == 27.45`.

    Method, then test set, then kernel width sigma, to PSNR in dB. The printed Bicubic rows cannot
    be reproduced for sigma > 0: see `reference_bicubic`. Raises ValueError for a scale the paper
    does not have. Section 4.2, noise-free isotropic kernels.
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
    """The PRINTED Table 3 (Set14, x4): `table3()["DASR"][10][0] == 26.57`.

    Method, then noise level (0..255 scale), to nine PSNRs in dB in the order of `TABLE3_KERNELS`.
    Section 4.3, anisotropic kernels and noise.
    """
    return {
        method: {
            level: tuple(psnr) for level, psnr in zip(TABLE3_NOISE_LEVELS, row["psnr"], strict=True)
        }
        for method, row in TABLES["table3"]["rows"].items()
    }


def reference_bicubic(scale: int) -> dict[str, dict[float, float]]:
    """The MEASURED Bicubic rows for one scale: `reference_bicubic(4)["Set14"][3.6] == 23.25`.

    Test set, then kernel width sigma, to PSNR in dB, measured with the released degradation code.
    These are the numbers to meet: for sigma > 0 they are 0.05 to 1.19 dB above the printed ones.
    `BICUBIC_FINDING` says so in words to set beside a table. Urban100 was measured at x4 only.
    Raises ValueError for a scale the paper does not have. Section 4.2.
    """
    widths = kernel_widths(scale)
    measured = TABLES["reference_measurements"]["bicubic"][_key(scale)]
    return {name: dict(zip(widths, psnr, strict=True)) for name, psnr in measured.items()}


BICUBIC_FINDING: str = TABLES["reference_measurements"]["finding"]


def table2_records(scale: int) -> list[dict[str, Any]]:
    """Table 2 for one scale as a tidy table, printed and measured numbers in one list.

    Each record has `method`, `dataset`, `scale`, `sigma` (HR pixels), `psnr` (dB) and `source`,
    which is "printed" or "measured". Raises ValueError for a scale the paper does not have.
    Section 4.2.
    """
    tables = [("printed", table2(scale)), ("measured", {"Bicubic": reference_bicubic(scale)})]
    return [
        {
            "method": method,
            "dataset": dataset,
            "scale": scale,
            "sigma": sigma,
            "psnr": psnr,
            "source": source,
        }
        for source, table in tables
        for method, datasets in table.items()
        for dataset, row in datasets.items()
        for sigma, psnr in row.items()
    ]


def _key(scale: int) -> str:
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, as in the paper's tables, got {scale!r}")
    return f"x{int(scale)}"
