"""What every system with weights answers here, and what its training asks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor, nn

from dasrlib import paper
from dasrlib.acceleration.devices import to_device
from dasrlib.baselines.kernel_codes import KernelCodes
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.errors import check_pictures
from dasrlib.paper import check_scale
from dasrlib.systems import SYSTEMS, Needs

Sizes = TypeVar("Sizes")


class Baseline(nn.Module):
    """A system with weights. This one is blind: it is given the LR picture alone (§4.2).

    A training asks four things. `losses`: what to minimise. `parameter_groups` and `betas`: how
    Adam goes about it. `training_space`: which degradations the system assumes.

    Args:
        name: its row in systems.SYSTEMS.
        scale: s, 2, 3 or 4; 1 for a denoiser.
    """

    betas: tuple[float, float] = paper.ADAM_BETAS
    sizes: Any  # a dataclass of the network's own
    space: DegradationSpace | None = None  # which `build` made it for
    has_two_stages = False  # whether its training begins with another loss

    def __init__(self, name: str, scale: int) -> None:
        super().__init__()
        self.name, self.scale = name, scale if scale == 1 else check_scale(scale)
        self.needs: Needs = SYSTEMS[name].needs

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """LR pictures (B, 3, H, W) in [0, 1] -> (B, 3, sH, sW); the degradation is not read."""
        check_pictures(lr)
        return self(lr)

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """The losses of a batch, one after the other: the weights are updated after each.

        Args:
            hr: (B, 3, sH, sW) in [0, 1].
            lr: (B, 3, H, W), what `degrade` made of it.
            degradations: B of them.
        """
        raise NotImplementedError

    def in_stage(self, number: int) -> Baseline:
        """Itself, ready to be trained in stage 1 or 2; most systems have the second alone."""
        return self

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """What Adam is given: the weights that are trained, with their learning rates."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": rate}]

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """The degradations of its training, where the others are trained on `space`."""
        return space

    def init_as_nearest_neighbour(self) -> None:
        """For a short schedule, as of DASR: the untrained network repeats every LR pixel.

        One whose input has the size of its output gives it back. Nothing, where a network makes no
        picture.
        """


class ToldBaseline(Baseline):
    """A network that is told the blur kernel, as its code (§4.2).

    Args:
        name, scale: as of a Baseline.
        codes: makes a code of a kernel; stored with the weights.
    """

    def __init__(self, name: str, scale: int, codes: KernelCodes) -> None:
        super().__init__(name, scale)
        self.codes = codes

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """LR pictures (B, 3, H, W) in [0, 1] and what degraded them -> (B, 3, sH, sW).

        degradation: one for each picture, or one for all.

        Raises:
            ValueError: there is no degradation, or it does not fit.
        """
        check_pictures(lr)
        told = check_told(self, lr, degradation)
        return self.restore_with_code(lr, self.codes(self.kernels(lr, told)), told)

    def restore_with_code(self, lr: Tensor, code: Tensor, told: Degradations) -> Tensor:
        """`restore` with a code (B, n) instead of the kernel; told: the rest, such as the noise."""
        return self(lr, code)

    def kernels(self, lr: Tensor, degradations: Degradations) -> Tensor:
        """The kernels (B, k, k), one for each LR picture, where the pictures are."""
        return to_device(degradations.kernels, lr.device).expand(len(lr), -1, -1)

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """The same kernels; without noise and JPEG, of which the network knows nothing."""
        return without_noise(space)


def check_told(system: Baseline, lr: Tensor, degradation: Degradations | None) -> Degradations:
    """The degradation; raises ValueError where it is missing or does not fit the pictures."""
    if degradation is None:
        raise ValueError(
            f"{system.name} is not blind: give it the degradation, of which it reads the "
            f"{system.needs}, or put it into baselines.Predicted or baselines.Assumed"
        )
    if degradation.scale != system.scale:
        raise ValueError(
            f"the degradation is of scale {degradation.scale}, {system.name} of {system.scale}"
        )
    if len(degradation) not in (1, len(lr)):
        raise ValueError(
            f"expected 1 degradation or {len(lr)}, one per picture, got {len(degradation)}"
        )
    return degradation


def by_profile(full: Sizes, laptop: Sizes, smoke: Sizes) -> dict[str, Sizes]:
    """Which sizes a network has in which profile."""
    return {"smoke": smoke, "laptop": laptop, "gpu": full, "paper": full}


def without_noise(space: DegradationSpace) -> DegradationSpace:
    """The same kernels, and neither noise nor JPEG."""
    return replace(space, noise=0.0, quality=None, without=0.0)


def bicubic_alone(scale: int, noise: float = 0.0) -> DegradationSpace:
    """No blur at all: bicubic reduction, and noise of a level uniform in [0, noise]."""
    return DegradationSpace(scale, (0.0, 0.0), is_isotropic=True, noise=noise)
