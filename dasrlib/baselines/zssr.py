"""ZSSR: a network that is trained on the one test picture, and on nothing else.

Assumes nothing about other pictures: small structures of this one come back in it at other sizes.
Not blind: the kernel is *given*, as the truth, as a Predictor's guess (`baselines.Predicted`) or as
one fixed kernel (`baselines.Assumed`). Without a kernel the released code takes bicubic reduction;
here that is told too, as the degradation of σ 0. It helps only where there is no blur.

    father: an augmented crop of LR,    son = (father ⊗ k)↓s,    u = son↑s
    loss = ‖u + g(u) − father‖₁

g: 8 convolutions 3×3, 64 wide, 7 ReLUs, no biases, 224,640 parameters, for every scale. Its weights
start as N(0, 0.1 / fan-in), since only what bicubic lacks is learnt. RGB in [0, 1], one crop a
step, Adam at 1e-3.

The learning rate is decided by a line. Every 50 steps the mean squared error of the network on the
picture's own reduction is noted. Every 60 steps, if more than 256 have gone by since the last
change, a line is fitted to the last five errors. Where −1.5 · slope < the slope's standard error,
the rate is divided by 10. The training ends after three divisions, or after 3,000 steps. The
standard error is today's numpy.polyfit's. At ZSSR's time it came out √3 larger for five points.

The answer: the median of eight views (four turns, mirrored or not), each corrected by 10 rounds of
back-projection, and 10 rounds more. With a kernel, 2 rounds. The released code takes one view as
soon as a kernel is given; here one whose kernel looks the same in all eight views keeps them.

Three things are ours: warps interpolate with PyTorch's cubic; beyond its border the picture is
mirrored, where the released code fills up with black; and all scales are one jump, without the
released gradual steps, which give 0.3 dB on Set14 for six times the time (its readme's numbers).

Shocher et al., "“Zero-shot” super-resolution using deep internal learning", CVPR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from dasrlib import errors
from dasrlib.baselines.baseline import by_profile
from dasrlib.baselines.internal_learning import (
    Adaptation,
    LearnsOnThePicture,
    Reduction,
    ResidualNet,
    undo_view,
    view,
)
from dasrlib.data import crop_to_multiple
from dasrlib.degradation import Degradations


@dataclass(frozen=True)
class ZssrSizes:
    """How large ZSSR is and how long it trains. The defaults are the released code's."""

    layers: int = 8
    width: int = 64
    crop: int = 128  # side of a father; a smaller picture is its own crop
    steps: int = 3000  # at most
    rate: float = 1e-3
    least_rate: float = 9e-6  # below it the training ends
    note_every: int = 50  # steps; when the error is noted
    check_every: int = 60  # when a line is fitted
    wait: int = 256  # since the last change of the rate; the line sees wait // note_every errors
    patience: float = 1.5  # in −1.5 · slope < standard error
    back_projections: tuple[int, int] = (10, 2)  # rounds without blur, and with a kernel
    least_zoom: float = 0.5  # of a warped father
    axes: float = 0.25  # standard deviation of the difference between the zooms of both axes
    shear: float = 0.1  # likewise
    son_noise: float = 0.0  # 0..255 scale; 3.2 for real pictures in the released code
    # "as told": reduced as the degradation says. "centred s-fold": the released way, for LR
    # pictures that were made by it.
    reduction: Literal["as told", "centred s-fold"] = "as told"

    def __post_init__(self) -> None:
        errors.check_choices(self)
        if self.window < 3:
            raise ValueError(
                f"wait is {self.wait} and note_every {self.note_every}: a line with a standard "
                "error needs three errors, so wait must be at least 3 · note_every"
            )

    @property
    def window(self) -> int:
        """How many errors a line is fitted to."""
        return self.wait // self.note_every


FULL = ZssrSizes()
LAPTOP = ZssrSizes(width=32, crop=64, steps=500, note_every=25, check_every=30, wait=128)
SMOKE = ZssrSizes(layers=3, width=8, crop=16, steps=10, note_every=2, check_every=3, wait=6)
SIZES = by_profile(FULL, LAPTOP, SMOKE)


