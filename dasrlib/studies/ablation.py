"""§4.2 The ablation: Models 1 to 5 under one budget of iterations, measured alike, over seeds.

The runs of a profile lie in one folder, each in MODEL-SEED. An iteration of stage 2 sees the same
patches and degradations in every model, for these come from the seed and the iteration alone.
Models 1 and 5 are in stage 2 from the start; the others first have stage 1, with its own batches.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dasrlib import data, evaluation, network, paper, profiles, training, weights
from dasrlib.data import Pictures
from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Profile
from dasrlib.studies.probe_set import ProbeSet

Row = dict[str, Any]

SCALE = 4
# What is restored, and what representations are read on.
BENCHMARK, PROBED = "Set14", "B100"
# The full method first: where the time ends early, what is there says the most.
ORDER = ("model4", "model1", "model5", "model2", "model3")
# What the paper claims: the first is better than the second; Model 5 at least as good as Model 4.
CLAIMS = (("model4", "model1"), ("model4", "model2"), ("model4", "model3"), ("model5", "model4"))


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
        self.folder, self.seeds, self.device = Path(folder), list(seeds), device
        self.dtype = dtype
        self.profile = profiles.get(profile) if isinstance(profile, str) else profile
        self.space = DegradationSpace.isotropic(SCALE)
        self.images = images

    def runs(self) -> list[tuple[str, int]]:
        """Every (model, seed), in the order in which they are trained."""
        return [(model, seed) for seed in self.seeds for model in ORDER]

    def path(self, model: str, seed: int) -> Path:
        """Where a run lies."""
        return self.folder / f"{model}-{seed}"

    def record(self, model: str, seed: int) -> Row | None:
        """How a finished run was trained, None for one that is not finished.

        Raises ValueError where the folder holds a run with other settings.
        """
        path = self.path(model, seed) / "weights.json"
        if not path.exists():
            return None
        record: Row = json.loads(path.read_text())
        asked = training.identity(model, self.profile, self.space, seed)
        training.require_same_settings(path.parent, record, asked)
        return record

    def train(self, minutes: float | None = None, progress: bool = True) -> bool:
        """Trains what is not finished, from where it is; returns whether all of it is finished.

        minutes: stop cleanly, with a checkpoint, after so many minutes of this call.
        """
        started = time.monotonic()
        # All are looked at before one is trained: other settings are refused now, not in an hour.
        for model, seed in [run for run in self.runs() if self.record(*run) is None]:
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

    def measure(self, pictures: Pictures, probed: Pictures) -> list[Row]:
        """What each finished run reaches: PSNR-Y (dB) and SSIM-Y over Table 2's kernel widths.

        pictures: to restore. probed: to read representations on, at least 3. Rows: model, seed,
        psnr and ssim in the order of the widths; read, how well four widths are told apart by the
        representation (k-NN accuracy) and σ is read off it (R²), None for Model 5, which is told;
        iterations, minutes, dtype and provenance of the training; held_out, the last PSNR on the
        pictures held out of it; curve, (iteration, its mean over the widths) on the way there.
        """
        degradations = evaluation.isotropic_grid(SCALE, paper.kernel_widths(SCALE))
        probe_set = ProbeSet(probed, noisy=False)
        rows = []
        for model, seed in self.runs():
            record = self.record(model, seed)
            if record is None:
                continue
            trained = weights.load(
                self.path(model, seed) / "weights.safetensors", self.device or "cpu"
            )
            table = evaluation.benchmark(trained, pictures, degradations)
            held_out = [line["psnr"] for line in record["log"] if "psnr" in line]
            at = [line["iteration"] for line in record["log"] if "psnr" in line]
            means = [round(_mean(list(psnr.values())), 4) for psnr in held_out]
            rows.append(
                {
                    "model": model,
                    "seed": seed,
                    "psnr": _rounded(evaluation.mean(table), 3),
                    "ssim": _rounded(evaluation.mean(table, "ssim_y"), 4),
                    "read": _read(trained, probe_set),
                    "held_out": held_out[-1] if held_out else None,
                    "curve": [list(point) for point in zip(at, means, strict=True)],
                    "iterations": record["log"][-1]["iteration"],
                    "minutes": record["minutes"],
                    "dtype": record["dtype"],
                    "provenance": record["provenance"],
                }
            )
        return rows

    def results(self) -> Row | None:
        """What plots.ablation.ablation draws, of the runs that are finished; None for none."""
        dataset, pictures = benchmark_pictures(self.profile)
        rows = self.measure(pictures, probed_pictures(self.profile))
        if not rows:
            return None
        degradations = evaluation.isotropic_grid(SCALE, paper.kernel_widths(SCALE))
        plain = evaluation.benchmark(evaluation.bicubic(SCALE), pictures, degradations)
        found = summary(rows, dataset, _rounded(evaluation.mean(plain), 3))
        return {**found, "parameters": parameters(self.profile)}


def parameters(profile: Profile) -> dict[str, int]:
    """How many parameters each of the five models has in a profile's sizes (§4.2)."""
    with torch.device("meta"):  # shapes without numbers are enough to count
        return {
            model: network.parameter_count(network.build_for_profile(model, SCALE, profile))
            for model in network.MODELS
        }


