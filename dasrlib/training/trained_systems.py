"""§4.1 What a run can train: DASR's five models, and the systems that they are compared with."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from dasrlib import baselines, errors, profiles, weights
from dasrlib.baselines import TRAINED, WITHOUT_WEIGHTS, Baseline, schedules
from dasrlib.baselines.ikc import IKC
from dasrlib.baselines.predictor import Predictor
from dasrlib.baselines.sftmd import SFTMD
from dasrlib.degradation import DegradationSpace
from dasrlib.network import BlindSR, build_for_profile
from dasrlib.profiles import Profile
from dasrlib.systems import MODELS


def check_name(name: str) -> None:
    """Raises ValueError with the nearest name where no system that is trained has this one."""
    if name in WITHOUT_WEIGHTS:
        raise ValueError(f"{name} is trained on the test picture alone: there is nothing to train")
    if name not in MODELS and name not in TRAINED:
        raise ValueError(errors.unknown_name_message("model", name, [*MODELS, *TRAINED]))


def profile_for(name: str, profile: str) -> Profile:
    """The profile of that name, with a baseline's own schedule (§4.1)."""
    check_name(name)
    chosen = profiles.get(profile)
    if name in MODELS:
        return chosen
    first, second = schedules.stages(name, chosen)
    patch = schedules.LAPTOP_PATCH.get(name) if chosen.name == "laptop" else None
    return replace(chosen, stage1=first, stage2=second, patch=patch or chosen.patch)


def untrained(name: str, profile: Profile, space: DegradationSpace) -> BlindSR | Baseline:
    """A system for a run, with the start that the profile asks for.

    Args:
        name: of systems.MODELS or baselines.TRAINED.
        profile: its sizes; a baseline has its own ones for the name of the profile.
        space: the degradations that all systems are compared under.

    Raises:
        ValueError: no such system is trained.
    """
    check_name(name)
    if name in MODELS:
        model = build_for_profile(name, space.scale, profile)
        if profile.init_as_nearest_neighbour:
            model.sr.init_as_nearest_neighbour()
        return model
    system = baselines.build(name, space.scale, profile.name, space)
    if profile.init_as_nearest_neighbour:
        system.init_as_nearest_neighbour()
    return system


def parts_identity(
    name: str, sftmd: str | Path | None, predictor: str | Path | None
) -> dict[str, dict[str, str]]:
    """Which trained networks an IKC is made of, for its record; nothing for another system.

    Args:
        name: of the system that is trained.
        sftmd, predictor: the names of bundled weights, or files.

    Raises:
        ValueError: IKC has no SFTMD, or another system has one of both.
    """
    parts = {"sftmd": sftmd, "predictor": predictor}
    given = {part: weights.find(path) for part, path in parts.items() if path is not None}
    if name != "ikc" and given:
        part = next(iter(given))
        raise ValueError(f"{part} is for ikc alone, {name} has none in it: leave it out")
    if name == "ikc" and sftmd is None:
        raise ValueError(
            "ikc is trained around a trained SFTMD: name its weights as sftmd (--sftmd)"
        )
    # Not the whole path, which means nothing on another machine.
    return {
        part: {
            "name": f"{path.parent.name}/{path.stem}",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for part, path in given.items()
    }


def take_over(system: IKC, sftmd: str | Path, predictor: str | Path | None = None) -> None:
    """Puts trained weights into IKC; raises ValueError where they do not fit."""
    sizes = system.sizes
    for path, kind, own in (
        (sftmd, SFTMD, sizes.sftmd), (predictor, Predictor, sizes.predictor)
    ):  # fmt: skip
        if path is None:
            continue
        trained = weights.load_system(path)
        if not isinstance(trained, kind):
            wanted = "around sftmd" if kind is SFTMD else "from a predictor"
            raise ValueError(f"{path} holds {trained.name}: ikc is trained {wanted}")
        for what, theirs, ours in (
            ("the scale", trained.scale, system.scale),
            ("the sizes", trained.sizes, own),
            ("the degradations", trained.space, system.space),
        ):
            if theirs != ours:
                raise ValueError(
                    f"{what} of {path} and of the ikc differ ({theirs}, {ours}): "
                    "train both in the same profile and with the same degradations"
                )
        if isinstance(trained, SFTMD):
            system.use_sftmd(trained)
        else:
            system.predictor.load_state_dict(trained.state_dict())
