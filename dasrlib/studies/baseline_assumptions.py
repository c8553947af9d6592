"""§4.2 Where the assumption of each system breaks: wrong kernels, a wrong start, a crop by all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from dasrlib import compositions, data, evaluation
from dasrlib.baselines.ikc import IKC
from dasrlib.baselines.mzsr import MZSR
from dasrlib.baselines.zssr import ZSSR
from dasrlib.data import Pictures, crop_to_multiple
from dasrlib.degradation import Degradations, degrade, quantise
from dasrlib.network import BlindSR
from dasrlib.plots.packed_images import packed
from dasrlib.studies.real_pictures import busiest
from dasrlib.studies.representation_swaps import wrong_representations
from dasrlib.systems import SYSTEMS

TEST_SET = "Set5"
WIDTHS = (0.2, 0.8, 1.4, 2.0, 2.6, 3.2, 3.8)  # σ of the ridge, HR pixels
TOLD_WRONG = ("srmdnf", "model5", "model4")
PUSHES = {1.2: 2.4, 2.4: 3.6, 3.6: 2.4}  # true σ and the σ whose code IKC is pushed off to
PICTURES = 10  # of IKC's, three more than its answer needs
CROPPED, SIGMA, SIDE = "img_003", 2.4, 24  # the butterfly; SIDE in LR pixels
ADAPTING = ("zssr", "mzsr")  # ×2
ADAPTED_TO = (0.6, 1.2)  # σ
STEPS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 350, 500)  # after which PSNR is noted
SHOWN = (
    "bicubic", "srcnn", "rcan", "srmdnf-assumed", "srmdnf-predicted", "srmdnf", "ikc", "zssr",
    "model4",
)  # fmt: skip


@torch.inference_mode()
def told_wrong(
    system: evaluation.System,
    pictures: Pictures,
    true: Sequence[float],
    told: Sequence[float],
) -> Tensor:
    """PSNR-Y where a system is told another kernel width than the true one (§4.2).

    A blind network of DASR's is given the representation of the same picture, degraded with the
    width that is told. true, told: isotropic widths in HR pixels.

    Returns (true, told) in dB, means over the pictures.
    """
    if isinstance(system, BlindSR):
        return wrong_representations(system, pictures, true, told)
    psnr = torch.zeros(len(true), len(told))
    for _, picture in pictures:
        hr = crop_to_multiple(picture, system.scale)
        for row, width in enumerate(true):
            lr = degrade(hr[None], Degradations.isotropic(width, system.scale))
            for column, other in enumerate(told):
                sr = quantise(system.restore(lr, Degradations.isotropic(other, system.scale)))
                psnr[row, column] += evaluation.psnr_y(sr[0], hr, system.scale)
    return psnr / len(pictures)


@torch.inference_mode()
def corrections(
    ikc: IKC, pictures: Pictures, width: float, start: float | None = None, count: int = PICTURES
) -> dict[str, list[float]]:
    """IKC's SR pictures one after the other: their PSNR-Y, and the error of their codes (§4.2).

    Args:
        ikc: the system.
        pictures: HR.
        width: σ of the true kernel, HR pixels.
        start: σ of the kernel whose code is the first one; None: the predicted code.
        count: SR pictures.

    Returns:
        "psnr" in dB; "width", the nearest σ of c_t; and "error", the length of c_t − c over that of
        c. Means over the pictures, one number for each SR picture.
    """
    true = Degradations.isotropic(width, ikc.scale)
    code = ikc.predictor.codes(true.kernels)
    first = None
    if start is not None:
        first = ikc.predictor.codes(Degradations.isotropic(start, ikc.scale).kernels)
    psnr, error, found_width = torch.zeros(3, count)
    for _, picture in pictures:
        hr = crop_to_multiple(picture, ikc.scale)
        steps = islice(ikc.iterate(degrade(hr[None], true), first), count)
        for t, (found, sr) in enumerate(steps):
            psnr[t] += evaluation.psnr_y(quantise(sr)[0], hr, ikc.scale)
            error[t] += float((found - code).norm() / code.norm())
            found_width[t] += float(ikc.predictor.codes.nearest_width(found))
    sums = {"psnr": psnr, "width": found_width, "error": error}
    return {name: (total / len(pictures)).tolist() for name, total in sums.items()}


def adaptation(
    system: ZSSR | MZSR, pictures: Pictures, degradation: Degradations
) -> dict[str, Sequence[float]]:
    """PSNR-Y after steps of a training on the test picture itself (§4.2).

    Args:
        system: told the degradation.
        pictures: HR.
        degradation: of the LR pictures.

    Returns:
        "steps", those of STEPS that every picture had, and "psnr" in dB, means over the pictures.
    """
    found: list[dict[int, float]] = []
    for _, picture in pictures:
        hr = crop_to_multiple(picture, system.scale)
        moments = system.adapt(degrade(hr[None], degradation), degradation)
        found.append({
            moment.step: evaluation.psnr_y(moment.picture()[0], hr, system.scale)
            for moment in moments
            if moment.step in STEPS
        })  # fmt: skip
    steps = [step for step in STEPS if all(step in one for one in found)]
    return {"steps": steps, "psnr": [fmean(one[step] for one in found) for step in steps]}


def reproduce_adaptation() -> dict[str, Any]:
    """ZSSR and MZSR at ×2, told the true kernel, and bicubic upsampling (§4.2)."""
    pictures, widths = data.images(TEST_SET), {}
    for width in ADAPTED_TO:
        degradation = Degradations.isotropic(width, 2)
        rows = evaluation.benchmark(evaluation.Bicubic(2), pictures, {width: degradation})
        systems = {}
        for name in ADAPTING:
            system = compositions.load(name, 2)
            assert isinstance(system, ZSSR | MZSR)
            systems[name] = adaptation(system, pictures, degradation)
        bicubic = fmean(row.psnr for row in rows)
        widths[f"{width:g}"] = {"bicubic": bicubic, "systems": systems}
    return {"dataset": TEST_SET, "scale": 2, "widths": widths}


def reproduce_ridge() -> dict[str, Any]:
    """What SRMDNF, Model 5 and DASR lose where they take a wrong kernel for the true one (§4.2)."""
    pictures = data.images(TEST_SET)
    psnr = {
        SYSTEMS[name].short: told_wrong(compositions.load(name), pictures, WIDTHS, WIDTHS).tolist()
        for name in TOLD_WRONG
    }
    return {"dataset": TEST_SET, "true": [*WIDTHS], "assumed": [*WIDTHS], "psnr": psnr}


def reproduce_corrections() -> dict[str, Any]:
    """IKC from its Predictor's code, and from a code that was pushed off on purpose (§4.2)."""
    pictures, ikc = data.images(TEST_SET), compositions.load("ikc")
    assert isinstance(ikc, IKC)
    return {
        "dataset": TEST_SET,
        "answer": ikc.sizes.pictures - 1,
        "widths": {
            f"{width:g}": {
                "pushed_to": other,
                "predicted": corrections(ikc, pictures, width),
                "pushed": corrections(ikc, pictures, width, other),
            }
            for width, other in PUSHES.items()
        },
    }


