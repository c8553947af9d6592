"""§3.2.1, §4.2 What a short contrastive schedule learns: every recipe trained, and examined.

An encoder is judged by what can be read off its representations of pictures it never saw, not by
its loss: held-out training pictures are for choices, a test set for the numbers to report.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dasrlib import data, probes, profiles
from dasrlib.data import Pictures, crop_to_multiple
from dasrlib.degradation import Degradations, DegradationSpace, degrade
from dasrlib.profiles import Profile
from dasrlib.records import provenance
from dasrlib.records.atomic_write import atomic_write
from dasrlib.representation import Encoder
from dasrlib.studies.contrastive_recipes import (
    NOISY_RECIPES,
    RECIPES,
    Recipe,
    build_encoder,
    schedule,
    train,
)
from dasrlib.training.patches import PatchPairs

Represent = Callable[[Tensor], Tensor]

WIDTHS = (0.2, 1.4, 2.6, 3.8)  # of the probes, HR pixels
ANGLES = (0, 45, 90, 135)  # degrees, of the four anisotropic kernels of the probes
NOISES = (0.0, 5.0, 10.0, 15.0)  # of the probes, as in the paper's figure of §4.3


def probe_degradations(noisy: bool) -> dict[str, dict[str, Degradations]]:
    """By question, the degradations to be told apart at ×4, by label (§4.2, §4.3)."""
    if not noisy:
        return {"width": {f"{w:g}": Degradations.isotropic(w, 4) for w in WIDTHS}}
    turned = {a: Degradations.anisotropic(4.0, 1.0, math.radians(a), 4, noise=5.0) for a in ANGLES}
    noises = {n: Degradations.anisotropic(2.0, 1.0, 0.0, 4, noise=n) for n in NOISES}
    return {
        "angle": {f"{angle}": d for angle, d in turned.items()},
        "noise": {f"{noise:g}": d for noise, d in noises.items()},
    }


class Examination:
    """Pictures no encoder was trained on, under degradations to be told apart; degraded once."""

    def __init__(self, pictures: Pictures, noisy: bool) -> None:
        self.questions = {}
        for question, degradations in probe_degradations(noisy).items():
            lr, labels, owners = [], [], []
            for label, degradation in degradations.items():
                generator = torch.Generator().manual_seed(0)  # of the noise
                for name, picture in pictures:
                    hr = crop_to_multiple(picture, degradation.scale)[None]
                    lr.append(degrade(hr, degradation, generator))
                    labels.append(label)
                    owners.append(name)
            self.questions[question] = (lr, labels, owners)

    def of(self, represent: Represent) -> dict[str, float]:
        """By question, k-NN accuracy ("width") and R² ("width r2"), each 0..1 at best (§4.2).

        represent: LR picture (1, 3, H, W) -> (1, D). An angle has no R²: 135° is as near to 0° as
        to 90°.
        """
        scores = {}
        for question, (lr, labels, owners) in self.questions.items():
            vectors = torch.cat([represent(picture).float().cpu() for picture in lr])
            scores[question] = round(probes.knn_accuracy(vectors, labels, owners), 4)
            if question != "angle":
                values = [float(label) for label in labels]
                scores[f"{question} r2"] = round(probes.ridge_r2(vectors, values, owners), 4)
        return scores


def _baselines(noisy: bool, device: torch.device) -> dict[str, Represent]:
    """What no contrastive training can be praised for: random weights, and six numbers."""
    torch.manual_seed(0)
    untrained = {
        f"untrained, {name}": build_encoder(Recipe(input=kind)).to(device).eval()
        for name, kind in (("RGB input", "rgb"), ("high-pass input", "high-pass"))
    }
    return {
        **{name: _reader(encoder, device) for name, encoder in untrained.items()},
        "six pixel statistics": probes.pixel_statistics,
    }


def _reader(encoder: Encoder, device: torch.device) -> Represent:
    return lambda lr: encoder(lr.to(device))[0]


class Study:
    """Every recipe trained and examined, a file each in a folder; what is there is not done again.

    train_on, held_out, test: (name, picture) pairs. noisy: §4.3's anisotropic kernels with noise
    instead of §4.2's isotropic ones.
    """

    def __init__(
        self,
        folder: str | Path,
        profile: Profile,
        images: tuple[Pictures, Pictures],
        test: Pictures,
        noisy: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.folder, self.noisy, self.seed = Path(folder), noisy, seed
        self.device = torch.device(device)
        self.plan = schedule(profile)
        self.provenance = provenance.describe(self.device)
        self.space = DegradationSpace.anisotropic(4) if noisy else DegradationSpace.isotropic(4)
        self.recipes = NOISY_RECIPES if noisy else RECIPES
        self.train_on, self.held_out, self.test = images[0], images[1], test

    def _path(self, name: str) -> Path:
        slug = "-".join("".join(c if c.isalnum() else " " for c in name).split())
        return self.folder / f"{'noisy' if self.noisy else 'isotropic'}-{self.seed}-{slug}.json"

    def _settings(self, name: str) -> dict[str, Any]:
        recipe = self.recipes.get(name)
        settings = {
            "name": name,
            "recipe": asdict(recipe) if recipe else None,
            "schedule": asdict(self.plan) if recipe else None,
            "seed": self.seed,
        }
        read: dict[str, Any] = json.loads(json.dumps(settings))  # as a file has it: no tuples
        return read

    def _kept(self, name: str) -> dict[str, Any] | None:
        path = self._path(name)
        if not path.exists():
            return None
        row: dict[str, Any] = json.loads(path.read_text())
        settings = self._settings(name)
        if {key: row.get(key) for key in settings} != settings:
            raise ValueError(f"{path} holds a trial with other settings: remove it to do it anew")
        return row

    def run(
        self, minutes: float | None = None, progress: bool = True
    ) -> list[dict[str, Any]] | None:
        """Does what is missing; returns the rows, or None where the minutes were over before.

        Each row: name, recipe, schedule, seed, log, minutes, held_out and test (scores),
        provenance.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        baselines = _baselines(self.noisy, self.device)
        names = [*baselines, *self.recipes]
        rows = {name: row for name in names if (row := self._kept(name))}
        missing = [name for name in names if name not in rows]
        if not missing:
            return [rows[name] for name in names]
        patches = PatchPairs(self.train_on, 4 * self.plan.patch, self.device)
        exams = {
            "held_out": Examination(self.held_out, self.noisy),
            "test": Examination(self.test, self.noisy),
        }
        trials = sum(name in self.recipes for name in missing)
        with tqdm(total=trials * self.plan.stage.iterations, disable=not progress) as bar:
            for name in missing:
                if minutes is not None and time.monotonic() - started > minutes * 60:
                    return None
                bar.set_description(name)
                rows[name] = self._row(name, baselines.get(name), patches, exams, bar)
                with atomic_write(self._path(name)) as temporary:
                    temporary.write_text(json.dumps(rows[name], indent=1) + "\n")
        return [rows[name] for name in names]

    def _row(
        self,
        name: str,
        represent: Represent | None,
        patches: PatchPairs,
        exams: Mapping[str, Examination],
        bar: tqdm,
    ) -> dict[str, Any]:
        started = time.monotonic()
        log: list[dict[str, float]] = []
        if represent is None:
            encoder, log = train(self.recipes[name], self.plan, patches, self.space, self.seed, bar)
            represent = _reader(encoder, self.device)
        spent = (time.monotonic() - started) / 60
        with torch.inference_mode():
            scores = {exam: questions.of(represent) for exam, questions in exams.items()}
        found = {"log": log, "minutes": round(spent, 2), **scores, "provenance": self.provenance}
        return {**self._settings(name), **found}