@torch.inference_mode()
def _read(model: network.BlindSR, probe_set: ProbeSet) -> Row | None:
    if not model.blind:
        return None
    device = evaluation.device_of(model)
    scores = probe_set.score(lambda lr: model.represent(lr.to(device)))
    return {"knn": scores["width"], "r2": scores["width r2"]}


def _rounded(means: Mapping[str, float], digits: int) -> list[float]:
    return [round(value, digits) for value in means.values()]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def claims(rows: Sequence[Row]) -> list[Row]:
    """Each of the paper's orderings, and whether it came out (§4.2).

    rows: of Ablation.measure. Returns better, worse, differences (by seed, of the means over the
    widths, dB), mean (None where no seed has both) and verdict, in words. One seed can only say
    what it saw: two trainings of one model differ too.
    """
    means = {(row["model"], row["seed"]): _mean(row["psnr"]) for row in rows}
    found = []
    for better, worse in CLAIMS:
        seeds = [s for m, s in means if m == better and (worse, s) in means]
        by_seed = {seed: round(means[better, seed] - means[worse, seed], 3) for seed in seeds}
        found.append(
            {
                "better": better,
                "worse": worse,
                "differences": {str(seed): value for seed, value in by_seed.items()},
                "mean": round(_mean(list(by_seed.values())), 3) if by_seed else None,
                "verdict": _verdict(list(by_seed.values()), tie=better == "model5"),
            }
        )
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


def summary(rows: Sequence[Row], dataset: str, bicubic: Sequence[float]) -> Row:
    """What plots.ablation.ablation draws: rows of Ablation.measure, their means over the seeds, the
    claims, and the printed rows where the dataset has them (§4.2).

    bicubic: PSNR-Y of plain enlargement over the same widths, dB.
    """
    widths = paper.kernel_widths(SCALE)
    measured = {"bicubic": list(bicubic)}
    for model in network.MODELS:
        of_model = [row["psnr"] for row in rows if row["model"] == model]
        if of_model:
            measured[model] = [round(_mean(column), 3) for column in zip(*of_model, strict=True)]
    printed = paper.table2(SCALE)
    of_paper = {m: list(printed[m][dataset].values()) for m in ("Bicubic", "DASR")
                if dataset in printed[m]}  # fmt: skip
    return {
        "dataset": dataset,
        "widths": [f"{width:g}" for width in widths],
        "measured": measured,
        "printed": of_paper,
        "missing": [model for model in network.MODELS if model not in measured],
        "claims": claims(rows),
        "runs": list(rows),
    }


def require_test_sets(profile: Profile) -> None:
    """Raises FileNotFoundError where a test set is not on this machine: before the training, not
    after."""
    if not profile.is_plumbing:
        for name in (BENCHMARK, PROBED):
            data.paths(name)


def benchmark_pictures(profile: Profile) -> tuple[str, Pictures]:
    """Set14; in the smoke profile small crops of two samples, whose numbers mean nothing."""
    if not profile.is_plumbing:
        return BENCHMARK, data.images(BENCHMARK)
    return "tiny corners", [(name, image[:, :64, :64]) for name, image in data.images("samples", 2)]


def probed_pictures(profile: Profile) -> Pictures:
    """B100; in the smoke profile small crops of three samples, as many as a read-out of σ needs."""
    if not profile.is_plumbing:
        return data.images(PROBED)
    return [(name, image[:, :64, :64]) for name, image in data.images("samples", 3)]
