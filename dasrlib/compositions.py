"""§4.2, §4.3 Every system of the tables, with its weights: `load("dncnn-srmdnf-predicted")`.

A name is read from its ends. "dncnn-" puts the denoiser in front. "-predicted" and "-assumed" tell
a system that is not blind what a Predictor guesses, or one fixed degradation; without an ending it
is told the truth, as evaluation.benchmark does.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from dasrlib import baselines, errors, paper, weights
from dasrlib.baselines import Assumed, Denoised, Predicted, Predictor
from dasrlib.baselines.dncnn import DnCNN
from dasrlib.baselines.zssr import ZSSR
from dasrlib.degradation import Degradations
from dasrlib.evaluation import Bicubic, System
from dasrlib.systems import SYSTEMS

# What the weights were trained for: isotropic kernels (§4.2), or anisotropic ones and noise (§4.3).
Space = Literal["iso", "aniso"]
KNOWS_BICUBIC_ALONE = ("srcnn", "rcan")  # one training for both


def assumed(scale: int, space: Space = "iso") -> Degradations:
    """What "-assumed" tells: the middle of the trained isotropic widths; Table 3's middle noise."""
    return Degradations.isotropic(sum(paper.SIGMA_RANGE[scale]) / 2, scale, _noise(space))


def _noise(space: Space) -> float:
    """The noise level that is told where nobody knows it: a Predictor reads the kernel alone."""
    return sorted(paper.table3()["DASR"])[1] if space == "aniso" else 0.0


def _parts(name: str, scale: int, space: Space) -> list[tuple[str, str | None]]:
    """The systems that a name is made of, each with the name of its weights, if it has any."""
    if name not in SYSTEMS or name in ("dncnn", "predictor"):
        picturing = [n for n in SYSTEMS if n not in ("dncnn", "predictor")]
        raise ValueError(errors.unknown_name_message("system", name, picturing))
    if name.startswith("dncnn-"):
        return [("dncnn", "laptop/dncnn"), *_parts(name.removeprefix("dncnn-"), scale, space)]
    base, _, told = name.partition("-")
    if base in ("bicubic", "zssr"):
        found: list[tuple[str, str | None]] = [(base, None)]
    elif base == "authors":
        found = [(base, f"authors/x{scale}-{space}")]
    elif base in KNOWS_BICUBIC_ALONE:
        found = [(base, f"laptop/{base}-x{scale}")]
    else:
        found = [(base, f"laptop/{base}-x{scale}-{space}")]
    if told == "predicted":
        found.append(("predictor", f"laptop/predictor-x{scale}-{space}"))
    return found


def weights_of(name: str, scale: int = 4, space: Space = "iso") -> list[str]:
    """The names of the weights that `load` reads; raises ValueError for an unknown system."""
    return [stored for _, stored in _parts(name, scale, space) if stored]


def is_here(name: str, scale: int = 4, space: Space = "iso") -> bool:
    """Whether all weights of a system are bundled or downloaded for a scale."""
    for stored in weights_of(name, scale, space):
        try:
            weights.find(stored)
        except (ValueError, FileNotFoundError):
            return False
    return True


def load(name: str, scale: int = 4, space: Space = "iso") -> System:
    """A system of the tables (§4.2, §4.3).

    Args:
        name: of systems.SYSTEMS, such as "rcan", "srmdnf-predicted" or "dncnn-ikc".
        scale: 2, 3 or 4.
        space: what its weights were trained for.

    Raises:
        ValueError: the name is not known, or its weights are not here for this scale.
    """
    parts = _parts(name, scale, space)
    built = {part: _one(part, stored, scale) for part, stored in parts}
    base, _, told = name.removeprefix("dncnn-").partition("-")
    system = built[base]
    if told == "predicted":
        predictor = built["predictor"]
        assert isinstance(predictor, Predictor)
        system = Predicted(predictor, system, _noise(space))
    elif told == "assumed":
        system = Assumed(system, assumed(scale, space))
    if "dncnn" in built:
        denoiser = built["dncnn"]
        assert isinstance(denoiser, DnCNN)
        system = Denoised(denoiser, system)
    if isinstance(system, nn.Module):
        system.eval()
    return system


def _one(name: str, stored: str | None, scale: int) -> System:
    if name == "bicubic":
        return Bicubic(scale)
    return weights.load_system(stored) if stored else baselines.build(name, scale)


def parameters(system: System) -> int:
    """How many weights a system has, in all its networks; 0 for bicubic upsampling."""
    if not isinstance(system, nn.Module):
        return 0
    # ZSSR holds no network: it makes one for each picture.
    made = [part.start(torch.device("cpu")) for part in system.modules() if isinstance(part, ZSSR)]
    return sum(p.numel() for network in (system, *made) for p in network.parameters())
