"""§4.1 Training in two stages: the encoder alone on L_degrad, then everything on L_SR + L_degrad.

The random numbers of iteration i come from (seed, i) alone, so that a run that was cut and resumed
ends where an uncut one does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from dasrlib import errors, estimates, profiles, weights
from dasrlib.acceleration.devices import fastest_dtype, fastest_layout, here
from dasrlib.baselines import Baseline
from dasrlib.baselines.ikc import IKC
from dasrlib.baselines.predictor import Predictor
from dasrlib.data import Pictures
from dasrlib.degradation import DegradationSpace
from dasrlib.network import BlindSR
from dasrlib.profiles import Profile
from dasrlib.records import provenance
from dasrlib.records.run_record import LogRow, Readout, RunRecord
from dasrlib.representation import ContrastiveLearner, Encoder
from dasrlib.systems import MODELS
from dasrlib.training import processes
from dasrlib.training.baseline_step import BaselineStep
from dasrlib.training.checkpoint import (
    Checkpoints,
    deferred_interrupt,
    full_disk_told,
    locked,
)
from dasrlib.training.cuda_graph import CudaGraphStep
from dasrlib.training.log import Log
from dasrlib.training.patches import PatchPairs
from dasrlib.training.pictures import RunPictures, require_same_pictures
from dasrlib.training.settings import identity, require_same_settings
from dasrlib.training.step import (
    AdamStep,
    Batch,
    Losses,
    LossMeter,
    Step,
    sample_batch,
    train_stage,
)
from dasrlib.training.trained_systems import (
    parts_identity,
    profile_for,
    take_over,
    untrained,
)
from dasrlib.training.validation import (
    held_out_code_error,
    held_out_psnr,
    validation_degradations,
)

LOG_EVERY = 25  # iterations; the log holds means over them


class Run:
    """One training run in its folder: what to train, on what, and how far it is (§4.1).

    Args:
        folder: of its checkpoint, log and weights; a run that is there is resumed.
        model: "model1" to "model5", or a name of baselines.TRAINED (§4.2).
        profile: a name, with a baseline's own schedule, or a Profile, whose schedule it is then.
        scale: 2, 3 or 4.
        space: the degradations; by default the isotropic ones of the scale. A baseline trains on
            those of them that it assumes, and is measured under all.
        seed: of the weights, the patches and the degradations.
        images: (training, held-out) pictures instead of the profile's: of any sizes, uint8 or
            floats in [0, 1]. Those that are too small are skipped, and a warning counts them.
        device: by default a GPU where there is one.
        dtype: of the autocast; by default the one that the run began with, or the fastest one.
        graph: on a GPU, capture the iteration of a DASR network as a CUDA graph.
        sftmd: the trained SFTMD that "ikc" is trained around: a name of weights, or a file.
        predictor: a trained Predictor that the one of "ikc" starts from; else it starts anew.

    The processes that torchrun starts share each batch of a DASR network (see processes); the first
    of them writes.

    Raises:
        ValueError: the folder holds another run, or the settings do not fit together.
    """

    def __init__(
        self,
        folder: str | Path,
        model: str = "model4",
        profile: str | Profile = "laptop",
        scale: int = 4,
        space: DegradationSpace | None = None,
        seed: int = 0,
        images: tuple[Pictures, Pictures] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        graph: bool = True,
        sftmd: str | Path | None = None,
        predictor: str | Path | None = None,
    ) -> None:
        self.folder, self.seed = Path(folder), seed
        errors.check_number("seed", seed, at_least=0, whole=True)
        self.checkpoints, self._log = Checkpoints(self.folder), Log(self.folder)
        self.log_path = self._log.path
        self.space = space or DegradationSpace.isotropic(scale)
        chosen = profile_for(model, profile) if isinstance(profile, str) else profile
        # A baseline learns no representation: each of its pictures and noise levels is its own.
        self.profile = profiles.for_space(chosen, self.space) if model in MODELS else chosen
        if self.space.scale != scale:
            raise ValueError(
                f"the degradations are of scale {self.space.scale}, the model of {scale}"
            )
        self.processes = processes.started()
        self.device = torch.device(device or here())
        if self.device.type == "cuda" and self.processes.count > 1:
            self.device = self.processes.fabric.device
        # The commit at the start: HEAD may move while the run goes on.
        self.provenance = provenance.describe(self.device)
        if self.processes.count > 1:
            self.provenance["processes"] = self.processes.count
        self.graph = graph and self.device.type == "cuda" and model in MODELS
        self.graph = self.graph and self.processes.count == 1
        self.identity = identity(model, self.profile, self.space, seed)
        self.identity |= parts_identity(model, sftmd, predictor)
        self.dtype = dtype or fastest_dtype(self.device)
        stored = self._read_checkpoint(dtype)
        # The run's weights come from its seed; the caller's random state stays as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            built = untrained(model, self.profile, self.space)
            if isinstance(built, IKC) and sftmd is not None:
                take_over(built, sftmd, predictor)
            self.model: BlindSR | Baseline = built.to(self.device)
            self.model.to(memory_format=fastest_layout(self.device))  # type: ignore[call-overload]
            self.learner: ContrastiveLearner | None = None
            if isinstance(built, BlindSR) and built.variant.contrastive:
                assert isinstance(built.encoder, Encoder)
                self.learner = ContrastiveLearner(built.encoder, self.profile.recipe)
                self.learner.to(self.device)
                if self.processes.count > 1:
                    self.learner.gather = self.processes.gather
                self.processes.share_batchnorm(self.learner)
            self.processes.share_batchnorm(self.model)
        self.training_space = self.space
        if isinstance(built, Baseline):
            self.training_space = built.training_space(self.space)
        self.stages = self.profile.stage1, self.profile.stage2
        self.iterations = sum(stage.iterations for stage in self.stages)
        # Without a stage 1, stage 2 gets its iterations (§4.2).
        if self.learner is None and not getattr(built, "has_two_stages", False):
            first, second = self.stages
            self.stages = replace(first, iterations=0), replace(second, iterations=self.iterations)
        self._require_equal_parts()
        self.step: AdamStep | None = None
        self.iteration, self.minutes, self.losses = 0, 0.0, LossMeter(self.device)
        self.sittings: list[dict[str, Any]] = []  # one for each call of `train`

        chosen_pictures = RunPictures.chosen(images, self.profile, scale)
        self.pictures, self.checksums = chosen_pictures.description, chosen_pictures.checksums
        if stored:
            asked = {"pictures": self.pictures, "checksums": self.checksums}
            require_same_pictures(self.folder, stored, asked)
        self.patches = PatchPairs(chosen_pictures.train, self.profile.patch * scale, self.device)
        self.held_out, self.readout_pictures = chosen_pictures.held_out, chosen_pictures.readout
        if stored:
            self._resume(stored)

    def _require_equal_parts(self) -> None:
        count = self.processes.count
        if count > 1 and isinstance(self.model, Baseline):
            raise ValueError(
                f"{self.model.name} is trained by one process, not by {count}: start it without "
                "torchrun"
            )
        for batch in {stage.batch for stage in self.stages if stage.iterations}:
            if batch % count:
                raise ValueError(f"{count} processes cannot share a batch of {batch} equally")

    def _new_step(self, stage: int) -> AdamStep:
        """A fresh step of stage 1 or 2, with an optimizer of its own."""
        if isinstance(self.model, Baseline):
            return BaselineStep(self.model.in_stage(stage), self.dtype)
        kind = CudaGraphStep if self.graph else Step
        model = self.model if stage == 2 else None
        return kind(self.learner, model, self.dtype, self.processes)

    def save_checkpoint(self) -> None:
        """Everything that resuming needs, written whole or not at all.

        Raises FloatingPointError, and leaves the last one, where a loss was NaN or infinite.
        """
        state = {
            "identity": json.dumps(self.identity),
            "pictures": self.pictures,
            "checksums": self.checksums,
            "sittings": json.dumps(self.sittings),
            "dtype": str(self.dtype),
            "model": self.model.state_dict(),
            "learner": self.learner.state_dict() if self.learner else None,
            "optimizer": self.step.optimizer.state_dict() if self.step else None,
            "iteration": self.iteration,
            "minutes": self.minutes,
            "losses": self.losses.state(self.iteration),
        }
        if not self.processes.rank:
            self.checkpoints.write(state)

    def _read_checkpoint(self, asked: torch.dtype | None) -> dict[str, Any] | None:
        """The checkpoint, whose dtype becomes the run's; None where there is none."""
        state = self.checkpoints.read(self.device)
        if state is None:
            return None
        require_same_settings(self.folder, state["identity"], self.identity)
        self.dtype = getattr(torch, state["dtype"].removeprefix("torch."))
        if asked not in (None, self.dtype):
            raise ValueError(
                f"{self.folder} holds a run in {self.dtype}, not in {asked}: "
                "leave the dtype out to go on, or choose another folder"
            )
        return state

    def _resume(self, state: dict[str, Any]) -> None:
        self.iteration, self.minutes = state["iteration"], state["minutes"]
        self.sittings = json.loads(state.get("sittings", "[]"))
        self.losses = LossMeter(self.device, state["losses"])
        self.model.load_state_dict(state["model"])
        if self.learner:
            self.learner.load_state_dict(state["learner"])
        if state["optimizer"]:
            self.step = self._new_step(1 if self.iteration <= self.stages[0].iterations else 2)
            self.step.resume(state["optimizer"])

    def log(self) -> list[LogRow]:
        """The log so far: means of the losses over 25 iterations, held-out PSNR now and then."""
        return self._log.rows()

    def _sample_batch(self, batch: int, iteration: int) -> Batch:
        space, recipe = self.training_space, self.profile.recipe
        part = self.processes.part_of(batch)
        return sample_batch(self.patches, space, self.seed, recipe, batch, iteration, part)

    def iterate(self) -> Iterator[Losses]:
        """Trains what is left of stage 1, then of stage 2; yields each iteration's losses."""
        before = 0
        for number, stage in enumerate(self.stages, start=1):
            done = self.iteration - before
            if done < stage.iterations:
                if self.step is None or done == 0:
                    self.step = self._new_step(number)
                for losses in train_stage(self.step, stage, self._sample_batch, done, before):
                    self.iteration += 1
                    yield losses
            before += stage.iterations

    def validate(self) -> dict[str, float]:
        """Mean PSNR-Y on the held-out pictures, for each of validation_degradations.

        Of the Predictor, which makes no picture, the mean error of its code.
        """
        degradations = validation_degradations(self.space)
        if isinstance(self.model, Predictor):
            return held_out_code_error(self.model, self.held_out, degradations)
        return held_out_psnr(self.model, self.held_out, degradations)

    def train(self, minutes: float | None = None, progress: bool = True) -> bool:
        """Trains on from where the run is; returns whether it came to its end.

        minutes: stop cleanly, with a checkpoint, after this many minutes of this call. An interrupt
        (Ctrl-C, or a machine that shuts down) ends the iteration and leaves a checkpoint; a second
        one does not wait. Raises RuntimeError where another process trains in the folder.
        """
        if minutes is not None:
            errors.check_number("minutes", minutes, at_least=0)
        if self.processes.rank:  # the first process alone writes
            return self._train(minutes, progress=False)
        with locked(self.folder):
            try:
                return self._train(minutes, progress)
            finally:
                self._log.end()

    def _train(self, minutes: float | None, progress: bool) -> bool:
        finished = self.folder / "weights.json"
        if self.iteration == self.iterations and finished.exists():
            return True  # its record is that of the machine that trained it
        if progress:
            print(self.description, file=sys.stderr)  # where the bar is
        if not self.processes.rank:
            with full_disk_told(self.folder):
                self._log.begin(self.iteration)
        before, begun, earlier = self.minutes, self.iteration, self.sittings
        started = time.monotonic()
        saved, iterations = started, self.iterate()
        bar = tqdm(total=self.iterations, initial=self.iteration, disable=not progress, unit="it")
        with bar, self.processes.loss_told(), deferred_interrupt() as interrupted:
            while self.iteration < self.iterations:
                over = minutes is not None and time.monotonic() - started > minutes * 60
                if self.processes.any(over or bool(interrupted)):
                    break
                self.losses.add(next(iterations))
                now = (time.monotonic() - started) / 60
                self.minutes = before + now
                sitting = {"iterations": [begun, self.iteration], "minutes": round(now, 2)}
                self.sittings = [*earlier, sitting | self.provenance]
                bar.update()
                self._log_when_due(bar)
                if time.monotonic() - saved > self.profile.checkpoint_minutes * 60:
                    self.save_checkpoint()
                    saved = time.monotonic()
            # Not in a `finally`: what breaks off an iteration leaves it half done, and the last
            # checkpoint is a whole one.
            self.save_checkpoint()
        if interrupted:
            raise KeyboardInterrupt
        if self.iteration < self.iterations:
            return False
        if self.processes.rank:
            return True
        record = RunRecord(
            **self.identity,
            minutes=round(self.minutes, 2),
            dtype=str(self.dtype).removeprefix("torch."),
            provenance=self.provenance,
            log=self.log(),
            readout=self._readout(),
            pictures=self.pictures,
            sittings=self.sittings,
        )
        with full_disk_told(self.folder):
            weights.save(self.model, self.folder / "weights.safetensors", record)
        return True

    @property
    def description(self) -> str:
        """A line that says what the run does: network, profile, seed, pictures, device, dtype."""
        done = f", {self.iteration} done" if self.iteration else ""
        count = self.processes.count
        return (
            f"{self.identity['model']} ×{self.space.scale}, profile {self.profile.name}, seed "
            f"{self.seed}: {self.iterations} iterations{done}, {self.pictures['count']} pictures "
            f"({len(self.held_out)} held out), {self.provenance['device']}, "
            f"{str(self.dtype).removeprefix('torch.')}"
            + (f", {count} processes" if count > 1 else "")
        )

    def _readout(self) -> Readout | None:
        """Fitted on some of the training pictures, where there was noise to read."""
        model = self.model
        if not self.space.noise or not isinstance(model, BlindSR):
            return None
        if not isinstance(model.encoder, Encoder):
            return None
        model.eval()
        return estimates.fit(model, (self.readout_pictures, self.held_out), self.space)

    def _log_when_due(self, bar: tqdm) -> None:
        first = self.stages[0].iterations
        last = self.iteration in (first, self.iterations)
        in_stage2 = self.iteration > first
        due = in_stage2 and ((self.iteration - first) % self.profile.validate_every == 0 or last)
        if not (due or last or self.iteration % LOG_EVERY == 0):
            return
        means = self.losses.means(self.iteration)
        if self.processes.rank:
            return
        shown = {"contrastive": self.learner is not None, "sr": in_stage2}
        losses = {name: round(means[name], 5) for name, trained in shown.items() if trained}
        if isinstance(self.model, Baseline):  # no unit that all have; the Predictor's are small
            losses = {"loss": float(f"{means['sr']:.5g}")}
        row: LogRow = {
            "iteration": self.iteration,
            "stage": 2 if in_stage2 else 1,
            "minutes": round(self.minutes, 3),
            **losses,  # type: ignore[typeddict-item]
        }
        if due:
            found = self.validate()
            if isinstance(self.model, Predictor):
                row["code_error"] = {k: float(f"{error:.4g}") for k, error in found.items()}
            else:
                row["psnr"] = {label: round(db, 3) for label, db in found.items()}
        with full_disk_told(self.folder):
            self._log.add(row)
        bar.set_postfix(losses)