@torch.inference_mode()
def crop_by_all(
    picture: Tensor, systems: Mapping[str, evaluation.System], degradation: Degradations, side: int
) -> dict[str, Any]:
    """The busiest square of a picture (3, H, W), restored by each system from the whole (§4.2).

    Returns packed pictures: "hr", "lr" and "sr" by system; and "psnr" of the whole, by system.
    """
    hr = crop_to_multiple(picture, degradation.scale)
    lr = degrade(hr[None], degradation)[0]
    top, left = busiest(lr, side)
    s = degradation.scale
    inner = (..., slice(s * top, s * (top + side)), slice(s * left, s * (left + side)))
    sr, psnr = {}, {}
    for name, system in systems.items():
        _, restored = evaluation.degrade_and_restore(system, picture, degradation)
        sr[name] = packed(restored[inner])
        psnr[name] = round(evaluation.psnr_y(restored, hr, s), 3)
    part = lr[:, top : top + side, left : left + side]
    return {"hr": packed(hr[inner]), "lr": packed(part), "sr": sr, "psnr": psnr}


def reproduce_crop() -> dict[str, Any]:
    """A detail of one blurred picture, restored by every system that is here (§4.2)."""
    picture = dict(data.images(TEST_SET))[CROPPED]
    systems = {name: compositions.load(name) for name in SHOWN if compositions.is_here(name)}
    found = crop_by_all(picture, systems, Degradations.isotropic(SIGMA, 4), SIDE)
    return {"dataset": TEST_SET, "picture": CROPPED, "sigma": SIGMA} | found
