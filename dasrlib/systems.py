"""§4.2 Every system that is compared, in one table: its titles, its look in figures, what it needs.

A new system is a file of its own and one row here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dasrlib import errors

# What a system must be given beside the LR picture. A blind one needs nothing.
Needs = Literal["nothing", "kernel", "kernel and noise"]


@dataclass(frozen=True)
class SystemRow:
    """How a system is called, how it looks in every figure, and what it needs."""

    name: str  # in code, files and records
    title: str  # in tables
    short: str  # where there is less room
    colour: str | None  # hexadecimal; None: the colour of the text
    marker: str  # of matplotlib
    needs: Needs = "nothing"  # what `restore` must be given beside the LR picture
    line: str = "-"  # of matplotlib; how a system is told, or what is put in front of it

    def __post_init__(self) -> None:
        errors.check_choices(self)


@dataclass(frozen=True)
class ModelVariant(SystemRow):
    """A DASR network: what distinguishes it from Model 4, the full method (§4.2)."""

    contrastive: bool = True  # L_degrad is part of the training, and stage 1 exists
    degradation_aware: bool = True  # DA convolutions; False: plain ones, R beside the features
    modulate: bool = True  # the second branch of a DA convolution
    # When the ablation trains it, 1 first, in case the minutes run out; None: not at all.
    turn: int | None = None
    claim: Literal["worse", "at least as good"] | None = None  # the paper's, beside Model 4


FULL_METHOD = "model4"
# Bundled: loaded where nothing else is asked for, and for photographs with noise or JPEG.
DEFAULT_WEIGHTS, PHOTO_WEIGHTS = "laptop/model4-x4-iso", "laptop/photo-x4"
SYSTEMS: dict[str, SystemRow] = {
    row.name: row
    for row in (
        SystemRow("bicubic", "bicubic", "bicubic", None, "x"),
        ModelVariant(
            "model1", "Model 1, no contrastive loss", "Model 1", "#CC79A7", "o",
            contrastive=False, turn=2, claim="worse",
        ),
        ModelVariant(
            "model2", "Model 2, plain convolutions", "Model 2", "#E69F00", "s",
            degradation_aware=False, turn=4, claim="worse",
        ),
        ModelVariant(
            "model3", "Model 3, no modulation", "Model 3", "#009E73", "^",
            modulate=False, turn=5, claim="worse",
        ),
        ModelVariant("model4", "Model 4, the full method", "Model 4", "#0072B2", "D", turn=1),
        ModelVariant(
            "model5", "Model 5, non-blind", "Model 5", "#D55E00", "v", "kernel and noise",
            contrastive=False, turn=3, claim="at least as good",
        ),
        SystemRow("authors", "DASR, the authors' weights", "authors'", "#000000", "."),
        SystemRow("srcnn", "SRCNN", "SRCNN", "#999933", "<"),
        SystemRow("rcan", "RCAN", "RCAN", "#117733", ">"),
        SystemRow("dncnn", "DnCNN, a denoiser", "DnCNN", "#661100", "P"),
        SystemRow("srmd", "SRMD, told the kernel and the noise", "SRMD", "#88CCEE", "p",
                  "kernel and noise"),
        SystemRow("srmdnf", "SRMDNF, told the kernel", "SRMDNF", "#332288", "h", "kernel"),
        SystemRow("predictor", "Predictor, of the kernel alone", "Predictor", "#DDCC77", "1"),
        SystemRow("sftmd", "SFTMD, told the kernel", "SFTMD", "#CC6677", "d", "kernel"),
        SystemRow("ikc", "IKC", "IKC", "#882255", "*"),
        SystemRow("zssr", "ZSSR, trained on the one picture, told the kernel", "ZSSR", "#A6761D",
                  "X", "kernel"),
        SystemRow("mzsr", "MZSR, a few steps on the one picture, told the kernel", "MZSR",
                  "#7570B3", "+", "kernel"),
    )
}  # fmt: skip


def _told(row: SystemRow) -> list[SystemRow]:
    """A system that is not blind, told the kernel by a Predictor, and told one fixed kernel."""
    return [
        SystemRow(f"{row.name}-predicted", f"{row.short} + Predictor", f"{row.short} + P",
                  row.colour, row.marker, line="--"),
        SystemRow(f"{row.name}-assumed", f"{row.short}, told one fixed kernel",
                  f"{row.short}, fixed", row.colour, row.marker, line=":"),
    ]  # fmt: skip


SYSTEMS |= {row.name: row for told in [*SYSTEMS.values()] if told.needs != "nothing"
            for row in _told(told)}  # fmt: skip
# A denoiser in front, as Table 3 has it (§4.3).
SYSTEMS |= {
    f"dncnn-{name}": replace(
        SYSTEMS[name], name=f"dncnn-{name}", title=f"DnCNN + {SYSTEMS[name].title}",
        short=f"DnCNN + {SYSTEMS[name].short}", line="-.",
    )
    for name in ("rcan", "srmdnf-predicted", "ikc")
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
