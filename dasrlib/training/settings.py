"""§4.1 The settings that make a run this run and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Profile

# Fields that are younger than some records, with the value that does what was done before.
ADDED = {
    "quality": None,
    "without": 0.0,
    "isotropic_share": 0.0,
    "shared_noise": 0.0,
    "copies": 1,
}


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
    added = {name: ADDED[name.split(".")[-1]] for name in new if name.split(".")[-1] in ADDED}
    old = {**added, **old}
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
