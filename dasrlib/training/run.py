"""§4.1 Training in two stages: the encoder alone on L_degrad, then everything on L_SR + L_degrad.

A run lives in a folder: checkpoint.pt, log.jsonl (the loss curves, as they grow) and, at its end,
weights.safetensors with weights.json. The random numbers of iteration i come from (seed, i) alone,
so that a run that was cut and resumed ends where an uncut one does.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dasrlib import data, evaluation, paper, profiles, weights
from dasrlib.acceleration.devices import fastest_dtype, fastest_layout, moved
from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import DegradationSpace, degrade
from dasrlib.network import MODELS, of_profile
from dasrlib.profiles import Profile, Stage, learning_rate
from dasrlib.records import provenance
from dasrlib.records.atomic_write import atomic_write
from dasrlib.representation import Encoder, InBatch, MoCo
from dasrlib.training.cuda_graph import Recorded
from dasrlib.training.patches import PatchPairs
from dasrlib.training.step import Batch, Losses, Step

LOG_EVERY = 25  # iterations; the log holds means over them
VALIDATION_CROP = 192  # HR pixels


@contextmanager
def _interrupt_noted() -> Iterator[list[int]]:
    """Ctrl-C is noted in the list, so that an iteration is never cut; a second one is obeyed."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    before = signal.getsignal(signal.SIGINT)
    # Only the main thread may handle signals, and a job that was told to ignore them goes on so.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield noted
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