class Line(NamedTuple):
    """A straight line's slope, and the slope's standard error."""

    slope: float
    error: float


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Least squares; σ²(slope) = Σ residuals² / (N − 2) / Σ (x − mean)², for N ≥ 3 points."""
    xs, ys = (torch.tensor(values, dtype=torch.float64) for values in (x, y))
    xs, ys = xs - xs.mean(), ys - ys.mean()
    spread = (xs**2).sum()
    slope = (xs * ys).sum() / spread
    residuals = ((ys - slope * xs) ** 2).sum() / (len(x) - 2)
    return Line(float(slope), float((residuals / spread).sqrt()))


class RatePolicy:
    """The learning rate, decided by a line through the last errors (see the top of the file)."""

    def __init__(self, sizes: ZssrSizes) -> None:
        self.sizes, self.rate = sizes, sizes.rate
        self.changed = 0  # the step of the last division
        self.noted: list[tuple[int, float]] = []

    @property
    def is_over(self) -> bool:
        """Whether the rate is so low that the training ends."""
        return self.rate < self.sizes.least_rate

    def after(self, step: int, error: float | None) -> float:
        """The rate after a step, counted from 0, and its error, where it was noted."""
        sizes = self.sizes
        if error is not None:
            self.noted.append((step, error))
        due = (step + 1) % sizes.check_every == 0 and step - self.changed > sizes.wait
        if due and len(self.noted) >= 3:
            slope, deviation = fit_line(*zip(*self.noted[-sizes.window :], strict=True))
            if -sizes.patience * slope < deviation:  # also where the error rises
                self.rate, self.changed = self.rate / 10, step
        return self.rate


def random_father(picture: Tensor, sizes: ZssrSizes, turns: bool, draw: torch.Generator) -> Tensor:
    """A crop of a picture: plain (5 %), turned and mirrored (45 %), or warped (50 %).

    Args:
        picture: (1, 3, H, W) in [0, 1].
        sizes: the crop's side, and how far a warp goes.
        turns: False where the kernel looks different when it is turned or mirrored. A turned
            father needs a turned kernel then. Crops are not turned, and warps only stretch.
        draw: on the CPU.

    Returns:
        (1, 3, P, P); of a picture smaller than a crop the whole, as far as the warp leaves it.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=draw))

    def normal(deviation: float) -> float:
        return deviation * float(torch.randn((), generator=draw))

    h, w = picture.shape[-2:]
    side_y, side_x = min(sizes.crop, h), min(sizes.crop, w)
    kind = uniform(0, 1)
    if kind < 0.5:
        top, left = (int(uniform(0, room + 1)) for room in (h - side_y, w - side_x))
        crop = picture[..., top : top + side_y, left : left + side_x]
        turned = turns and kind >= 0.05
        return view(crop, int(torch.randint(8, (), generator=draw))) if turned else crop
    # What a pixel's step to the right and down is in the picture: A = R · shear · 1 / zoom.
    zoom, difference = uniform(sizes.least_zoom, 1.0), normal(sizes.axes)
    zooms = [min(max(zoom + d, sizes.least_zoom), 1.0) for d in (difference / 2, -difference / 2)]
    shear_x, shear_y, angle, mirror = normal(sizes.shear), normal(sizes.shear), 0.0, 1.0
    if turns:
        angle, mirror = uniform(0, 2 * math.pi), float(1 - 2 * (uniform(0, 1) < 0.5))
    cos, sin = math.cos(angle), math.sin(angle)
    steps = torch.tensor([[cos, -sin], [sin, cos]]) @ torch.tensor([[1, shear_x], [shear_y, 1.0]])
    steps = steps @ torch.diag(torch.tensor([mirror / zooms[0], 1 / zooms[1]]))
    # The middle lies so that the crop is inside, where the picture is large enough.
    reach = steps.abs() @ torch.tensor([side_x / 2, side_y / 2])
    middle = [
        uniform(min(far, size / 2), max(size - far, size / 2))
        for far, size in zip(reach.tolist(), (w, h), strict=True)
    ]
    y, x = torch.meshgrid(
        torch.arange(side_y) + 0.5 - side_y / 2,
        torch.arange(side_x) + 0.5 - side_x / 2,
        indexing="ij",
    )
    places = torch.stack([x, y], dim=-1) @ steps.T + torch.tensor(middle)  # pixels, (P, P, 2)
    grid = (2 * places / torch.tensor([w, h]) - 1)[None].to(picture)
    warped = F.grid_sample(picture, grid, "bicubic", "reflection", align_corners=False)
    return warped.clamp(0, 1)


