"""§4.1 What a run can train: DASR's five models, and the systems that they are compared with."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from dasrlib import baselines, errors, profiles, weights
from dasrlib.baselines import NETWORKS, Baseline, schedules
from dasrlib.baselines.ikc import IKC
from dasrlib.baselines.sftmd import SFTMD
from dasrlib.degradation import DegradationSpace
from dasrlib.network import BlindSR, build_for_profile
from dasrlib.profiles import Profile
from dasrlib.systems import MODELS


def check_name(name: str) -> None:
    """Raises ValueError with the nearest name where no system that is trained has this one."""
    if name not in MODELS and name not in NETWORKS:
        raise ValueError(errors.unknown_name_message("model", name, [*MODELS, *NETWORKS]))


def profile_for(name: str, profile: str) -> Profile:
    """The profile of that name, with a baseline's own schedule: one stage, the second (§4.1)."""
    check_name(name)
    chosen = profiles.get(profile)
    if name in MODELS:
        return chosen
    stage = schedules.stage(name, chosen)
    return replace(chosen, stage1=replace(chosen.stage1, iterations=0), stage2=stage)


def untrained(name: str, profile: Profile, space: DegradationSpace) -> BlindSR | Baseline:
    """A system for a run, with the start that the profile asks for.

    Args:
        name: of systems.MODELS or baselines.NETWORKS.
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


def sftmd_identity(name: str, sftmd: str | Path | None) -> dict[str, dict[str, str]]:
    """Which SFTMD an IKC is trained around, for its record; nothing for another system.

    Args:
        name: of the system that is trained.
        sftmd: the name of bundled weights, or a file.

    Raises:
        ValueError: IKC has none, or another system has one.
    """
    if (name == "ikc") != (sftmd is not None):
        raise ValueError(
            "ikc is trained around a trained SFTMD: name its weights as sftmd (--sftmd)"
            if name == "ikc"
            else f"sftmd is for ikc alone, {name} has none in it: leave it out"
        )
    if sftmd is None:
        return {}
    path = weights.find(sftmd)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    # Not the whole path, which means nothing on another machine.
    return {"sftmd": {"name": f"{path.parent.name}/{path.stem}", "sha256": digest}}


def take_over_sftmd(system: IKC, sftmd: str | Path) -> None:
    """Puts trained weights into IKC's SFTMD; raises ValueError where they do not fit."""
    trained = weights.load_system(sftmd)
    if not isinstance(trained, SFTMD):
        raise ValueError(f"{sftmd} holds {trained.name}: ikc is trained around sftmd")
    for what, theirs, own in (
        ("the scale", trained.scale, system.scale),
        ("the sizes", trained.sizes, system.sizes.sftmd),
        ("the degradations", trained.space, system.space),
    ):
        if theirs != own:
            raise ValueError(
                f"{what} of {sftmd} and of the ikc differ ({theirs}, {own}): "
                "train both in the same profile and with the same degradations"
            )
    system.use_sftmd(trained)
