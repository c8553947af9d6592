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
    """One picture under one degradation, restored by one system.

    Args:
        system: the system's name.
        picture: the picture's name.
        degradation: the kernel width σ in HR pixels, or a word for the degradation.
        psnr: PSNR-Y, dB.
        ssim: SSIM-Y.
        seed: of the noise.
        seconds: that the restoration took. It does not count when measurements are compared.
    """

    system: str
    picture: str
    degradation: Label
    psnr: float
    ssim: float
    seed: int
    seconds: float = field(compare=False)


class LogRow(TypedDict, total=False):
    """A line of a training's log; the losses are means since the line before."""

    iteration: int
    stage: int
    minutes: float
    contrastive: float
    sr: float
    psnr: dict[str, float]  # dB on the held-out pictures, by kernel width


@dataclass(frozen=True)
class RunRecord:
    """How one network was trained: what the json beside its weights says.

    Args:
        model: the name of the variant.
        scale: 2, 3 or 4.
        seed: of the training.
        space: the fields of its DegradationSpace.
        profile: the fields of its Profile.
        minutes: that it took.
        dtype: of the autocast, such as "bfloat16".
        provenance: the hardware, the versions and the commit.
        log: the losses and the held-out PSNR on the way.
    """

    model: str
    scale: int
    seed: int
    space: Mapping[str, object]
    profile: Mapping[str, object]
    minutes: float
    dtype: str
    provenance: Mapping[str, object]
    log: Sequence[LogRow]

    @classmethod
    def read(cls, path: str | Path) -> RunRecord:
        """The record in a json file; raises ValueError where the file holds something else."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        names = [part.name for part in fields(cls)]
        missing = [name for name in names if name not in content]
        if missing:
            raise ValueError(
                f"{path} is not the record of a training, {', '.join(missing)} missing: "
                "expected a weights.json"
            )
        return cls(**{name: content[name] for name in names})

    def write(self, path: str | Path) -> Path:
        """Writes the record as json, whole or not at all; returns the path."""
        path = Path(path)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        return path

    @property
    def settings(self) -> dict[str, object]:
        """What makes the run this run and no other, as `training.identity` gives it."""
        return {
            name: getattr(self, name) for name in ("model", "scale", "seed", "space", "profile")
        }

    @property
    def validations(self) -> list[tuple[int, Curve]]:
        """(iteration, held-out PSNR-Y over σ), wherever the log has one."""
        return [
            (row["iteration"], [(float(label), psnr) for label, psnr in row["psnr"].items()])
            for row in self.log
            if "psnr" in row
        ]
