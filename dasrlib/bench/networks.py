"""What is measured of the whole network: a training step, and the enlargement of pictures (§4)."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dasrlib import profiles, training
from dasrlib.acceleration.devices import fastest_dtype, fastest_layout
from dasrlib.bench import ground_truth
from dasrlib.bench.authors_code import ReleasedDAConv, ReleasedStep, computed_as
from dasrlib.bench.measure import Case, Check, Repeat, Way, peak_of, tf32
from dasrlib.bench.operators import LAYOUTS, name_of
from dasrlib.da_conv import DAConv
from dasrlib.degradation import DegradationSpace
from dasrlib.network import BlindSR
from dasrlib.profiles import Profile
from dasrlib.training.cuda_graph import WARMUP_ITERATIONS
from dasrlib.training.patches import PatchPairs

SCALE = 4
# The whole network carries rounding further than one operator does, and Adam's first updates do not
# depend on a gradient's size but on its sign, which rounding decides where it is near zero.
TOLERANCES = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 5e-2, "float16": 5e-2}


def chosen_profile(quick: bool, batch: int) -> Profile:
    """The paper's profile, 5 groups of 5 blocks with 64 channels and MoCo, from stage 2 on."""
    paper = profiles.get("paper")
    no_stage1 = replace(paper.stage1, iterations=0)
    chosen = replace(paper, stage1=no_stage1, stage2=replace(paper.stage2, batch=batch))
    if not quick:
        return chosen
    smoke, short_queue = profiles.get("smoke"), replace(chosen.recipe, queue_size=64)
    return replace(chosen, sizes=smoke.sizes, patch=smoke.patch, recipe=short_queue)


def counted(model: BlindSR, images: Tensor) -> tuple[int, int]:
    """Of one forward pass: the numbers that its layers move, each reading its input and writing its
    output once, and the floating-point operations."""
    model = copy.deepcopy(model).to("meta")
    numbers = sum(parameter.numel() for parameter in model.parameters())

    def add(module: nn.Module, inputs: tuple[Any, ...], out: Tensor) -> None:
        nonlocal numbers
        numbers += inputs[0].numel() + out.numel()

    for module in computed_as(ReleasedDAConv, model).modules():
        # A DA convolution counts as one layer, what happens within could stay on the chip: its
        # `mix` is never called by itself.
        if isinstance(module, (nn.Conv2d, DAConv)):
            module.register_forward_hook(add)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model(images.to("meta"))
    return numbers, flops.get_total_flops()


