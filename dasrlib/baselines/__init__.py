"""§4.2 The systems DASR is compared with, a file each, and one door to them: `build`."""

from __future__ import annotations

from collections.abc import Callable

from dasrlib import errors, profiles
from dasrlib.baselines import dncnn, ikc, predictor, rcan, sftmd, srcnn, srmd
from dasrlib.baselines.baseline import Baseline as Baseline
from dasrlib.baselines.told import Assumed as Assumed
from dasrlib.baselines.told import Denoised as Denoised
from dasrlib.baselines.told import Predicted as Predicted
from dasrlib.degradation import DegradationSpace
from dasrlib.paper import check_scale

# Of a scale, the name of a profile, and the kernels that it is told of. A new system is a row here.
NETWORKS: dict[str, Callable[[int, str, DegradationSpace], Baseline]] = {
    "srcnn": lambda scale, profile, space: srcnn.SRCNN(scale, srcnn.SIZES[profile]),
    "rcan": lambda scale, profile, space: rcan.RCAN(scale, rcan.SIZES[profile]),
    "dncnn": lambda scale, profile, space: dncnn.DnCNN(dncnn.SIZES[profile]),
    "srmd": lambda scale, profile, space: srmd.SRMD(scale, space, srmd.SIZES[profile]),
    "srmdnf": lambda scale, profile, space: srmd.SRMD(scale, space, srmd.SIZES[profile], False),
    "predictor": lambda scale, profile, space: predictor.Predictor(
        scale, space, predictor.SIZES[profile]
    ),
    "sftmd": lambda scale, profile, space: sftmd.SFTMD(scale, space, sftmd.SIZES[profile]),
    "ikc": lambda scale, profile, space: ikc.IKC(scale, space, ikc.SIZES[profile]),
}


def build(
    name: str, scale: int = 4, profile: str = "laptop", space: DegradationSpace | None = None
) -> Baseline:
    """One of the systems DASR is compared with, untrained, in a profile's sizes (§4.2).

    Args:
        name: such as "rcan"; NETWORKS has them all.
        scale: 2, 3 or 4; DnCNN works at the size of LR and is the same for all.
        profile: "smoke", "laptop", "gpu" or "paper"; the last two are full size.
        space: the degradations whose kernels a told network has codes for; by default the
            isotropic ones of the scale.

    Raises:
        ValueError: the name, the scale or the profile is not known.
    """
    if name not in NETWORKS:
        raise ValueError(errors.unknown_name_message("baseline", name, NETWORKS))
    space = space or DegradationSpace.isotropic(check_scale(scale))
    if space.scale != scale:
        raise ValueError(f"the degradations are of scale {space.scale}, the model of {scale}")
    return NETWORKS[name](scale, profiles.get(profile).name, space)
