"""§4.2 Every system that is compared, in one table: its titles, its look in figures, what it needs.

A new system is a file of its own and one row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dasrlib import errors

# What a system must be given beside the LR picture. A blind one needs nothing.
Needs = Literal["nothing", "kernel", "kernel and noise"]
# What the paper says of a model's PSNR beside that of Model 4.
Claim = Literal["worse", "at least as good"]


@dataclass(frozen=True)
class SystemRow:
    """How a system is called, how it looks in every figure, and what it needs.

    Args:
        name: in code, files and records.
        title: in tables. `short`: where there is less room.
        colour: hexadecimal; None for the colour of the text.
        marker: of matplotlib.
        dashes: lengths of line and gap in points; empty for an unbroken line.
        needs: what `restore` must be given beside the LR picture.

    Raises:
        ValueError: `needs` is not one of the three.
    """

    name: str
    title: str
    short: str
    colour: str | None
    marker: str
    dashes: tuple[float, ...]
    needs: Needs = "nothing"

    def __post_init__(self) -> None:
        if self.needs not in get_args(Needs):
            raise ValueError(errors.unknown_name_message("needs", self.needs, get_args(Needs)))


@dataclass(frozen=True)
class ModelVariant(SystemRow):
    """A DASR network: what distinguishes it from Model 4, the full method (§4.2).

    Args:
        contrastive: L_degrad is part of the training, and stage 1 exists.
        degradation_aware: DA convolutions; False: plain ones, R stretched beside the features.
        modulate: the second branch of a DA convolution.
        turn: when the ablation trains it, 1 first. The models that say the most come first, in
            case the minutes run out. None: it is not part of the ablation.
        claim: what the paper says of it beside Model 4.
    """

    contrastive: bool = True
    degradation_aware: bool = True
    modulate: bool = True
    turn: int | None = None
    claim: Claim | None = None


FULL_METHOD = "model4"
DEFAULT_WEIGHTS = "laptop/model4-x4-iso"  # bundled; loaded where nothing else is asked for
SYSTEMS: dict[str, SystemRow] = {
    row.name: row
    for row in (
        SystemRow("bicubic", "bicubic", "bicubic", None, "x", (4, 3)),
        ModelVariant(
            "model1", "Model 1, no contrastive loss", "Model 1", "#CC79A7", "o", (6, 3),
            contrastive=False, turn=2, claim="worse",
        ),
        ModelVariant(
            "model2", "Model 2, plain convolutions", "Model 2", "#E69F00", "s", (8, 3, 2, 3),
            degradation_aware=False, turn=4, claim="worse",
        ),
        ModelVariant(
            "model3", "Model 3, no modulation", "Model 3", "#009E73", "^", (2, 2),
            modulate=False, turn=5, claim="worse",
        ),
        ModelVariant("model4", "Model 4, the full method", "Model 4", "#0072B2", "D", (), turn=1),
        ModelVariant(
            "model5", "Model 5, non-blind", "Model 5", "#D55E00", "v", (12, 4),
            needs="kernel and noise", contrastive=False, turn=3, claim="at least as good",
        ),
    )
}  # fmt: skip
MODELS = {name: row for name, row in SYSTEMS.items() if isinstance(row, ModelVariant)}
ABLATION = [name for name, model in MODELS.items() if model.turn]  # Models 1 to 5


def model_variant(name: str) -> ModelVariant:
    """The row of a DASR network; raises ValueError with the nearest name for an unknown one."""
    if name not in MODELS:
        raise ValueError(errors.unknown_name_message("model", name, MODELS))
    return MODELS[name]


def short(name: str) -> str:
    """The short title of a system of the table; another name stays as it is."""
    return SYSTEMS[name].short if name in SYSTEMS else name
