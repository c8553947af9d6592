"""§3.2.1, §4.2 What a short contrastive schedule learns: every recipe trained, and probed.

An encoder is judged by what can be read off its representations of pictures it never saw, not by
its loss: held-out training pictures are for choices, a test set for the numbers to report.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from dasrlib import data, probes, profiles, training
from dasrlib.acceleration.devices import here
from dasrlib.data import Pictures
from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Profile
from dasrlib.records import provenance
from dasrlib.records.atomic_write import atomic_write
from dasrlib.representation import Encoder
from dasrlib.studies.contrastive_recipes import NOISY_TRIALS, TRIALS, schedule, train
from dasrlib.studies.probe_set import WIDTHS, ProbeSet, Represent
from dasrlib.training.patches import PatchPairs


def _reader(encoder: Encoder) -> Represent:
    device = here()
    encoder.to(device).eval()
    return lambda lr: encoder(lr.to(device))[0]


def run_study(
    folder: str | Path,
    profile: Profile,
    images: tuple[Pictures, Pictures],
    test: Pictures,
    noisy: bool = False,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    minutes: float | None = None,
    progress: bool = True,
) -> list[dict[str, Any]] | None:
    """Every recipe trained and scored, each in a file; a file that exists is not made again.

    profile: of the schedule. images: (training, held-out) pictures. test: pictures for the numbers
    to report. noisy: §4.3's anisotropic kernels with noise instead of §4.2's isotropic ones.
    minutes: start no further trial after this many; the result is None if one is left. Else it is
    the rows: name, title, recipe, schedule, seed, log, minutes, held_out and test (scores),
    provenance.
    """
    started, device = time.monotonic(), here()
    plan, trials = schedule(profile), NOISY_TRIALS if noisy else TRIALS
    torch.manual_seed(0)
    baselines = {
        "untrained-rgb": ("untrained, RGB input", _reader(Encoder("rgb"))),
        "untrained-high-pass": ("untrained, high-pass input", _reader(Encoder("high-pass"))),
        "pixel-statistics": ("six pixel statistics", probes.pixel_statistics),
    }
    paths, settings, rows = {}, {}, {}
    for name in (*baselines, *trials):
        paths[name] = Path(folder) / f"{'noisy' if noisy else 'isotropic'}-{seed}-{name}.json"
        settings[name] = {
            "name": name,
            "recipe": asdict(trials[name][1]) if name in trials else None,
            "schedule": asdict(plan) if name in trials else None,
            "seed": seed,
        }
        if paths[name].exists():
            rows[name] = json.loads(paths[name].read_text())
            training.require_same_settings(paths[name], rows[name], settings[name])
    missing = [name for name in paths if name not in rows]
    if missing:
        known = provenance.describe(device)
        patches = PatchPairs(images[0], 4 * plan.patch, device)
        probe_sets = {"held_out": ProbeSet(images[1], noisy), "test": ProbeSet(test, noisy)}
        space = DegradationSpace.anisotropic(4) if noisy else DegradationSpace.isotropic(4)
    count = sum(name in trials for name in missing)
    with tqdm(total=count * plan.stage.iterations, disable=not (missing and progress)) as bar:
        for name in missing:
            began = time.monotonic()
            if minutes is not None and began - started > minutes * 60:
                return None
            bar.set_description(name)
            log: list[dict[str, float]] = []
            if name in baselines:
                title, represent = baselines[name]
            else:
                title, recipe = trials[name]
                encoder, log = train(recipe, plan, patches, space, seed, bar, dtype)
                represent = _reader(encoder)
            spent = round((time.monotonic() - began) / 60, 2)
            scores = {which: probed.score(represent) for which, probed in probe_sets.items()}
            found = {"log": log, "minutes": spent, **scores, "provenance": known}
            text = json.dumps({"title": title, **settings[name], **found}, indent=1)
            with atomic_write(paths[name]) as temporary:
                temporary.write_text(text + "\n")
            rows[name] = json.loads(text)  # as a file has it: no tuples
    return [rows[name] for name in paths]


def reproduce(
    profile: str,
    folder: str | Path,
    minutes: float | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> dict[str, Any] | None:
    """Both studies, isotropic and noisy: trained on the profile's pictures, tested on B100.

    The smoke profile does both on corners of the samples. Returns what plots.recipes.recipes draws;
    None where the minutes were over before the last trial.
    """
    chosen = profiles.get(profile)
    test = "samples" if chosen.is_plumbing else "B100"
    unseen = data.images(test)
    if chosen.is_plumbing:  # corners, to be quick; three held out: reading σ off needs three
        unseen = [(name, picture[:, :96, :96]) for name, picture in unseen]
        images: tuple[Pictures, Pictures] = unseen[3:], unseen[:3]
    else:
        images = data.training_images(chosen.data, chosen.held_out)
    started, found = time.monotonic(), {}
    for noisy in (False, True):
        left = None if minutes is None else minutes - (time.monotonic() - started) / 60
        rows = run_study(folder, chosen, images, unseen, noisy, seed, dtype, left)
        if rows is None:
            return None
        found["noisy" if noisy else "isotropic"] = rows
    plan = schedule(chosen)
    return {
        **found,
        "batch": plan.stage.batch,
        "iterations": plan.stage.iterations,
        "queue": TRIALS["moco"][1].queue_size,
        "chance": 1 / len(WIDTHS),
        "test": test,
        "held_out": f"{len(images[1])} held-out pictures of {chosen.data[0]}",
    }
