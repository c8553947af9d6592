"""§4.1 What is kept of a run while it trains, and the settings that make it this run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Profile
from dasrlib.records.atomic_write import atomic_write
from dasrlib.records.run_record import LogRow


def identity(model: str, profile: Profile, space: DegradationSpace, seed: int) -> dict[str, Any]:
    """What makes a run this run and no other, for its checkpoint and its record."""
    return {
        "model": model,
        "scale": space.scale,
        "seed": seed,
        "space": asdict(space),
        "profile": asdict(profile),
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def require_same_settings(place: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raises ValueError where a run was begun with other settings, and names those that differ.

    place: the folder or file that holds it. stored: its settings; what `asked` does not name is not
    compared.
    """
    old = dict(_flat({name: stored.get(name) for name in asked}))
    new = dict(_flat(json.loads(json.dumps(asked))))  # as a file has it: no tuples
    different = [
        f"{name}: {old.get(name)!r} is stored, {new.get(name)!r} was asked for"
        for name in dict.fromkeys([*new, *old])
        if (name in old, old.get(name)) != (name in new, new.get(name))
    ]
    if different:
        raise ValueError(
            f"{place} holds a run with other settings ({'; '.join(different)}): "
            "choose another folder, or remove it to start anew"
        )


class RunFolder:
    """The files of a run: a checkpoint, the log, which grows, and at its end the weights."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.pt"
        self.log_path = self.path / "log.jsonl"
        self.weights = self.path / "weights.safetensors"

    def load(self, settings: Mapping[str, Any], device: torch.device) -> dict[str, Any] | None:
        """The checkpoint, None where there is none; raises what require_same_settings raises."""
        if not self.checkpoint.exists():
            return None
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=device, weights_only=True)
        require_same_settings(self.path, json.loads(state["identity"]), settings)
        return state

    def save(self, settings: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """A checkpoint, written whole or not at all."""
        with atomic_write(self.checkpoint) as temporary:
            torch.save({"identity": json.dumps(settings), **state}, temporary)

    def log(self) -> list[LogRow]:
        """The log so far, a record a line."""
        if not self.log_path.exists():
            return []
        # A line without its end was being written when the machine stopped.
        whole, _, _ = self.log_path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def append(self, record: LogRow) -> None:
        """Another line of the log."""
        with self.log_path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def cut_log(self, iteration: int) -> None:
        """Removes what the log says of later iterations than this one."""
        kept = [record for record in self.log() if record["iteration"] <= iteration]
        with atomic_write(self.log_path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
