"""§3.2.1, §4.2 What a short contrastive schedule learns: every recipe trained, and probed.

An encoder is judged by what can be read off its representations of pictures it never saw, not by
its loss: held-out training pictures are for choices, a test set for the numbers to report.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from dasrlib import data, probes, profiles, training
from dasrlib.acceleration.devices import here
from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Profile
from dasrlib.records import provenance
from dasrlib.records.atomic_write import atomic_write
from dasrlib.representation import Encoder
from dasrlib.studies.contrastive_recipes import NOISY_TRIALS, TRIALS, schedule, train
from dasrlib.studies.probe_set import WIDTHS, ProbeSet, Represent
from dasrlib.training.patches import PatchPairs


def _baselines(device: torch.device) -> dict[str, tuple[str, Represent]]:
    """Title and representation by id: untrained encoders, and pixel statistics."""
    torch.manual_seed(0)
    rgb, high_pass = (Encoder(kind).to(device).eval() for kind in ("rgb", "high-pass"))
    return {
        "untrained-rgb": ("untrained, RGB input", _reader(rgb, device)),
        "untrained-high-pass": ("untrained, high-pass input", _reader(high_pass, device)),
        "pixel-statistics": ("six pixel statistics", probes.pixel_statistics),
    }


def _reader(encoder: Encoder, device: torch.device) -> Represent:
    return lambda lr: encoder(lr.to(device))[0]


class RecipeStudy:
    """Every recipe trained and scored, a file each in a folder; what is there is not done again.

    Args:
        folder: of the files.
        profile: of the schedule.
        images: (training, held-out) pictures.
        test: pictures for the numbers to report.
        noisy: §4.3's anisotropic kernels with noise instead of §4.2's isotropic ones.
        seed: of each trial.
        device: to train on.
    """

    def __init__(
        self,
        folder: str | Path,
        profile: Profile,
        images: tuple[data.Pictures, data.Pictures],
        test: data.Pictures,
        noisy: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        self.folder, self.noisy, self.seed = Path(folder), noisy, seed
        self.device, self.dtype = torch.device(device), dtype
        self.plan, self.trials = schedule(profile), NOISY_TRIALS if noisy else TRIALS
        self.provenance = provenance.describe(self.device)
        self.space = DegradationSpace.anisotropic(4) if noisy else DegradationSpace.isotropic(4)
        self.train_on, self.held_out, self.test = images[0], images[1], test

    def _path(self, name: str) -> Path:
        return self.folder / f"{'noisy' if self.noisy else 'isotropic'}-{self.seed}-{name}.json"

    def _settings(self, name: str) -> dict[str, Any]:
        trial = self.trials.get(name)
        settings = {
            "name": name,
            "recipe": asdict(trial.recipe) if trial else None,
            "schedule": asdict(self.plan) if trial else None,
            "seed": self.seed,
        }
        read: dict[str, Any] = json.loads(json.dumps(settings))  # as a file has it: no tuples
        return read

    def _kept(self, name: str) -> dict[str, Any] | None:
        path = self._path(name)
        if not path.exists():
            return None
        row: dict[str, Any] = json.loads(path.read_text())
        training.require_same_settings(path, row, self._settings(name))
        return row

    def run(
        self, minutes: float | None = None, progress: bool = True
    ) -> list[dict[str, Any]] | None:
        """Does what is missing.

        Args:
            minutes: start no further trial after this many.
            progress: whether a bar is shown.

        Returns:
            None where the minutes were over before the last trial, else the rows: name, title,
            recipe, schedule, seed, log, minutes, held_out and test (scores), provenance.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        baselines = _baselines(self.device)
        names = [*baselines, *self.trials]
        rows = {name: row for name in names if (row := self._kept(name))}
        missing = [name for name in names if name not in rows]
        if not missing:
            return [rows[name] for name in names]
        patches = PatchPairs(self.train_on, 4 * self.plan.patch, self.device)
        probe_sets = {
            "held_out": ProbeSet(self.held_out, self.noisy),
            "test": ProbeSet(self.test, self.noisy),
        }
        count = sum(name in self.trials for name in missing)
        with tqdm(total=count * self.plan.stage.iterations, disable=not progress) as bar:
            for name in missing:
                if minutes is not None and time.monotonic() - started > minutes * 60:
                    return None
                bar.set_description(name)
                rows[name] = self._row(name, baselines, patches, probe_sets, bar)
                with atomic_write(self._path(name)) as temporary:
                    temporary.write_text(json.dumps(rows[name], indent=1) + "\n")
        return [rows[name] for name in names]

    def _row(
        self,
        name: str,
        baselines: Mapping[str, tuple[str, Represent]],
        patches: PatchPairs,
        probe_sets: Mapping[str, ProbeSet],
        bar: tqdm,
    ) -> dict[str, Any]:
        started = time.monotonic()
        log: list[dict[str, float]] = []
        if name in baselines:
            title, represent = baselines[name]
        else:
            title, recipe = self.trials[name].title, self.trials[name].recipe
            encoder, log = train(recipe, self.plan, patches, self.space, self.seed, bar, self.dtype)
            represent = _reader(encoder, self.device)
        spent = (time.monotonic() - started) / 60
        with torch.inference_mode():
            scores = {which: probe_set.score(represent) for which, probe_set in probe_sets.items()}
        found = {"log": log, "minutes": round(spent, 2), **scores, "provenance": self.provenance}
        return {"title": title, **self._settings(name), **found}


def reproduce(
    profile: str,
    folder: str | Path,
    minutes: float | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> dict[str, Any] | None:
    """Both studies, isotropic and noisy: trained on the profile's pictures, tested on B100.

    The smoke profile does both on corners of the samples.

    Returns:
        What plots.recipes.recipes draws; None where the minutes were over before the last trial.
    """
    chosen = profiles.get(profile)
    test = "samples" if chosen.is_plumbing else "B100"
    unseen = data.images(test)
    if chosen.is_plumbing:  # corners, to be quick; three held out: reading σ off needs three
        unseen = [(name, picture[:, :96, :96]) for name, picture in unseen]
        images: tuple[data.Pictures, data.Pictures] = unseen[3:], unseen[:3]
    else:
        images = data.training_images(chosen.data, chosen.held_out)
    started, found = time.monotonic(), {}
    for noisy in (False, True):
        left = None if minutes is None else minutes - (time.monotonic() - started) / 60
        study = RecipeStudy(folder, chosen, images, unseen, noisy, seed, here(), dtype)
        rows = study.run(left)
        if rows is None:
            return None
        found["noisy" if noisy else "isotropic"] = rows
    plan = schedule(chosen)
    return {
        **found,
        "batch": plan.stage.batch,
        "iterations": plan.stage.iterations,
        "queue": TRIALS["moco"].recipe.queue_size,
        "chance": 1 / len(WIDTHS),
        "test": test,
        "held_out": f"{len(images[1])} held-out pictures of {chosen.data[0]}",
    }
