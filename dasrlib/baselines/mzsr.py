"""MZSR: a start from which a few steps on the test picture are enough.

Assumes nothing about the kernel but that it is *given*, as ZSSR does, and trains on the test
picture and its own reduction. ZSSR starts anew each time. Here the start θ is learnt beforehand, on
many pictures and kernels, so that one to ten plain gradient steps adapt it to a picture:

    θ₀ = θ,    θ_{j+1} = θ_j − α ∇L(support; θ_j),    meta-loss = Σ_j w_j L(query; θ_j), j = 1 … 5

L is L1 between u + g(u) and HR, u the LR picture enlarged by bicubic. A *task* is one kernel: its
support pictures make the steps, its query pictures judge them. The gradient of the meta-loss goes
through all five steps, with second derivatives (MAML). g: ZSSR's network with biases, 8
convolutions 3×3, 64 wide, 225,091 parameters. It starts as a truncated normal of variance 1 /
fan-in.

Training, in two stages. First L1 on bicubic reduction alone, Adam at 4e-4. Then the meta-loss, Adam
at 1e-4, α 0.01, 5 tasks of 8 support and 8 query pictures, averaged over the tasks. The weights w
are meant to move from 1/5 each to the last step (see `loss_weights`). In the released code they
stay 1/5, since its counter does not advance; so they do here, unless `weights_move`.

On the test picture: father = LR, son = (LR ⊗ k)↓s, the whole picture, up to ten steps on L1 at 0.01
three times and then 0.001: the rates of the released network for bicubic reduction. No
back-projection and no views.

Two things are ours: tasks take their kernels from DASR's degradations, where the released training
draws variances from 1 to 2.5 s; and the stage without kernels sees what `resize_bicubic` makes.

Soh et al., "Meta-transfer learning for zero-shot super-resolution", CVPR 2020.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from tqdm.auto import tqdm

from dasrlib.baselines.baseline import by_profile, without_noise
from dasrlib.baselines.internal_learning import (
    Adaptation,
    LearnsOnThePicture,
    Reduction,
    ResidualNet,
)
from dasrlib.baselines.layers import shrink
from dasrlib.data import crop_to_multiple
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.resampling import resize_bicubic

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class MzsrSizes:
    """How large MZSR is, and how it learns. The defaults are the released code's."""

    layers: int = 8
    width: int = 64
    support: int = 8  # pictures of a task that make the steps
    query: int = 8  # pictures of a task that judge them
    inner_steps: int = 5
    inner_rate: float = 0.01
    weights_move: bool = False  # True: w as `loss_weights` says
    rates: tuple[float, ...] = (0.01, 0.01, 0.01, *[0.001] * 7)  # of the steps on a test picture


FULL = MzsrSizes()
LAPTOP = MzsrSizes(width=32, support=2, query=2)
SMOKE = MzsrSizes(layers=3, width=8, support=1, query=1, inner_steps=2, rates=(0.01, 0.01, 0.001))
SIZES = by_profile(FULL, LAPTOP, SMOKE)


def loss_weights(iteration: int, steps: int = 5) -> list[float]:
    """w_1 … w_5 as they are meant to move: even at first, nearly all on the last step at 3,234.

    The earlier ones are max(0.2 − 6e-5 t, 0.006), the last one min(0.2 + 2.4e-4 t, 0.976).
    """
    earlier = max(1 / steps - 6e-5 * iteration, 0.03 / steps)
    last = min(1 / steps + 6e-5 * (steps - 1) * iteration, 1 - (steps - 1) * 0.03 / steps)
    return [earlier] * (steps - 1) + [last]


def inner_step(
    network: nn.Module, weights: Weights, u: Tensor, hr: Tensor, rate: float, second: bool = True
) -> dict[str, Tensor]:
    """θ − α ∇_θ ‖net(u; θ) − HR‖₁: one step of plain gradient descent, as new weights.

    Args:
        network: whose weights are replaced.
        weights: θ, by name.
        u: (B, 3, H, W), enlarged LR pictures.
        hr: (B, 3, H, W).
        rate: α.
        second: keep the gradient's own graph, so that derivatives go through the step.
    """
    loss = F.l1_loss(functional_call(network, dict(weights), (u,)), hr)
    gradients = torch.autograd.grad(loss, [*weights.values()], create_graph=second)
    pairs = zip(weights.items(), gradients, strict=True)
    return {name: weight - rate * gradient for (name, weight), gradient in pairs}


