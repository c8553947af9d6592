"""Where a told system's kernel comes from, and a denoiser in front: systems made of systems.

Every system that is not blind can be asked in three ways. Told the truth, as evaluation.benchmark
does: what it could do at best. `Predicted`: what the paper's rows measure. `Assumed`: what happens
to those who guess. Table 3's rows are `Denoised` systems (§4.3).
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from dasrlib.baselines.baseline import ToldBaseline
from dasrlib.baselines.dncnn import DnCNN
from dasrlib.baselines.kernel_codes import degradations_with
from dasrlib.baselines.predictor import Predictor
from dasrlib.degradation import Degradations
from dasrlib.errors import check_pictures
from dasrlib.network import System
from dasrlib.systems import Needs


def _not_blind(system: System) -> System:
    """The system; raises ValueError where it is blind, as it would not read what it is told."""
    if system.needs == "nothing":
        raise ValueError(f"{system.name} is blind: it would not read a kernel that it is told")
    return system


class Wrapper(nn.Module):
    """A system around another one. A network inside counts as a part, with its weights."""

    needs: Needs = "nothing"

    def __init__(self, name: str, system: System) -> None:
        super().__init__()
        self.name, self.scale = name, system.scale
        # Also where it is no module, as bicubic is none.
        self.system = system


class Predicted(Wrapper):
    """A system that is told the kernel which a predictor reads off the picture: blind (§4.2).

    Where both share one basis, the predicted code itself is told; else its kernel.

    Args:
        predictor: of the same scale.
        system: one that is not blind.
        noise: the level that is told beside the kernel, 0..255 scale; the Predictor reads none.

    Raises:
        ValueError: the system is blind, or of another scale.
    """

    def __init__(self, predictor: Predictor, system: System, noise: float = 0.0) -> None:
        super().__init__(f"{system.name}-predicted", _not_blind(system))
        if predictor.scale != system.scale:
            raise ValueError(
                f"the predictor is of scale {predictor.scale}, {system.name} of {system.scale}"
            )
        self.predictor, self.noise = predictor, noise

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """LR pictures (B, 3, H, W) -> (B, 3, sH, sW); the degradation is not read."""
        check_pictures(lr)
        codes, code = self.predictor.codes, self.predictor(lr)
        told = degradations_with(codes.kernels(code), self.scale, self.noise)
        if isinstance(self.system, ToldBaseline) and self.system.codes.same_as(codes):
            return self.system.restore_with_code(lr, code, told)
        return self.system.restore(lr, told)


class Assumed(Wrapper):
    """A system that is told one fixed degradation, whatever the picture is (§4.2).

    Args:
        system: one that is not blind.
        degradation: a single one.

    Raises:
        ValueError: the system is blind, there are several degradations, or of another scale.
    """

    def __init__(self, system: System, degradation: Degradations) -> None:
        super().__init__(f"{system.name}-assumed", _not_blind(system))
        if len(degradation) != 1:
            raise ValueError(f"expected one degradation to assume, got {len(degradation)}")
        if degradation.scale != system.scale:
            raise ValueError(
                f"the degradation is of scale {degradation.scale}, {system.name} of {system.scale}"
            )
        self.degradation = degradation

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """LR pictures (B, 3, H, W) -> (B, 3, sH, sW); the degradation is not read."""
        return self.system.restore(lr, self.degradation)


class Denoised(Wrapper):
    """A system that is given the denoised LR picture (§4.3).

    A predictor inside the system reads the denoised picture too. The denoiser smooths, and the
    predictor takes that for blur: this is what Table 3 shows. A system that is told the noise level
    is told 0, since the noise is gone.

    Args:
        denoiser: at LR size.
        system: any.

    Raises:
        ValueError: the denoiser changes the size, so it is none.
    """

    def __init__(self, denoiser: DnCNN, system: System) -> None:
        super().__init__(f"{denoiser.name}-{system.name}", system)
        if denoiser.scale != 1:
            raise ValueError(
                f"{denoiser.name} is no denoiser: it enlarges by {denoiser.scale}; "
                "expected one that keeps the size, such as dncnn"
            )
        self.denoiser, self.needs = denoiser, system.needs

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """LR pictures (B, 3, H, W) -> (B, 3, sH, sW)."""
        check_pictures(lr)
        if degradation is not None:
            degradation = replace(degradation, noise=0 * degradation.noise)
        clean = self.denoiser.restore(lr).clamp(0, 1)
        return self.system.restore(clean, degradation)
