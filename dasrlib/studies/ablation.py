"""§4.2 The ablation: Models 1 to 5 under one budget of iterations, measured alike, over seeds.

The runs of a profile lie in one folder, each in MODEL-SEED. An iteration of stage 2 sees the same
patches and degradations in every model, for these come from the seed and the iteration alone.
Models 1 and 5 are in stage 2 from the start; the others first have stage 1, with its own batches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

import torch

from dasrlib import data, evaluation, network, paper, profiles, training, weights
from dasrlib.data import Pictures
from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Profile
from dasrlib.records.run_record import Curve, Measurement, RunRecord, mean_of
from dasrlib.studies.probe_set import ProbeSet
from dasrlib.systems import ABLATION, FULL_METHOD, MODELS

SCALE = 4
# What is restored, and what representations are read on.
BENCHMARK, PROBED = "Set14", "B100"
ORDER = sorted(ABLATION, key=lambda name: MODELS[name].turn or 0)
# (better, worse) as the paper claims them; Model 5 is only claimed to be at least as good.
CLAIMS = [
    (FULL_METHOD, name) if MODELS[name].claim == "worse" else (name, FULL_METHOD)
    for name in ABLATION
    if MODELS[name].claim
]


@dataclass(frozen=True)
class MeasuredRun:
    """What one finished run reaches, and how it was trained (§4.2)."""

    model: str
    seed: int
    psnr: Curve  # over Table 2's kernel widths
    ssim: Curve
    # Of the representation: k-NN accuracy of four widths ("knn"), R² of σ ("r2"). None: not blind.
    read: Mapping[str, float] | None
    held_out: Curve | None  # the last PSNR-Y on the pictures held out of the training
    curve: Sequence[tuple[int, float]]  # (iteration, mean held-out PSNR-Y) on the way there
    iterations: int
    minutes: float
    dtype: str
    provenance: Mapping[str, object]


@dataclass(frozen=True)
class ClaimOutcome:
    """One of the paper's orderings, and whether it came out."""

    better: str
    worse: str
    differences: Mapping[str, float]  # by seed, of the means over the widths, dB
    mean: float | None  # None where no seed has both models
    verdict: str


@dataclass(frozen=True)
class AblationData:
    """What plots.ablation.ablation draws (§4.2), as json by dataclasses.asdict."""

    dataset: str
    measured: Mapping[str, Curve]  # by system, the mean PSNR-Y of its runs
    printed: Mapping[str, Curve]  # the paper's rows for the dataset, by method, if it has any
    missing: Sequence[str]  # the models that are not trained yet
    claims: Sequence[ClaimOutcome]
    runs: Sequence[MeasuredRun]
    parameters: Mapping[str, int]  # by model