class Run:
    """One training run in its folder: what to train, on what, and how far it is.

    profile: a name or a Profile. space: the degradations, by default the isotropic ones of the
    scale. images: (training, held-out) pictures instead of the profile's. dtype: of the autocast,
    by default the fastest one, or the one that the run began with. graph: on a GPU, record the
    iteration as a CUDA graph. Raises ValueError where the folder holds another run.
    """

    def __init__(
        self,
        folder: str | Path,
        model: str = "model4",
        profile: str | Profile = "laptop",
        scale: int = 4,
        space: DegradationSpace | None = None,
        seed: int = 0,
        images: tuple[Sequence[tuple[str, Tensor]], Sequence[tuple[str, Tensor]]] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        graph: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.profile = profiles.get(profile) if isinstance(profile, str) else profile
        self.space = space or DegradationSpace.isotropic(scale)
        if self.space.scale != scale:
            raise ValueError(
                f"the degradations are of scale {self.space.scale}, the model of {scale}"
            )
        self.seed = seed
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        # Read now: the code that runs is the code of now, whatever is committed meanwhile.
        self.provenance = provenance.describe(self.device)
        self.graph = graph and self.device.type == "cuda"
        stored = self._stored()
        begun_in = getattr(torch, stored["dtype"].removeprefix("torch.")) if stored else None
        self.dtype = dtype or begun_in or fastest_dtype(self.device)
        torch.manual_seed(seed)
        built = of_profile(model, scale, self.profile)
        if self.profile.start_as_enlargement:
            built.sr.start_as_enlargement()
        self.model = built.to(self.device)
        self.layout = fastest_layout(self.device)
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.contrast = self._contrast().to(self.device) if MODELS[model].contrastive else None
        self.stages = self._stages()
        self.step: Step | None = None
        self.iteration, self.minutes, self.losses = 0, 0.0, Losses(self.device)

        train, held_out = images or data.training_images(self.profile)
        self.patches = PatchPairs(train, self.profile.patch * scale, self.device)
        smallest = 2 * scale + 11  # what SSIM's window needs after shaving
        for name, image in held_out:
            if min(image.shape[-2:]) < smallest:
                raise ValueError(
                    f"the held-out picture {name} is {image.shape[-2]}×{image.shape[-1]}, "
                    f"too small to measure: each side must be at least {smallest} pixels"
                )
        self.held_out = [
            (name, crop_to_multiple(centre_crop(image, VALIDATION_CROP), scale))
            for name, image in held_out
        ]
        if stored:
            self._resume(stored)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def log_path(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def iterations(self) -> int:
        return sum(stage.iterations for stage in self.stages)

    def _contrast(self) -> MoCo | InBatch:
        encoder = self.model.encoder
        assert isinstance(encoder, Encoder)
        p = self.profile
        if p.recipe == "moco":
            return MoCo(encoder, p.queue_size, p.momentum, p.temperature)
        return InBatch(encoder, p.temperature)

    def _stages(self) -> tuple[Stage, Stage]:
        """Without a contrastive loss there is no stage 1, and stage 2 gets its iterations
        (§4.2)."""
        first, second = self.profile.stage1, self.profile.stage2
        if self.contrast is None:
            extra = first.iterations
            return replace(first, iterations=0), replace(
                second, iterations=second.iterations + extra
            )
        return first, second

    def _identity(self) -> dict[str, Any]:
        return identity(self.model.model, self.profile, self.space, self.seed)

    def _stage(self, number: int) -> Step:
        """A fresh step, with its optimizer and its recording to be made."""
        kind = Recorded if self.graph else Step
        return kind(self.model, self.contrast, number == 2, self.dtype)

    def save_checkpoint(self) -> None:
        """Everything that resuming needs, written whole or not at all.

        Raises FloatingPointError, and leaves the last one, where the losses are no numbers.
        """
        losses = self.losses.read(self.iteration)
        state = {
            "identity": json.dumps(self._identity(), sort_keys=True),
            "dtype": str(self.dtype),
            "model": self.model.state_dict(),
            "contrast": self.contrast.state_dict() if self.contrast else None,
            "optimizer": self.step.optimizer.state_dict() if self.step else None,
            "iteration": self.iteration,
            "minutes": self.minutes,
            "losses": losses,
        }
        with atomic_write(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def _stored(self) -> dict[str, Any] | None:
        if not self.checkpoint.exists():
            return None
        return torch.load(self.checkpoint, map_location=self.device, weights_only=True)

    def _resume(self, state: dict[str, Any]) -> None:
        if state["identity"] != json.dumps(self._identity(), sort_keys=True):
            raise ValueError(
                f"{self.folder} holds a run with other settings: "
                "choose another folder, or remove it to start anew"
            )
        if state["dtype"] != str(self.dtype):
            raise ValueError(
                f"{self.folder} holds a run in {state['dtype']}, not in {self.dtype}: "
                "leave the dtype out to go on, or choose another folder"
            )
        self.iteration, self.minutes = state["iteration"], state["minutes"]
        self.losses = Losses(self.device, **state["losses"])
        self.model.load_state_dict(state["model"])
        if self.contrast:
            self.contrast.load_state_dict(state["contrast"])
        if state["optimizer"]:
            self.step = self._stage(1 if self.iteration <= self.stages[0].iterations else 2)
            self.step.resume(state["optimizer"])
        kept = [record for record in self.log() if record["iteration"] <= self.iteration]
        with atomic_write(self.log_path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))

    def log(self) -> list[dict[str, Any]]:
        """The log so far: means of the losses over 25 iterations each, and held-out PSNR now and
        then."""
        if not self.log_path.exists():
            return []
        # A line without its end was being written when the machine stopped.
        whole, _, _ = self.log_path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def _write_log(self, record: dict[str, Any]) -> None:
        with self.log_path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _draw(self, batch: int) -> Batch:
        """The iteration's patches, degraded: from (seed, iteration) alone, on the device."""
        seed = self.seed * 1_000_003 + self.iteration
        generator = torch.Generator().manual_seed(seed)
        hr = self.patches.sample(batch, generator)  # (B, 2, 3, sP, sP)
        degradations = self.space.sample(batch, generator)
        # Noise is many numbers: drawn where they are needed.
        cuda = self.device.type == "cuda"
        noise = torch.Generator(self.device).manual_seed(seed) if cuda else generator
        # Both patches of a picture share its degradation: that is what makes them positives.
        lr = degrade(hr.flatten(0, 1), degradations.repeat_interleave(2), noise)
        query, key = (lr[first::2].contiguous(memory_format=self.layout) for first in (0, 1))
        return Batch(query, key, hr[:, 0], moved(degradations.code, self.device))

    def _step(self) -> tuple[Tensor, Tensor]:
        """One iteration; returns L_SR on the 0..255 scale and L_degrad, 0 where there is none."""
        s1, s2 = self.stages
        in_stage1 = self.iteration < s1.iterations
        stage, at = (s1, self.iteration) if in_stage1 else (s2, self.iteration - s1.iterations)
        if self.step is None or at == 0:
            self.step = self._stage(1 if in_stage1 else 2)
        self.step.set_learning_rate(learning_rate(stage, at))
        return self.step(self._draw(stage.batch))

    def validate(self) -> dict[str, float]:
        """Mean PSNR-Y on the held-out pictures for each of the scale's kernel widths in Table 2."""
        widths = paper.kernel_widths(self.model.scale)
        degradations = evaluation.isotropic_grid(self.model.scale, widths)
        return evaluation.mean(evaluation.benchmark(self.model, self.held_out, degradations))

    def train(self, minutes: float | None = None, progress: bool = True) -> bool:
        """Trains on from where the run is; returns whether it came to its end.

        minutes: stop cleanly, with a checkpoint, after so many minutes of this call. An interrupt
        (Ctrl-C) ends the iteration and leaves a checkpoint; a second one does not wait.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.iteration == 0:
            self.log_path.unlink(missing_ok=True)  # of a run that was killed before a checkpoint
        started, before = time.monotonic(), self.minutes
        saved = started
        bar = tqdm(total=self.iterations, initial=self.iteration, disable=not progress, unit="it")
        with bar, _interrupt_noted() as interrupted:
            while self.iteration < self.iterations and not interrupted:
                if minutes is not None and time.monotonic() - started > minutes * 60:
                    break
                self.losses.add(*self._step())
                self.iteration += 1
                self.minutes = before + (time.monotonic() - started) / 60
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
        self._finish()
        return True

    def _log_when_due(self, bar: tqdm) -> None:
        first = self.stages[0].iterations
        last = self.iteration in (first, self.iterations)
        in_stage2 = self.iteration > first
        due = in_stage2 and ((self.iteration - first) % self.profile.validate_every == 0 or last)
        if not (due or last or self.iteration % LOG_EVERY == 0):
            return
        losses = self.losses.read(self.iteration)
        n = losses["iterations"]
        record: dict[str, Any] = {
            "iteration": self.iteration,
            "stage": 2 if in_stage2 else 1,
            "minutes": round(self.minutes, 3),
        }
        if self.contrast is not None:
            record["contrastive"] = round(losses["contrastive"] / n, 5)
        if in_stage2:
            record["sr"] = round(losses["sr"] / n, 5)
        if due:
            record["psnr"] = {label: round(value, 3) for label, value in self.validate().items()}
        self._write_log(record)
        self.losses = Losses(self.device)
        bar.set_postfix({k: v for k, v in record.items() if k in ("contrastive", "sr")})

    def _finish(self) -> None:
        record = {
            **self._identity(),
            "minutes": round(self.minutes, 2),
            "dtype": str(self.dtype).removeprefix("torch."),
            "provenance": self.provenance,
            "log": self.log(),
        }
        weights.save(self.model, self.folder / "weights.safetensors", record)


def identity(model: str, profile: Profile, space: DegradationSpace, seed: int) -> dict[str, Any]:
    """What makes a run this run and no other: json, for its checkpoint and its record."""
    return {
        "model": model,
        "scale": space.scale,
        "seed": seed,
        "space": asdict(space),
        "profile": asdict(profile),
    }
