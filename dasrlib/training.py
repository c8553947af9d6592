"""§4.1 Training in two stages: the encoder alone on L_degrad, then everything on L_SR + L_degrad.

A run lives in a folder: checkpoint.pt, log.jsonl (the loss curves, as they grow) and, at its end,
weights.safetensors with weights.json. The random numbers of iteration i come from (seed, i) alone,
so that a run that was cut and resumed ends where an uncut one does.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from dasrlib import data, evaluation, paper, profiles, provenance, weights
from dasrlib.degradation import DegradationSpace, crop_to_multiple, degrade
from dasrlib.files import whole_file
from dasrlib.network import MODELS, BlindSR
from dasrlib.patches import PatchPairs
from dasrlib.profiles import Profile, Stage
from dasrlib.representation import Encoder, InBatch, MoCo

LOG_EVERY = 25  # iterations; the log holds means over them
VALIDATION_CROP = 192  # HR pixels


def learning_rate(stage: Stage, iteration: int) -> float:
    """The learning rate of a stage's iteration, counted from 0 (§4.1)."""
    if stage.schedule == "steps":
        return stage.lr * stage.factor ** sum(iteration >= m for m in stage.milestones)
    warm = min(1.0, (iteration + 1) / (stage.warmup + 1))
    return stage.lr * warm * 0.5 * (1 + math.cos(math.pi * iteration / stage.iterations))


