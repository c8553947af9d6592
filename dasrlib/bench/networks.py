"""What is measured of the whole network: a training step, and the inference of pictures (§4)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dasrlib import data, profiles
from dasrlib.acceleration.devices import fastest_dtype, fastest_layout
from dasrlib.bench import authors_code, ground_truth, measure
from dasrlib.bench.measure import Case, Check, TimedCall, Variant, Workload
from dasrlib.bench.operators import LAYOUTS, forward_only, operator
from dasrlib.da_conv import DAConv
from dasrlib.degradation import Degradations, DegradationSpace, quantise
from dasrlib.network import BlindSR
from dasrlib.representation import ContrastiveLearner, Encoder
from dasrlib.training.cuda_graph import WARMUP_ITERATIONS, CudaGraphStep
from dasrlib.training.patches import PatchPairs
from dasrlib.training.step import Batch, Step, sample_batch

SCALE = 4
# The whole network carries rounding further than one operator does. And Adam's first updates depend
# on a gradient's sign, not on its size: rounding decides the sign where it is near zero.
TOLERANCES = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 5e-2}

Module = TypeVar("Module", bound=nn.Module)
StartedRun = tuple[Callable[[], Tensor], nn.Module]  # a step, giving its two losses; the SR network


class ComputedDAConv(nn.Module):
    """A DAConv with its weights, computed by a function like grouped_conv.da_conv2d."""

    def __init__(self, conv: DAConv, compute: Callable[..., Tensor]) -> None:
        super().__init__()
        self.conv, self.compute = conv, compute

    def forward(self, features: Tensor, compressed: Tensor) -> Tensor:
        conv = self.conv
        weight, bias = conv.mix.weight[:, :, 0, 0], conv.mix.bias
        v = conv.coefficients(compressed)
        return self.compute(features, conv.kernels(compressed), weight, bias, v)


def with_da_conv(compute: Callable[..., Tensor], model: Module) -> Module:
    """The same model with the same weights, its DA convolutions computed by the function."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, DAConv):
                setattr(parent, name, ComputedDAConv(child, compute))
    return model


def network(work: Workload) -> BlindSR:
    profile = profiles.get(work.profile)
    return BlindSR(SCALE, profile.sizes, encoder_input=profile.recipe.encoder_input)


def counted(model: BlindSR, shape: Sequence[int]) -> tuple[int, int]:
    """Of one forward pass: the numbers that its layers move, each reading its input and writing its
    output once, and the floating-point operations."""
    model = with_da_conv(authors_code.da_conv2d, copy.deepcopy(model)).to("meta")
    numbers = sum(parameter.numel() for parameter in model.parameters())

    def add(module: nn.Module, inputs: tuple[Any, ...], out: Tensor) -> None:
        nonlocal numbers
        numbers += inputs[0].numel() + out.numel()

    for module in model.modules():
        # A DA convolution counts as one layer, since its parts could stay on the chip: its `mix` is
        # never called by itself.
        if isinstance(module, (nn.Conv2d, ComputedDAConv)):
            module.register_forward_hook(add)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model(torch.empty(*shape, device="meta"))
    return numbers, flops.get_total_flops()


def start(
    work: Workload,
    device: torch.device,
    authors: bool = False,
    exact: bool = False,
    dtype: torch.dtype = torch.float32,
    graph: bool = True,
) -> StartedRun:
    """A run of stage 2 (§4.1), in the authors' way or ours; exact: in float64, by ground_truth."""
    profile, right = profiles.get(work.profile), ground_truth if exact else authors_code
    number = torch.float64 if exact else torch.float32
    model = network(work)
    if authors or exact:
        with_da_conv(right.da_conv2d, model)
    assert isinstance(model.encoder, Encoder)
    layout = torch.contiguous_format if authors else fastest_layout(device)
    model.to(device, number, memory_format=layout)  # type: ignore[call-overload]
    learner = ContrastiveLearner(model.encoder, profile.recipe).to(device, number)
    captured = device.type == "cuda" and graph and not (authors or exact)
    step = (CudaGraphStep if captured else Step)(learner, model, dtype)
    step.set_learning_rate(profile.stage2.lr)

    space, side = DegradationSpace.isotropic(SCALE), profile.patch * SCALE
    patches = PatchPairs(data.images("samples"), side, "cpu" if authors else device)

    def degraded(batch: tuple[Tensor, Degradations]) -> Batch:
        hr, degradations = batch[0].to(device), batch[1].to(device)  # hr: (B, 2, 3, sP, sP)
        shared = degradations.repeat_interleave(2)
        lr = quantise(right.degrade(hr.flatten(0, 1).to(number), shared))
        query, key = lr[0::2].contiguous(), lr[1::2].contiguous()
        labels = degradations.encoding, degradations.lambda1
        return Batch(query, key, hr[:, 0], *labels, degradations)

    if authors:
        step.optimizer = torch.optim.Adam(model.parameters(), profile.stage2.lr)
        # Cut beforehand: in the authors' code other processes do that.
        cut = [(patches.sample(work.batch), space.sample(work.batch)) for _ in range(4)]
        batches = map(degraded, itertools.cycle(cut))
    else:
        settings = (int(torch.randint(1 << 20, ())), profile.recipe, work.batch)
        batches = map(partial(sample_batch, patches, space, *settings), itertools.count())

    def run() -> Tensor:
        losses = step(next(batches).map(lambda part: part.to(number)))
        return torch.stack([losses.sr, losses.contrastive])  # a copy: a graph writes them again

    return run, model.sr