class Ablation:
    """The five models' runs for each seed, in a folder; what is finished there is not done again.

    profile: a name or a Profile. images: (training, held-out) pictures instead of the profile's.
    """

    def __init__(
        self,
        folder: str | Path,
        profile: str | Profile = "laptop",
        seeds: Sequence[int] = (0,),
        images: tuple[Pictures, Pictures] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must be different numbers, at least one, got {list(seeds)}")
        self.folder, self.seeds, self.images = Path(folder), list(seeds), images
        self.device, self.dtype = device, dtype
        self.profile = profiles.get(profile) if isinstance(profile, str) else profile
        self.space = DegradationSpace.isotropic(SCALE)

    def runs(self) -> list[tuple[str, int]]:
        """Every (model, seed), in the order in which they are trained."""
        return [(model, seed) for seed in self.seeds for model in ORDER]

    def path(self, model: str, seed: int) -> Path:
        """The folder of a run."""
        return self.folder / f"{model}-{seed}"

    def finished_record(self, model: str, seed: int) -> RunRecord | None:
        """How a finished run was trained, None for one that is not finished.

        Raises ValueError where the folder holds a run with other settings.
        """
        path = self.path(model, seed) / "weights.json"
        if not path.exists():
            return None
        record = RunRecord.read(path)
        asked = training.identity(model, self.profile, self.space, seed)
        training.require_same_settings(path.parent, vars(record), asked)
        return record

    def train(self, minutes: float | None = None, progress: bool = True) -> bool:
        """Trains what is not finished, from where it is; returns whether all of it is finished.

        minutes: stop cleanly, with a checkpoint, after so many minutes of this call.
        """
        started = time.monotonic()
        # All are looked at before one is trained: other settings are refused now, not in an hour.
        for model, seed in [run for run in self.runs() if self.finished_record(*run) is None]:
            left = None if minutes is None else minutes - (time.monotonic() - started) / 60
            if left is not None and left <= 0:
                return False
            if self.images is None:
                self.images = data.training_images(self.profile.data, self.profile.held_out)
            run = training.Run(
                self.path(model, seed), model, self.profile, SCALE, self.space, seed, self.images,
                self.device, self.dtype,
            )  # fmt: skip
            if progress:
                print(f"{model}, seed {seed}: iteration {run.iteration} of {run.iterations}")
            if not run.train(left, progress):
                return False
        return True

    def measure_runs(self, pictures: Pictures, probed: Pictures) -> list[MeasuredRun]:
        """What each finished run reaches over Table 2's kernel widths (§4.2).

        pictures: to restore. probed: to read representations on, at least 3.
        """
        probe_set = ProbeSet(probed, noisy=False)
        records = {run: self.finished_record(*run) for run in self.runs()}
        measured = []
        for (model, seed), record in records.items():
            if record is None:
                continue
            path = self.path(model, seed) / "weights.safetensors"
            trained = weights.load(path, self.device or "cpu")
            rows, validations = _benchmark(trained, pictures), record.validations
            measured.append(
                MeasuredRun(
                    model=model,
                    seed=seed,
                    psnr=_mean_curve(rows, "psnr", 3),
                    ssim=_mean_curve(rows, "ssim", 4),
                    read=_read(trained, probe_set),
                    held_out=validations[-1][1] if validations else None,
                    curve=[(at, round(mean_of(psnr), 4)) for at, psnr in validations],
                    iterations=record.log[-1]["iteration"],
                    minutes=record.minutes,
                    dtype=record.dtype,
                    provenance=record.provenance,
                )
            )
        return measured

    def figure_data(self) -> AblationData | None:
        """What the runs that are finished reach on the profile's test set; None for no run."""
        dataset, pictures = benchmark_pictures(self.profile)
        runs = self.measure_runs(pictures, probed_pictures(self.profile))
        if not runs:
            return None
        bicubic = _mean_curve(_benchmark(evaluation.Bicubic(SCALE), pictures), "psnr", 3)
        return summary(runs, dataset, bicubic, parameters(self.profile))


def _benchmark(system: evaluation.System, pictures: Pictures) -> list[Measurement[float]]:
    widths = evaluation.isotropic_degradations(SCALE, paper.kernel_widths(SCALE))
    return evaluation.benchmark(system, pictures, widths)


def _mean_curve(
    rows: Sequence[Measurement[float]], column: Literal["psnr", "ssim"], digits: int
) -> Curve:
    means = evaluation.mean_by_degradation(rows, column)
    return [(width, round(value, digits)) for width, value in means.items()]


def parameters(profile: Profile) -> dict[str, int]:
    """How many parameters each model of the ablation has in a profile's sizes (§4.2)."""
    with torch.device("meta"):  # shapes without numbers are enough to count
        return {
            model: network.parameter_count(network.build_for_profile(model, SCALE, profile))
            for model in ABLATION
        }


def _read(model: network.BlindSR, probe_set: ProbeSet) -> Mapping[str, float] | None:
    if model.needs != "nothing":
        return None
    device = evaluation.device_of(model)
    scores = probe_set.score(lambda lr: model.represent(lr.to(device)))
    return {"knn": scores["width"], "r2": scores["width r2"]}


def claims(runs: Sequence[MeasuredRun]) -> list[ClaimOutcome]:
    """Each of the paper's orderings, and whether it came out (§4.2).

    One seed can only say what it saw: two trainings of one model differ too.
    """
    means = {(run.model, run.seed): mean_of(run.psnr) for run in runs}
    found = []
    for better, worse in CLAIMS:
        seeds = [s for m, s in means if m == better and (worse, s) in means]
        by_seed = {str(s): round(means[better, s] - means[worse, s], 3) for s in seeds}
        differences = list(by_seed.values())
        mean = round(fmean(differences), 3) if differences else None
        verdict = _verdict(differences, tie=better != FULL_METHOD)
        found.append(ClaimOutcome(better, worse, by_seed, mean, verdict))
    return found


def _verdict(differences: Sequence[float], tie: bool) -> str:
    """tie: whether the claim is of at least as good, which a difference of 0 is."""
    if not differences:
        return "not stated: a model is not trained"
    signs = {difference > 0 or (tie and difference == 0) for difference in differences}
    if len(signs) == 2:
        return f"undecided: {len(differences)} seeds disagree"
    outcome = "came out" if signs == {True} else "did not come out"
    return f"{outcome}, {len(differences)} seed{'s' if len(differences) > 1 else ''}"


def summary(
    runs: Sequence[MeasuredRun], dataset: str, bicubic: Curve, parameters: Mapping[str, int]
) -> AblationData:
    """The runs on a dataset, their means over seeds, the claims, and the paper's rows (§4.2)."""
    measured = {"bicubic": bicubic}
    for model in ABLATION:
        curves = [run.psnr for run in runs if run.model == model]
        if curves:
            measured[model] = [
                (points[0][0], round(mean_of(points), 3)) for points in zip(*curves, strict=True)
            ]
    printed = {method: paper.table2(SCALE)[method] for method in ("Bicubic", "DASR")}
    return AblationData(
        dataset=dataset,
        measured=measured,
        printed={
            method: list(rows[dataset].items())
            for method, rows in printed.items()
            if dataset in rows
        },
        missing=[model for model in ABLATION if model not in measured],
        claims=claims(runs),
        runs=runs,
        parameters=parameters,
    )


def require_test_sets(profile: Profile) -> None:
    """Raises FileNotFoundError for a test set that is not on this machine, before the training."""
    if not profile.is_plumbing:
        for name in (BENCHMARK, PROBED):
            data.paths(name)


def benchmark_pictures(profile: Profile) -> tuple[str, Pictures]:
    """Set14; in the smoke profile small crops of two samples, whose numbers mean nothing."""
    if profile.is_plumbing:
        return "tiny corners", _corners(2)
    return BENCHMARK, data.images(BENCHMARK)


def probed_pictures(profile: Profile) -> Pictures:
    """B100; in the smoke profile small crops of three samples, as many as a read-out of σ needs."""
    return _corners(3) if profile.is_plumbing else data.images(PROBED)


def _corners(count: int) -> Pictures:
    return [(name, image[:, :64, :64]) for name, image in data.images("samples", count)]