def fastest_dtype(device: torch.device | str) -> torch.dtype:
    """float32 or bfloat16, whichever trains a 3×3 convolution faster on this device, measured here.

    Processors with bfloat16 units (AMX, AVX512-BF16) gain a factor of two, those without lose a
    factor of ten; no name of a processor tells for sure.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    conv = nn.Conv2d(64, 64, 3, padding=1)
    conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(8, 64, 32, 32).to(memory_format=torch.channels_last).requires_grad_()

    def seconds(dtype: torch.dtype) -> float:
        best = math.inf
        for _ in range(4):
            start = time.perf_counter()
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                out = conv(x)
            out.float().mean().backward()
            best = min(best, time.perf_counter() - start)
        return best

    return min((torch.float32, torch.bfloat16), key=seconds)


@dataclass
class _Losses:
    """The sums of the losses since the last line of the log."""

    sr: float = 0.0
    contrastive: float = 0.0
    iterations: int = 0


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
    by default the fastest one. Raises ValueError where the folder holds another run.
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
        self.dtype = dtype or fastest_dtype(self.device)
        torch.manual_seed(seed)
        built = BlindSR(scale, self.profile.sizes, model, self.profile.encoder_input)
        if self.profile.start_as_enlargement:
            built.sr.start_as_enlargement()
        self.model = built.to(self.device)
        # The layout in which processors and GPUs convolve fastest; PyTorch's stubs do not know it.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.contrast = self._contrast().to(self.device) if MODELS[model].contrastive else None
        self.stages = self._stages()
        self.optimizer: torch.optim.Adam | None = None
        self.iteration, self.minutes, self.losses = 0, 0.0, _Losses()

        train, held_out = images or load_images(self.profile)
        self.patches = PatchPairs(train, self.profile.patch * scale)
        smallest = 2 * scale + 11  # what SSIM's window needs after shaving
        for name, image in held_out:
            if min(image.shape[-2:]) < smallest:
                raise ValueError(
                    f"the held-out picture {name} is {image.shape[-2]}×{image.shape[-1]}, "
                    f"too small to measure: each side must be at least {smallest} pixels"
                )
        self.held_out = [(name, _centre(image, VALIDATION_CROP, scale)) for name, image in held_out]
        if self.checkpoint.exists():
            self._resume()

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
        """What makes this run this run; json, for the checkpoint and the record."""
        return {
            "model": self.model.model,
            "scale": self.model.scale,
            "seed": self.seed,
            "space": asdict(self.space),
            "profile": asdict(self.profile),
        }

    def _set_stage(self, number: int) -> None:
        """A fresh Adam(0.9, 0.999): over the encoder alone in stage 1, over everything in stage
        2."""
        module = self.model.encoder if number == 1 else self.model
        self.optimizer = torch.optim.Adam(module.parameters(), lr=0.0, betas=(0.9, 0.999))

    def save_checkpoint(self) -> None:
        """Everything that resuming needs, written whole or not at all."""
        state = {
            "identity": json.dumps(self._identity(), sort_keys=True),
            "dtype": str(self.dtype),
            "model": self.model.state_dict(),
            "contrast": self.contrast.state_dict() if self.contrast else None,
            "optimizer": self.optimizer.state_dict() if self.optimizer else None,
            "iteration": self.iteration,
            "minutes": self.minutes,
            "losses": asdict(self.losses),
        }
        with whole_file(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if state["identity"] != json.dumps(self._identity(), sort_keys=True):
            raise ValueError(
                f"{self.folder} holds a run with other settings: "
                "choose another folder, or remove it to start anew"
            )
        self.iteration, self.minutes = state["iteration"], state["minutes"]
        self.dtype = getattr(torch, state["dtype"].removeprefix("torch."))
        self.losses = _Losses(**state["losses"])
        self.model.load_state_dict(state["model"])
        if self.contrast:
            self.contrast.load_state_dict(state["contrast"])
        if state["optimizer"]:
            self._set_stage(1 if self.iteration <= self.stages[0].iterations else 2)
            assert self.optimizer is not None
            self.optimizer.load_state_dict(state["optimizer"])
        kept = [record for record in self.log() if record["iteration"] <= self.iteration]
        with whole_file(self.log_path) as temporary:
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

    def _step(self) -> tuple[Tensor, Tensor]:
        """One iteration; returns L_SR on the 0..255 scale and L_degrad, 0 where there is none."""
        s1, s2 = self.stages
        in_stage1 = self.iteration < s1.iterations
        stage, at = (s1, self.iteration) if in_stage1 else (s2, self.iteration - s1.iterations)
        if self.optimizer is None or at == 0:
            self._set_stage(1 if in_stage1 else 2)
        assert self.optimizer is not None
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(stage, at)

        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.iteration)
        hr = self.patches.sample(stage.batch, generator).to(self.device)  # (B, 2, 3, sP, sP)
        degradations = self.space.sample(stage.batch, generator)
        # Both patches of a picture share its degradation: that is what makes them positives.
        lr = degrade(hr.flatten(0, 1), degradations.repeat_interleave(2), generator)
        lr = lr.contiguous(memory_format=torch.channels_last)
        query, key = lr[0::2], lr[1::2]

        zero = torch.zeros((), device=self.device)
        l_sr, l_degrad = zero, zero
        self.model.train()
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if self.contrast is not None:
                l_degrad, representation, _ = self.contrast.train()(query, key)
            else:
                representation = self.model.represent(query, degradations)
            if not in_stage1:
                sr = self.model.sr(query, representation)
                # L1 of SR against HR, first patch, on the 0..255 scale, so that its weight
                # beside L_degrad is the paper's.
                l_sr = 255 * F.l1_loss(sr.float(), hr[:, 0])
        loss = l_sr + l_degrad
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at iteration {self.iteration}: "
                "try a lower learning rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return l_sr.detach(), l_degrad.detach()

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
                l_sr, l_degrad = self._step()
                self.iteration += 1
                self.losses.sr += float(l_sr)
                self.losses.contrastive += float(l_degrad)
                self.losses.iterations += 1
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
        n = self.losses.iterations
        record: dict[str, Any] = {
            "iteration": self.iteration,
            "stage": 2 if in_stage2 else 1,
            "minutes": round(self.minutes, 3),
        }
        if self.contrast is not None:
            record["contrastive"] = round(self.losses.contrastive / n, 5)
        if in_stage2:
            record["sr"] = round(self.losses.sr / n, 5)
        if due:
            record["psnr"] = {label: round(value, 3) for label, value in self.validate().items()}
        self._write_log(record)
        self.losses = _Losses()
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


def load_images(
    profile: Profile,
) -> tuple[list[tuple[str, Tensor]], list[tuple[str, Tensor]]]:
    """The profile's pictures: those to train on, and those held out for choices."""
    train: list[tuple[str, Tensor]] = []
    held_out: list[tuple[str, Tensor]] = []
    for i, name in enumerate(profile.data):
        # Held out of the first dataset alone; the others are for training.
        more, out = data.training_split(name, held_out=profile.held_out if i == 0 else 0)
        train += more
        held_out += out
    return train, held_out


def _centre(image: Tensor, size: int, scale: int) -> Tensor:
    """The middle of a picture, at most size × size, both sides multiples of the scale."""
    image = crop_to_multiple(image, scale)
    h, w = image.shape[-2:]
    top, left = max(0, h - size) // 2, max(0, w - size) // 2
    return crop_to_multiple(image[..., top : top + size, left : left + size], scale)