def _gradient(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def training_variant(
    name: str,
    begin: Callable[..., StartedRun],
    device: torch.device,
    dtype: str = "float32",
    layout: str = "contiguous",
    steps: int = 1,
) -> Variant:
    """Training steps; begin: starts a run with torch's random numbers, if asked in float64."""

    def check() -> Check:
        with torch.random.fork_rng():
            right, right_sr = begin(exact=True)
        step, sr = begin()  # with the same random numbers
        # The second step shows the first one's update. A CUDA graph is replayed after the warm-up.
        count = WARMUP_ITERATIONS + 2 if device.type == "cuda" else 2
        with measure.tf32(dtype == "tf32"):
            losses, peak = measure.peak_of(lambda: [step() for _ in range(count)], device)
        truth = [right() for _ in range(count)]
        # L_SR and L_degrad each by itself, the one is a hundred times the other; and the SR
        # network's last gradient, which says more about it than a mean over all pixels.
        out = (*torch.stack(losses).unbind(1), _gradient(sr))
        return out, (*torch.stack(truth).unbind(1), _gradient(right_sr)), peak

    def prepare() -> TimedCall:
        step, _ = begin()

        def run() -> None:
            with measure.tf32(dtype == "tf32"):
                for _ in range(steps):
                    step()

        return TimedCall(run, steps)

    return Variant(name, dtype, layout, TOLERANCES[dtype], check, prepare)


def _ways(device: torch.device) -> list[tuple[str, str, str]]:
    """Name, dtype and layout of what is measured of a network: float32, and what the device
    computes faster in."""
    layout = next(n for n, layout in LAYOUTS.items() if layout == fastest_layout(device))
    fastest = str(fastest_dtype(device)).removeprefix("torch.")
    ours = [("ours", dtype, layout) for dtype in dict.fromkeys(["float32", fastest])]
    # tf32: what PyTorch does with float32 convolutions on a GPU by default.
    authors = ["float32", "tf32"] if device.type == "cuda" else ["float32"]
    return [("authors", dtype, "contiguous") for dtype in authors] + ours


def training_step(device: torch.device, work: Workload) -> Iterator[Case]:
    """A step of stage 2, everything included: the authors' way and dasrlib.training's (§4.1)."""
    variants = []
    for name, dtype, layout in _ways(device):
        begin = partial(start, work, device, name == "authors", dtype=measure.number_of(dtype))
        settings = (device, dtype, layout, work.steps)
        variants.append(training_variant(name, begin, *settings))
        if name == "ours" and device.type == "cuda":  # and what the graph brings
            plain = partial(begin, graph=False)
            variants.append(training_variant("ours, no graph", plain, *settings))
    patch = profiles.get(work.profile).patch
    numbers, flops = counted(network(work), (work.batch, 3, patch, patch))
    size = f"{work.batch} × 2 patches of {patch}×{patch}"
    # Backward, as many again for the gradients of the maps and of the weights.
    yield Case("training step", size, variants, 3 * numbers, 3 * flops)


def inference(device: torch.device, work: Workload) -> Iterator[Case]:
    """LR pictures through the whole untrained network, the authors' way and ours (§4)."""
    model = network(work).eval()
    model.sr.mean.zero_()  # beside the mean colour a wrong result would look right
    exact = with_da_conv(ground_truth.da_conv2d, copy.deepcopy(model)).to(device, torch.float64)
    networks = {
        "authors": with_da_conv(authors_code.da_conv2d, copy.deepcopy(model)).to(device),
        "ours": model.to(device, memory_format=fastest_layout(device)),  # type: ignore[call-overload]
    }

    def run(name: str, dtype: str, images: Tensor) -> Tensor:
        number = measure.number_of(dtype)
        autocast = torch.autocast(device.type, number, enabled=number != torch.float32)
        with measure.tf32(dtype == "tf32"), autocast:
            return networks[name](images)

    def draw(shape: tuple[int, ...]) -> tuple[Tensor]:
        return (torch.rand(shape, device=device),)

    for shape in work.lr:
        variant = partial(
            operator,
            exact=forward_only(exact),
            draw=partial(draw, shape),
            device=device,
            cast=False,
            captured=False,
            most_sets=1,  # a network's maps leave no room for its input in a cache
        )
        variants = []
        for name, dtype, layout in _ways(device):
            function, limit = forward_only(partial(run, name, dtype)), TOLERANCES[dtype]
            variants.append(variant(name, function, dtype=dtype, layout=layout, tolerance=limit))
        size = f"{shape[0]} of {shape[2]}×{shape[3]}"
        yield Case("inference", size, variants, *counted(model, shape))
