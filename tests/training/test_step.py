"""§4.1: an iteration updates what its stage trains, waits for nothing, and can be captured."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import PICTURES, RECIPES

from dasrlib import training
from dasrlib.degradation import DegradationSpace
from dasrlib.network import BlindSR
from dasrlib.profiles import Sizes
from dasrlib.representation import IN_BATCH, MOCO, ContrastiveLearner
from dasrlib.training import cuda_graph
from dasrlib.training.cuda_graph import WARMUP_ITERATIONS, CudaGraphStep
from dasrlib.training.patches import PatchPairs
from dasrlib.training.step import Batch, Losses, LossMeter, Step, sample_batch

SIZES = Sizes(groups=1, blocks=1, channels=16, tail_channels=16)
# Model, and the contrastive learning beside it.
KINDS = [
    ("model4", "moco"),
    ("model4", "in-batch"),
    ("model2", "in-batch"),
    ("model1", None),
    ("model5", None),
]


class FakeGraphStep(CudaGraphStep):
    """A CUDA graph as far as a processor can have one: fixed places for the batch and the losses,
    nothing computed while capturing, and the ordinary step when it is replayed."""

    captured = 0

    def _warm_up(self, batch):
        return Step.__call__(self, batch)

    def _capture(self, batch):
        self.captured += 1
        losses = Losses(*(torch.full((), math.nan) for _ in Losses._fields))

        def replay():
            for place, loss in zip(losses, Step.__call__(self, batch), strict=True):
                place.copy_(loss)

        return replay, losses


def parts(kind, device="cpu"):
    name, recipe = kind
    torch.manual_seed(1)
    model = BlindSR(2, SIZES, name)
    learner = None
    if recipe:
        chosen = replace(MOCO, queue_size=5) if recipe == "moco" else IN_BATCH
        learner = ContrastiveLearner(model.encoder, chosen).to(device)
    return learner, model.to(device)


def step_of(kind, with_sr=True, device="cpu", cls=Step, dtype=torch.float32):
    learner, model = parts(kind, device)
    return cls(learner, model if with_sr else None, dtype)


def batches(count: int, device: str = "cpu") -> list[Batch]:
    generator = torch.Generator().manual_seed(2)
    drawn = []
    for _ in range(count):
        query, key = torch.rand(2, 3, 3, 12, 12, generator=generator)
        hr = torch.rand(3, 3, 24, 24, generator=generator)
        degradations = DegradationSpace.anisotropic(2).sample(3, generator)
        parts = (query, key, hr, degradations.encoding, degradations.lambda1)
        drawn.append(Batch(*(part.to(device) for part in parts), degradations))
    return drawn


def trained(step: Step, drawn: list[Batch]) -> list[list[float]]:
    losses = []
    for i, batch in enumerate(drawn):
        step.set_learning_rate(1e-3 / (i + 1))
        losses.append([float(loss) for loss in step(batch)])
    return losses


def numbers(step: Step) -> dict[str, torch.Tensor]:
    return dict(step.trained.state_dict())


# Without L_degrad there is no stage 1.
STAGES = [(kind, with_sr) for kind in KINDS for with_sr in (False, True) if with_sr or kind[1]]


@pytest.mark.parametrize(("kind", "with_sr"), STAGES, ids=str)
def test_a_graph_step_is_the_step(kind, with_sr):
    plain, graph = (step_of(kind, with_sr, cls=cls) for cls in (Step, FakeGraphStep))
    drawn = batches(WARMUP_ITERATIONS + 3)
    expected = trained(plain, drawn)
    assert trained(graph, [batch.map(torch.clone) for batch in drawn]) == expected
    assert graph.captured == 1
    assert len({tuple(losses) for losses in expected}) == len(expected)
    for name, tensor in numbers(plain).items():
        assert torch.equal(numbers(graph)[name], tensor), name


@pytest.mark.parametrize("recipe", ["moco", "in-batch"])
def test_a_run_with_graph_steps_ends_the_same(tmp_path, monkeypatch, recipe):
    monkeypatch.setattr(training.run, "CudaGraphStep", FakeGraphStep)
    monkeypatch.setattr(
        cuda_graph, "WARMUP_ITERATIONS", 1
    )  # of the 4 and 6 iterations of the two stages

    def ended(folder: str, graph: bool, *cuts: float) -> list[torch.Tensor]:
        for until in (*cuts, 10):
            run = training.Run(
                tmp_path / folder,
                profile=RECIPES[recipe],
                scale=2,
                images=PICTURES,
                dtype=torch.float32,
                device="cpu",
            )
            assert not run.graph  # a processor has none
            run.graph = graph
            if run.step is not None and graph:
                run.step.__class__ = FakeGraphStep  # made before the line above
            iterations = run.iterate()
            while run.iteration < until:
                run.losses.add(next(iterations))
            assert isinstance(run.step, FakeGraphStep) == graph
            run.save_checkpoint()
        return list(numbers(run.step).values())

    expected = ended("plain", False)
    for folder, cuts in (("graph", ()), ("cut", (2, 3, 7))):
        for got, right in zip(ended(folder, True, *cuts), expected, strict=True):
            assert torch.equal(got, right)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_step_asks_no_tensor_for_its_value(monkeypatch, kind):
    step, meter = step_of(kind), LossMeter(torch.device("cpu"))
    step.set_learning_rate(1e-3)
    drawn = batches(2)
    step(drawn[0])

    def asked(tensor, *_):
        raise AssertionError("on a GPU this would wait for it")

    for name in ("__bool__", "__int__", "__float__", "__index__", "item", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, asked)
    meter.add(step(drawn[1]))
    monkeypatch.undo()
    assert meter.state(1)["sr"] > 0


def test_stage_1_leaves_the_sr_network_alone():
    learner, model = parts(("model4", "in-batch"))
    before = copy.deepcopy(model.state_dict())
    ((l_sr, l_degrad, _),) = trained(Step(learner), batches(1))
    assert l_sr == 0
    assert l_degrad > 0
    after = model.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"encoder"}


def test_adam_goes_on_whatever_device_it_began_on():
    drawn = batches(4)
    whole = step_of(("model4", "in-batch"))
    trained(whole, drawn[:2])
    weights = copy.deepcopy(whole.model.state_dict())
    adam = copy.deepcopy(whole.optimizer.state_dict())
    expected = trained(whole, drawn[2:])
    # As a GPU writes it, and as runs did before Adam was fused.
    for flags in (
        {"lr": torch.tensor(0.5), "capturable": True, "fused": True},
        {"lr": 0.5, "capturable": False, "fused": None},
    ):
        resumed = step_of(("model4", "in-batch"))
        resumed.model.load_state_dict(weights)
        groups = [{**group, **flags} for group in adam["param_groups"]]
        resumed.resume(copy.deepcopy({**adam, "param_groups": groups}))
        assert resumed.optimizer.param_groups[0]["fused"] is True
        assert trained(resumed, drawn[2:]) == expected


def test_a_learning_rate_on_the_device_stays_where_it_is():
    step = step_of(("model4", "in-batch"))
    place = step.optimizer.param_groups[0]["lr"] = torch.tensor(0.0)  # as on a GPU
    step.set_learning_rate(0.5)
    assert step.optimizer.param_groups[0]["lr"] is place
    assert place == 0.5


# The losses


def losses(sr: float, contrastive: float, in_batch: float = 0.5) -> Losses:
    return Losses(torch.tensor(sr), torch.tensor(contrastive), torch.tensor(in_batch))


def test_losses_are_summed_kept_and_averaged():
    meter = LossMeter(torch.device("cpu"))
    for i in range(4):
        meter.add(losses(1.5 * i, 0.25))
    kept = meter.state(100)
    assert kept == {"sr": 9.0, "contrastive": 1.0, "in_batch": 2.0, "iterations": 4}
    again = LossMeter(torch.device("cpu"), kept)
    again.add(losses(1.0, 2.0))
    assert again.means(101) == {"sr": 2.0, "contrastive": 0.6, "in_batch": 0.5}
    again.add(losses(7.0, 8.0))
    assert again.means(102) == {"sr": 7.0, "contrastive": 8.0, "in_batch": 0.5}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_the_first_loss_that_is_no_number_is_named(bad, which):
    sums = {"sr": 3.0, "contrastive": 2.0, "in_batch": 1.0, "iterations": 2}
    meter = LossMeter(torch.device("cpu"), sums)  # iterations 10 and 11
    for at in range(12, 20):
        pair = [1.0, 2.0]
        if at >= 15:
            pair[which] = bad if at == 15 else math.nan
        meter.add(losses(*pair))
    with pytest.raises(FloatingPointError, match=r"the loss is nan at iteration 15: try a lower"):
        meter.state(20)


# On a GPU


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_cuda_graph_is_the_step(kind, dtype):
    drawn = batches(WARMUP_ITERATIONS + 3, "cuda")
    plain, graph = (
        step_of(kind, device="cuda", cls=cls, dtype=dtype) for cls in (Step, CudaGraphStep)
    )
    expected, got = trained(plain, drawn), trained(graph, drawn)
    assert graph.graph is not None
    # The order of atomic sums is not fixed on a GPU, and Adam's first updates magnify it.
    for ours, right in zip(got, expected, strict=True):
        assert ours == pytest.approx(right, rel=1e-2 if dtype == torch.float32 else 5e-2, abs=1e-3)


@pytest.mark.gpu
@needs_gpu
def test_capturing_advances_nothing():
    step = step_of(("model4", "moco"), device="cuda", cls=CudaGraphStep)
    drawn = batches(WARMUP_ITERATIONS, "cuda")
    trained(step, drawn)
    before = {name: tensor.clone() for name, tensor in numbers(step).items()}
    step._capture(step.static_inputs)
    torch.cuda.synchronize()
    for name, tensor in numbers(step).items():
        assert torch.equal(tensor, before[name]), name


# What the pictures of a batch share


@pytest.mark.parametrize(("share", "shared"), [(0.0, 0), (0.5, 20), (1.0, 40)])
def test_some_batches_have_one_noise_level(share, shared):
    space, recipe = DegradationSpace.anisotropic(2), replace(IN_BATCH, shared_noise=share)
    patches = PatchPairs(PICTURES[0], 24)
    found = 0
    for iteration in range(40):
        batch = sample_batch(patches, space, 0, recipe, 4, iteration)
        noise = batch.encoding[:, 3]
        found += bool((noise == noise[0]).all())
        assert len(batch.widths.unique()) == 4  # the kernels stay apart
    # 40 draws of a half: 20, give or take 3.2.
    assert abs(found - shared) <= (12 if share == 0.5 else 0)