class ZSSR(LearnsOnThePicture):
    """One training for each picture, inside `restore` (see the top of the file).

    It holds no weights: there is nothing to train beforehand, and nothing to load.

    Args:
        scale: 2, 3 or 4.
        sizes: how large.
        seed: of the weights and the crops, of every picture anew.
        progress: whether a bar shows the steps.
    """

    def __init__(
        self, scale: int, sizes: ZssrSizes = FULL, seed: int = 0, progress: bool = True
    ) -> None:
        super().__init__("zssr", scale)
        self.sizes, self.seed, self.progress = sizes, seed, progress

    # Inside, for the benchmark calls systems without gradients. The decorators let the caller's
    # mode be as it was between two steps.
    @torch.inference_mode(False)
    @torch.enable_grad()
    def train_on(
        self, network: ResidualNet, lr: Tensor, reduction: Reduction
    ) -> Iterator[Adaptation]:
        """Trains the network on an LR picture (1, 3, H, W)."""
        sizes, lr = self.sizes, lr.detach().float().clone()
        draw = torch.Generator().manual_seed(self.seed)
        policy, turns = RatePolicy(sizes), reduction.may_turn
        optimizer = torch.optim.Adam(network.parameters(), policy.rate)

        @torch.no_grad()
        def picture() -> Tensor:
            return network(reduction.enlarge(lr)).clamp(0, 1)

        yield Adaptation(0, None, policy.rate, picture)
        bar = tqdm(total=sizes.steps, desc="ZSSR", leave=False, disable=not self.progress, delay=1)
        with bar:
            for step in range(sizes.steps):
                father = crop_to_multiple(random_father(lr, sizes, turns, draw), self.scale)
                son = reduction(father)
                if sizes.son_noise:
                    noise = torch.randn(son.shape, generator=draw).to(son)
                    son = (son + noise * sizes.son_noise / 255).clamp(0, 1)
                loss = F.l1_loss(network(reduction.enlarge(son)), father)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                for group in optimizer.param_groups:
                    group["lr"] = policy.rate
                optimizer.step()
                noted = step % sizes.note_every == 0
                rate = policy.after(step, self.error(network, lr, reduction) if noted else None)
                bar.update()
                if noted:
                    bar.set_postfix(loss=f"{loss.item():.4f}", rate=f"{rate:.0e}")
                yield Adaptation(step + 1, loss.item(), rate, picture)
                if policy.is_over:
                    break

    @torch.no_grad()
    def error(self, network: ResidualNet, lr: Tensor, reduction: Reduction) -> float:
        """The mean squared error of LR, made by the network of its own reduction."""
        father = crop_to_multiple(lr, self.scale)
        made = network(reduction.enlarge(reduction(father))).clamp(0, 1)
        return F.mse_loss(made, father).item()

    @torch.no_grad()
    def finish(self, network: ResidualNet, lr: Tensor, reduction: Reduction) -> Tensor:
        """The median of the views, each back-projected, and back-projected once more.

        Returns (1, 3, sH, sW), in [0, 1].
        """
        k = reduction.kernels
        middle = k[:, k.shape[-2] // 2, k.shape[-1] // 2]
        times = self.sizes.back_projections[0 if bool((middle > 0.999).all()) else 1]
        made = []
        for turn in range(8 if reduction.may_turn else 1):
            out = network(reduction.enlarge(view(lr, turn))).clamp(0, 1)
            made.append(reduction.back_project(undo_view(out, turn), lr, times))
        # torch.median would take the lower one of the middle two.
        ordered = torch.stack(made).sort(dim=0).values
        median = ordered[(len(made) - 1) // 2 : len(made) // 2 + 1].mean(dim=0)
        return reduction.back_project(median, lr, times)

    def start(self, device: torch.device) -> ResidualNet:
        """A network with N(0, 0.1 / fan-in), the same for the same seed."""
        draw = torch.Generator().manual_seed(self.seed)
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            network = ResidualNet(self.sizes.layers, self.sizes.width)
            for conv in network.layers:
                if isinstance(conv, nn.Conv2d):
                    fan_in = conv.in_channels * 9
                    nn.init.normal_(conv.weight, std=math.sqrt(0.1 / fan_in), generator=draw)
            return network.to(device)

    def reduction(self, told: Degradations, device: torch.device) -> Reduction:
        """As told, or the released way (see ZssrSizes)."""
        reduction = super().reduction(told, device)
        if self.sizes.reduction == "as told":
            return reduction
        return Reduction(reduction.scale, reduction.kernels, self.sizes.reduction)
