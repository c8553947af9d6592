"""What is kept of a figure: the data that it draws, and the run that they came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn


@dataclass(frozen=True)
class FigureRecord:
    """The content of figures/NAME.json. None means that nobody recorded it at the time."""

    name: str
    draw: str  # "module:function" of dasrlib; the function makes the figure from `data`
    made_by: str  # the command, or the path of the notebook
    alt: str  # what the figure shows, for a reader who does not see it
    profile: str | None  # None where no profile set its sizes
    seed: int  # the first one of several
    minutes: float | None
    weights: list[str] | None
    datasets: list[str] | None
    provenance: Mapping[str, Any]
    data: dict[str, Any]

    @property
    def rows(self) -> int:
        """How many rows the data has: the length of its longest list or table."""
        return max((len(v) for v in self.data.values() if isinstance(v, list | dict)), default=0)

    @classmethod
    def from_json(cls, text: str) -> FigureRecord:
        """The record in a text that `to_json` wrote; raises ValueError for any other text."""
        found = json.loads(text, parse_constant=_refuse)
        names = {field.name for field in fields(cls)}
        if not isinstance(found, dict) or set(found) != names:
            keys = set(found) if isinstance(found, dict) else set()
            raise ValueError(
                f"this is not the record of a figure: missing {sorted(names - keys)}, "
                f"unknown {sorted(keys - names)}"
            )
        return cls(**found)

    def to_json(self) -> str:
        """The record as JSON; raises ValueError for a NaN or an infinity, which JSON has not."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not valid JSON")