class MZSR(LearnsOnThePicture):
    """A start that was learnt, and a few steps inside `restore` (see the top of the file).

    Args:
        scale: 2, 3 or 4.
        sizes: how large.
    """

    has_two_stages = True
    meta_iterations: Tensor

    def __init__(self, scale: int, sizes: MzsrSizes = FULL) -> None:
        super().__init__("mzsr", scale)
        self.sizes, self.stage = sizes, 2
        self.network = ResidualNet(sizes.layers, sizes.width, bias=True)
        self.register_buffer("meta_iterations", torch.zeros((), dtype=torch.long))
        for conv in self.network.layers:
            if isinstance(conv, nn.Conv2d):
                # Cut at two deviations, a normal has 0.88 of its deviation left.
                deviation = (conv.in_channels * 9) ** -0.5 / 0.87962566
                nn.init.trunc_normal_(conv.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)

    def in_stage(self, number: int) -> MZSR:
        """Itself, with the loss of a stage: 1, bicubic reduction alone, or 2, tasks."""
        self.stage = number
        return self

    def losses(self, hr: Tensor, lr: Tensor, degradations: Degradations) -> Iterator[Tensor]:
        """L1 after bicubic reduction, or the mean of the tasks' meta-losses; LR is not read.

        A batch is cut into tasks of support and query pictures. All pictures of a task are reduced
        with the first one's kernel.
        """
        if self.stage == 1:
            u = resize_bicubic(resize_bicubic(hr, 1 / self.scale), self.scale)
            yield F.l1_loss(self.network(u), hr)
            return
        size = self.sizes.support + self.sizes.query
        if len(hr) % size:
            raise ValueError(
                f"a batch of {len(hr)} pictures cannot be cut into tasks of {size}: choose a "
                "multiple"
            )
        tasks = range(0, len(hr), size)
        total = hr.new_zeros(())
        for first in tasks:
            reduction = Reduction.told(degradations[first], hr.device)
            truth = hr[first : first + size]
            total = total + self.meta_loss(reduction.enlarge(reduction(truth)), truth)
        yield total / len(tasks)
        self.meta_iterations += 1

    def meta_loss(self, u: Tensor, hr: Tensor, second: bool = True) -> Tensor:
        """Σ_j w_j L(query; θ_j) of one task, its support pictures first; second: as MAML asks."""
        sizes = self.sizes
        steps, cut = sizes.inner_steps, sizes.support
        moved = int(self.meta_iterations) if sizes.weights_move else 0
        adapted: Weights = dict(self.network.named_parameters())
        loss = hr.new_zeros(())
        for w in loss_weights(moved, steps):
            adapted = inner_step(self.network, adapted, u[:cut], hr[:cut], sizes.inner_rate, second)
            made = functional_call(self.network, dict(adapted), (u[cut:],))
            loss = loss + w * F.l1_loss(made, hr[cut:])
        return loss

    def start(self, device: torch.device) -> ResidualNet:
        """A copy of the learnt start, so that one picture leaves nothing for the next one."""
        with torch.inference_mode(False):
            return copy.deepcopy(self.network).to(device)

    # As of ZSSR: the caller may have turned gradients off.
    @torch.inference_mode(False)
    @torch.enable_grad()
    def train_on(
        self, network: ResidualNet, lr: Tensor, reduction: Reduction
    ) -> Iterator[Adaptation]:
        """Plain gradient steps on one pair, LR and its own reduction."""
        lr = lr.detach().float().clone()
        father = crop_to_multiple(lr, self.scale)
        u = reduction.enlarge(reduction(father))

        @torch.no_grad()
        def picture() -> Tensor:
            return network(reduction.enlarge(lr)).clamp(0, 1)

        rates = self.sizes.rates
        yield Adaptation(0, None, rates[0], picture)
        # A bar after a second: a small picture is done before.
        bar = tqdm(rates, "MZSR", leave=False, disable=not self.progress, delay=1)
        for step, rate in enumerate(bar):
            loss = F.l1_loss(network(u), father)
            gradients = torch.autograd.grad(loss, [*network.parameters()])
            with torch.no_grad():
                for weight, gradient in zip(network.parameters(), gradients, strict=True):
                    weight.sub_(rate * gradient)
            yield Adaptation(step + 1, loss.item(), rate, picture)

    @torch.no_grad()
    def finish(self, network: ResidualNet, lr: Tensor, reduction: Reduction) -> Tensor:
        """(1, 3, H, W) -> (1, 3, sH, sW) in [0, 1]: neither views nor back-projection."""
        return network(reduction.enlarge(lr)).clamp(0, 1)

    def training_space(self, space: DegradationSpace) -> DegradationSpace:
        """The same kernels, without noise."""
        return without_noise(space)

    def init_as_nearest_neighbour(self) -> None:
        """For a short schedule: the untrained network gives back the enlarged picture, nearly."""
        shrink(self.network.layers[-1])
