"""What is kept of a training and of a measurement, as types; json when it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import fmean
from typing import Generic, TypedDict, TypeVar

from dasrlib.records.atomic_write import atomic_write

# A degradation is called by its kernel width σ in HR pixels, or by a word.
Label = TypeVar("Label", float, str)
# (σ in HR pixels, PSNR-Y in dB or SSIM-Y), in the order of σ.
Curve = list[tuple[float, float]]


def mean_of(curve: Iterable[Sequence[float]]) -> float:
    """The mean of a curve's values, whatever its σ are."""
    return fmean(value for _, value in curve)


@dataclass(frozen=True)
class Measurement(Generic[Label]):
    """One picture under one degradation, restored by one system."""

    system: str
    picture: str
    degradation: Label
    psnr: float  # PSNR-Y, dB
    ssim: float  # SSIM-Y
    seed: int  # of the noise
    seconds: float = field(compare=False)  # from the LR picture to the SR picture


class LogRow(TypedDict, total=False):
    """A line of a training's log; the losses are means since the line before."""

    iteration: int
    stage: int
    minutes: float
    contrastive: float
    sr: float
    loss: float  # of a baseline: the sum of its losses
    psnr: dict[str, float]  # dB on the held-out pictures, by kernel width
    code_error: dict[str, float]  # of the Predictor, which makes no picture, likewise


@dataclass(frozen=True)
class Readout:
    """A linear map that reads noise level and JPEG loss (100 − quality) off a representation."""

    weight: Sequence[Sequence[float]]  # (2, 256)
    bias: Sequence[float]  # (2,)
    error: Sequence[float]  # (2,), mean absolute errors on held-out pictures


@dataclass(frozen=True)
class RunRecord:
    """How one network was trained: the content of the json beside its weights."""

    model: str
    scale: int
    seed: int
    space: Mapping[str, object]  # the fields of the DegradationSpace
    profile: Mapping[str, object]  # the fields of the Profile
    minutes: float
    dtype: str  # of the autocast, such as "bfloat16"
    provenance: Mapping[str, object]  # hardware, versions and commit
    log: Sequence[LogRow]
    readout: Readout | None = None  # of a training on noisy pictures
    pictures: Mapping[str, object] | None = None  # to train on: count, and digest of all pixels
    sittings: Sequence[Mapping[str, object]] | None = None  # machine, minutes, iterations of each
    sftmd: Mapping[str, str] | None = None  # of IKC: name and digest of its SFTMD's weights
    predictor: Mapping[str, str] | None = None  # and of those that its Predictor started from

    @classmethod
    def read(cls, path: str | Path) -> RunRecord:
        """The record in a json file; raises ValueError where the file holds something else."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        names = [part.name for part in fields(cls)]
        # What older records, and most others, do not have.
        optional = ("readout", "pictures", "sittings", "sftmd", "predictor")
        content = dict.fromkeys(optional) | content
        if content["readout"]:
            content["readout"] = Readout(**content["readout"])
        missing = [name for name in names if name not in content]
        if missing:
            raise ValueError(
                f"{path} is not the record of a training, {', '.join(missing)} missing: "
                "expected a weights.json"
            )
        return cls(**{name: content[name] for name in names})

    def write(self, path: Path) -> None:
        """Writes the record as json, whole or not at all."""
        content = {name: value for name, value in asdict(self).items() if value is not None}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @property
    def validations(self) -> list[tuple[int, Curve]]:
        """(iteration, held-out PSNR-Y over σ), wherever the log of an isotropic run has one."""
        return [
            (row["iteration"], [(float(label), psnr) for label, psnr in row["psnr"].items()])
            for row in self.log
            if "psnr" in row
        ]