def pictures(count: int, side: int) -> list[tuple[str, Tensor]]:
    """Random pictures with detail at every size, as photographs have; for training runs."""

    def picture() -> Tensor:
        layers = [torch.rand(1, 3, side // n, side // n) for n in (32, 8, 2, 1)]
        return torch.stack([F.interpolate(layer, (side, side))[0] for layer in layers]).mean(dim=0)

    return [(f"random {i}", picture()) for i in range(count)]


class Started(NamedTuple):
    """A training that was started: a call is a step and gives its two losses."""

    step: Callable[[], Tensor]
    sr: nn.Module


@dataclass
class Training:
    """Training steps. start: from the seed, in the way's own dtype or, True, in float64."""

    name: str
    start: Callable[[int, bool], Started]
    device: torch.device
    dtype: str = "float32"
    layout: str = "contiguous"
    calls: int = 1
    tolerance: float = field(init=False)

    def __post_init__(self) -> None:
        self.tolerance = TOLERANCES[self.dtype]

    def check(self) -> Check:
        seed = int(torch.randint(1 << 20, ()))
        # The second step shows the first one's update; a captured one is replayed from then on.
        steps = WARMUP_ITERATIONS + 2 if self.device.type == "cuda" else 2
        with tf32(self.dtype == "tf32"):
            ours = self.start(seed, False)
            losses, peak = peak_of(lambda: [ours.step() for _ in range(steps)], self.device)
        right = self.start(seed, True)
        truth = [right.step() for _ in range(steps)]
        # L_SR and L_degrad each by itself, the one is a hundred times the other; and the SR
        # network's last gradient, which tells more of it than a mean over all pixels.
        out = (*torch.stack(losses).unbind(1), _gradient(ours.sr))
        return Check(out, (*torch.stack(truth).unbind(1), _gradient(right.sr)), peak)

    def repeat(self) -> Repeat:
        step = self.start(0, False).step

        def go() -> None:
            with tf32(self.dtype == "tf32"):
                for _ in range(self.calls):
                    step()

        return Repeat(go, self.calls)


def _gradient(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def _dtypes(device: torch.device) -> list[torch.dtype]:
    """float32, and what the device computes faster in; a network in emulated bfloat16 takes
    minutes, and nobody would."""
    return list(dict.fromkeys([torch.float32, fastest_dtype(device)]))


def _layout(device: torch.device) -> str:
    rule = fastest_layout(device)
    return next(name for name, layout in LAYOUTS.items() if layout == rule)


def training_step(device: torch.device, quick: bool) -> Iterator[Case]:
    """A step of stage 2, everything included, the released way and dasrlib.training's (§4.1)."""
    cuda = device.type == "cuda"
    batch = 4 if quick else 32 if cuda else 8
    profile = chosen_profile(quick, batch)
    space = DegradationSpace.isotropic(SCALE)
    images = pictures(8, 128 if quick else 320)
    folder = tempfile.TemporaryDirectory()

    def released_step(seed: int, right: bool) -> Started:
        torch.manual_seed(seed)
        patches = PatchPairs(images, profile.patch * SCALE)
        batches = [(patches.sample(batch), space.sample(batch)) for _ in range(4)]
        others = (torch.float64, ground_truth.ExactDAConv, ground_truth.degrade) if right else ()
        step = ReleasedStep(profile, batches, device, *others)
        return Started(step, step.model.sr)

    def our_step(
        seed: int, right: bool, dtype: torch.dtype, fused: bool = True, graph: bool = True
    ) -> Started:
        run = training.Run(
            Path(folder.name) / "run",
            profile=profile,
            scale=SCALE,
            space=space,
            seed=seed,
            images=(images[1:], images[:1]),
            device=device,
            dtype=torch.float32 if right else dtype,
            graph=graph and not right,
        )
        if right:
            in_float64(run)
        elif not fused:
            computed_as(ReleasedDAConv, run.model)

        iterations = run.iterate()

        def step() -> Tensor:
            losses = next(iterations)
            return torch.stack([losses.sr, losses.contrastive])  # a copy: a graph reuses its places

        return Started(step, run.model.sr)

    way = partial(Training, device=device, calls=1 if quick or not cuda else 10)
    ways: list[Way] = [way("released", released_step)]
    if cuda:  # what PyTorch does with float32 convolutions by default
        ways.append(way("released", released_step, dtype="tf32"))
    for dtype in _dtypes(device):
        starts = {"ours": partial(our_step, dtype=dtype)}
        if cuda:  # what each of the two brings
            starts = {
                "ours, not fused, no graph": partial(
                    our_step, dtype=dtype, fused=False, graph=False
                ),
                "ours, no graph": partial(our_step, dtype=dtype, graph=False),
                **starts,
            }
        for name, start in starts.items():
            ways.append(way(name, start, dtype=name_of(dtype), layout=_layout(device)))
    sample = torch.empty(batch, 3, profile.patch, profile.patch)
    numbers, flops = counted(BlindSR(SCALE, profile.sizes), sample)
    size = f"{batch} × 2 patches of {profile.patch}×{profile.patch}"
    with folder:
        # Backward, as many again for the gradients of the maps and of the weights.
        yield Case("training", "training step", size, ways, 3 * numbers, 3 * flops)


def in_float64(run: training.Run) -> None:
    """The run's network in float64, every operation the framework's."""
    computed_as(ground_truth.ExactDAConv, run.model).double()
    parts: list[nn.Module] = [run.model.encoder, run.model.sr]
    if run.learner is not None:
        run.learner.double()
        parts += [m for m in run.learner.children() if m is not run.model.encoder]
    for part in parts:
        part.register_forward_pre_hook(lambda _, inputs: tuple(x.double() for x in inputs))


@dataclass
class Enlargement:
    """Pictures through the whole untrained network.

    `check` compares what the network adds to the mean colour: beside that a wrong one looks right.
    """

    name: str
    shape: tuple[int, ...]
    profile: Profile
    device: torch.device
    dtype: str = "float32"
    layout: str = "contiguous"

    tolerance: float = field(init=False)

    def __post_init__(self) -> None:
        self.tolerance = TOLERANCES[self.dtype]

    def _network(self) -> BlindSR:
        return BlindSR(
            SCALE, self.profile.sizes, "model4", self.profile.recipe.encoder_input
        ).eval()

    def _run(self, model: BlindSR, images: Tensor) -> Tensor:
        number = getattr(torch, self.dtype, torch.float32)  # tf32 is float32 in memory
        with (
            torch.inference_mode(),
            tf32(self.dtype == "tf32"),
            torch.autocast(self.device.type, number, enabled=number != torch.float32),
        ):
            return model(images)

    def _prepared(self, model: BlindSR) -> BlindSR:
        if self.name == "released":
            computed_as(ReleasedDAConv, model)
        return model.to(self.device, memory_format=LAYOUTS[self.layout])  # type: ignore[call-overload]

    def check(self) -> Check:
        model, images = self._network(), torch.rand(self.shape)
        right = computed_as(ground_truth.ExactDAConv, copy.deepcopy(model)).to(
            self.device, torch.float64
        )
        ours, theirs = self._prepared(model), self._on_device(images)
        out, peak = peak_of(lambda: self._run(ours, theirs), self.device)
        with torch.inference_mode():
            truth = right(images.to(self.device, torch.float64))
        mean = right.sr.mean
        return Check((out.double() - mean,), (truth - mean,), peak)

    def _on_device(self, images: Tensor) -> Tensor:
        return images.to(self.device).contiguous(memory_format=LAYOUTS[self.layout])

    def repeat(self) -> Repeat:
        model = self._prepared(self._network())
        images = self._on_device(torch.rand(self.shape))
        return Repeat(lambda: self._run(model, images))


def enlargement(device: torch.device, quick: bool) -> Iterator[Case]:
    """8 pictures of 48×48 and one of 256×256, the released way and ours, in each dtype (§4)."""
    profile = chosen_profile(quick, batch=1)
    dtypes = [*_dtypes(device), *([torch.float16] if device.type == "cuda" else [])]
    for shape in ((2, 3, 16, 16),) if quick else ((8, 3, 48, 48), (1, 3, 256, 256)):
        way = partial(Enlargement, shape=shape, profile=profile, device=device)
        ways: list[Way] = [way("released")]
        if device.type == "cuda":
            ways.append(way("released", dtype="tf32"))
        ways += [way("ours", dtype=name_of(dtype), layout=_layout(device)) for dtype in dtypes]
        numbers, flops = counted(BlindSR(SCALE, profile.sizes), torch.empty(shape))
        size = f"{shape[0]} of {shape[2]}×{shape[3]}"
        yield Case("inference", "inference", size, ways, numbers, flops)
