"""§4.2 The systems DASR is compared with, a file each, and one door to them: `build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dasrlib import errors, profiles
from dasrlib.baselines import dncnn, ikc, mzsr, predictor, rcan, sftmd, srcnn, srmd, zssr
from dasrlib.baselines.baseline import Baseline as Baseline
from dasrlib.baselines.predictor import Predictor
from dasrlib.baselines.told import Assumed as Assumed
from dasrlib.baselines.told import Denoised as Denoised
from dasrlib.baselines.told import Predicted as Predicted
from dasrlib.degradation import DegradationSpace
from dasrlib.paper import check_scale

# The sizes in each profile, and the network of a scale, of sizes and of the kernels that it is told
# of. A new system is a row here.
NETWORKS: dict[str, tuple[dict[str, Any], Callable[[int, Any, DegradationSpace], Baseline]]] = {
    "srcnn": (srcnn.SIZES, lambda scale, sizes, space: srcnn.SRCNN(scale, sizes)),
    "rcan": (rcan.SIZES, lambda scale, sizes, space: rcan.RCAN(scale, sizes)),
    "dncnn": (dncnn.SIZES, lambda scale, sizes, space: dncnn.DnCNN(sizes)),
    "srmd": (srmd.SIZES, lambda scale, sizes, space: srmd.SRMD(scale, space, sizes)),
    "srmdnf": (srmd.SIZES, lambda scale, sizes, space: srmd.SRMD(scale, space, sizes, False)),
    "predictor": (predictor.SIZES, lambda scale, sizes, space: Predictor(scale, space, sizes)),
    "sftmd": (sftmd.SIZES, lambda scale, sizes, space: sftmd.SFTMD(scale, space, sizes)),
    "ikc": (ikc.SIZES, lambda scale, sizes, space: ikc.IKC(scale, space, sizes)),
    "zssr": (zssr.SIZES, lambda scale, sizes, space: zssr.ZSSR(scale, sizes)),
    "mzsr": (mzsr.SIZES, lambda scale, sizes, space: mzsr.MZSR(scale, sizes)),
}
WITHOUT_WEIGHTS = ("zssr",)  # trained on the test picture alone
TRAINED = tuple(name for name in NETWORKS if name not in WITHOUT_WEIGHTS)


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
    sizes, _ = _network(name)
    return build_in_sizes(name, scale, sizes[profiles.get(profile).name], space)


def build_in_sizes(
    name: str, scale: int, sizes: object, space: DegradationSpace | None = None
) -> Baseline:
    """`build` with sizes of its own, such as those in the header of a file of weights.

    sizes: of the class that the system has, or what dataclasses.asdict made of them.
    """
    table, make = _network(name)
    if isinstance(sizes, Mapping):
        sizes = _filled(table["paper"], sizes)
    space = space or DegradationSpace.isotropic(check_scale(scale))
    if space.scale != scale:
        raise ValueError(f"the degradations are of scale {space.scale}, the model of {scale}")
    built = make(scale, sizes, space)
    built.space = space
    return built


def _network(
    name: str,
) -> tuple[dict[str, Any], Callable[[int, Any, DegradationSpace], Baseline]]:
    """The row of NETWORKS; raises ValueError with the nearest name for an unknown one."""
    if name not in NETWORKS:
        raise ValueError(errors.unknown_name_message("baseline", name, NETWORKS))
    return NETWORKS[name]


def _filled(sizes: Any, values: Mapping[str, Any]) -> Any:
    """Sizes with other values; those of a network inside are a mapping again."""
    inner = {k: _filled(getattr(sizes, k), v) for k, v in values.items() if isinstance(v, Mapping)}
    return replace(sizes, **{**values, **inner})