def reproduce(
    profile: str, folder: str | Path, minutes: float | None = None, seed: int = 0
) -> dict[str, Any] | None:
    """Both studies, isotropic and noisy, as the figure wants them; None where the minutes were over
    before.

    Trains on the profile's pictures, and tests on B100; in the smoke profile on the samples.
    """
    chosen = profiles.get(profile)
    test = "samples" if profile == "smoke" else "B100"
    unseen = data.images(test)
    if profile == "smoke":  # corners, to be quick; three held out: the read-out of σ needs three
        unseen = [(name, picture[:, :96, :96]) for name, picture in unseen]
        images: tuple[Pictures, Pictures] = unseen[3:], unseen[:3]
    else:
        images = data.training_images(chosen)
    on = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started, found = time.monotonic(), {}
    for noisy in (False, True):
        left = None if minutes is None else minutes - (time.monotonic() - started) / 60
        study = Study(folder, chosen, images, unseen, noisy, seed, on)
        rows = study.run(left)
        if rows is None:
            return None
        found["noisy" if noisy else "isotropic"] = rows
    plan = schedule(chosen)
    return {
        **found,
        "batch": plan.stage.batch,
        "iterations": plan.stage.iterations,
        "queue": plan.queue_size,
        "chance": 1 / len(WIDTHS),
        "test": test,
        "held_out": f"{len(images[1])} held-out pictures of {chosen.data[0]}",
    }
