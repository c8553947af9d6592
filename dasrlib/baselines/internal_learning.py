"""What ZSSR and MZSR share: a small network, and pairs made of the test picture itself.

    father y,    son (y ⊗ k)↓s,    network: u ↦ u + g(u),    u a picture enlarged by bicubic

The LR picture y has no HR picture to learn from. So it plays the HR picture, and its own reduction,
the son, plays the LR picture. A network that makes the father of the son then makes an SR picture
of y. This works as far as small structures of a picture come back at other sizes.

How the son is made has to be how y was made, so the kernel k is needed (see Reduction).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.acceleration.devices import to_device
from dasrlib.baselines.baseline import Baseline, check_told
from dasrlib.degradation import Degradations, Downsampler
from dasrlib.errors import check_pictures
from dasrlib.resampling import blur, check_blur, correlate, resize_bicubic


class ResidualNet(nn.Module):
    """u + g(u), g = W ∗ ReLU(… ReLU(W ∗ u)): convolutions 3×3 that work at SR size.

    The ReLUs stand between the convolutions. In front of the first one stands none: it would cut
    what is added to its output.

    Args:
        layers: convolutions.
        width: channels between them.
        bias: whether the convolutions have biases.
    """

    def __init__(self, layers: int = 8, width: int = 64, bias: bool = False) -> None:
        super().__init__()
        convs: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=bias)]
        for _ in range(layers - 2):
            convs += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=bias)]
        last = nn.Conv2d(width, 3, 3, padding=1, bias=bias)
        self.layers = nn.Sequential(*convs, nn.ReLU(), last)

    def forward(self, enlarged: Tensor) -> Tensor:
        """u (B, 3, H, W) in [0, 1] -> (B, 3, H, W), not clamped."""
        # A few steps are smaller than the three digits of bfloat16.
        with torch.autocast(enlarged.device.type, enabled=False):
            return enlarged + self.layers(enlarged)


@dataclass(frozen=True)
class Reduction:
    """How a picture becomes its LR picture and back: with s, with k, with bicubic (§3.1).

    Args:
        scale: s.
        kernels: (B, k, k) with k odd, or (1, k, k) for all pictures.
        downsampler: as of Degradations. "centred s-fold" is ZSSR's own: every s-th pixel, after a
            kernel that is shifted so that nothing moves.
    """

    scale: int
    kernels: Tensor
    downsampler: Downsampler | str = "bicubic"

    @classmethod
    def told(cls, degradations: Degradations, device: torch.device) -> Reduction:
        """As the degradations say, on a device. Their noise and JPEG are not read.

        With "s-fold" the kernel is not shifted: dasrlib's LR pixel i lies on HR pixel s·i.
        """
        kernels = to_device(degradations.kernels, device).clone()
        return cls(degradations.scale, kernels, degradations.downsampler)

    def __call__(self, images: Tensor) -> Tensor:
        """(y ⊗ k)↓s: (B, C, H, W), H and W divisible by s -> (B, C, H/s, W/s), not rounded."""
        k = self.kernels
        if self.downsampler == "centred s-fold":
            # A convolution with k is a correlation with k turned round. It is shifted as such.
            k = torch.stack([shifted(one, self.scale) for one in k.flip(-2, -1)]).flip(-2, -1)
        r = k.shape[-1] // 2
        if min(images.shape[-2:]) > r:
            blurred = blur(images, k)
        else:  # too small to be reflected: its border pixels are repeated
            padded = F.pad(images, (r,) * 4, mode="replicate")
            check_blur(padded, k)
            weights = k.to(images).flip(-2, -1)[:, None]
            blurred = correlate(padded, weights.expand(*images.shape[:2], -1, -1))
        if self.downsampler == "bicubic":
            return resize_bicubic(blurred, 1 / self.scale)
        return blurred[..., :: self.scale, :: self.scale]

    def enlarge(self, images: Tensor) -> Tensor:
        """↑s, bicubic: (B, C, H, W) -> (B, C, sH, sW)."""
        return resize_bicubic(images, self.scale)

    @property
    def may_turn(self) -> bool:
        """Whether turned and mirrored pictures are reduced in the same way, to 1e-4 of k's peak."""
        k = self.kernels
        if self.downsampler == "s-fold":  # its grid begins in one corner
            return False
        same = (k - view(k, turn) for turn in range(1, 8))
        return all(bool(d.abs().max() <= 1e-4 * k.abs().max()) for d in same)

    def back_project(self, sr: Tensor, lr: Tensor, times: int = 1) -> Tensor:
        """x ← clip(x + (y − (x ⊗ k)↓s)↑s): makes an SR picture agree with its LR picture."""
        for _ in range(times):
            sr = (sr + self.enlarge(lr - self(sr))).clamp(0, 1)
        return sr


def view(images: Tensor, turn: int) -> Tensor:
    """One of eight views of pictures (..., H, W): turn % 4 quarter turns, mirrored from 4 on."""
    turned = torch.rot90(images, turn % 4, (-2, -1))
    return turned.flip(-1) if turn >= 4 else turned


def undo_view(images: Tensor, turn: int) -> Tensor:
    """The picture of which `view` made the view of this turn."""
    mirrored = images.flip(-1) if turn >= 4 else images
    return torch.rot90(mirrored, -(turn % 4), (-2, -1))


def shifted(weights: Tensor, scale: int) -> Tensor:
    """Correlation weights whose centre of mass lies (s − 1)/2 right of and below the middle.

    Of s × s HR pixels, every s-th one is the first, and their middle lies (s − 1)/2 further. With
    these weights the first one holds what is seen around the middle. Half a pixel is a half here:
    rounded, it would move every son.

    Args:
        weights: (k, k) with k odd.
        scale: s.

    Returns:
        (k + 2p, k + 2p) with p zeros more on each side, so that nothing leaves the kernel.
    """
    k = weights.double()
    size, total = k.shape[-1], k.sum()
    axis = torch.arange(size, dtype=k.dtype, device=k.device)
    masses = k.sum(dim=1) @ axis / total, k.sum(dim=0) @ axis / total  # along y and x
    y, x = (float(size // 2 + (scale - 1) / 2 - mass) for mass in masses)
    padding = max(0, torch.tensor([y, x]).max().ceil().int().item()) + 1
    k = F.pad(k, (int(padding),) * 4)
    moved = _spline_shift(k.shape[-1], y, k) @ k @ _spline_shift(k.shape[-1], x, k).T
    return moved.to(weights.dtype)


def _spline_shift(size: int, shift: float, like: Tensor) -> Tensor:
    """The matrix that moves a line of samples by `shift` pixels, by cubic splines, zeros outside.

    S B⁻¹: B⁻¹ makes the spline's coefficients of its values, S the moved values of these.
    """
    i = torch.arange(size, dtype=like.dtype, device=like.device)

    def values_at(places: Tensor) -> Tensor:
        # Coefficients beyond the ends are mirrored, as they are for scipy.ndimage.
        taps = torch.arange(-3, size + 3, dtype=like.dtype, device=like.device)
        x = (places[:, None] - taps).abs()
        spline = torch.where(x < 1, 2 / 3 - x**2 + x**3 / 2, (2 - x).clamp(min=0) ** 3 / 6)
        index = (size - 1) - ((size - 1) - taps.abs()).abs()
        matrix = torch.zeros(len(places), size, dtype=like.dtype, device=like.device)
        return matrix.index_add_(1, index.long(), spline)

    places = i - shift
    inside = (places >= 0) & (places <= size - 1)
    return inside[:, None] * torch.linalg.solve(values_at(i), values_at(places), left=False)


class Adaptation(NamedTuple):
    """A network after a step of its training on one picture.

    `picture` computes the SR picture when it is called. Call it before the next step: the same
    network goes on.
    """

    step: int  # 0: before the first one
    loss: float | None  # that led to this step, mean |·| in [0, 1]; None before the first one
    rate: float  # the learning rate
    picture: Callable[[], Tensor]  # -> (1, 3, sH, sW), clamped, without views or back-projection


class LearnsOnThePicture(Baseline):
    """A system that is trained on the test picture itself, inside `restore`.

    A subclass says with which network it starts, how it is trained, and what is done at last.
    """

    sizes: Any
    progress = True  # whether a bar shows the steps

    def start(self, device: torch.device) -> ResidualNet:
        """A network of its own for one picture, before the first step."""
        raise NotImplementedError

    def train_on(
        self, network: ResidualNet, lr: Tensor, reduction: Reduction
    ) -> Iterator[Adaptation]:
        """Trains the network on an LR picture (1, 3, H, W), step by step."""
        raise NotImplementedError

    def finish(self, network: ResidualNet, lr: Tensor, reduction: Reduction) -> Tensor:
        """The SR picture (1, 3, sH, sW) in [0, 1] that the trained network makes."""
        raise NotImplementedError

    def reduction(self, told: Degradations, device: torch.device) -> Reduction:
        """How the picture is reduced once more."""
        with torch.inference_mode(False):
            return Reduction.told(told, device)

    def restore(self, lr: Tensor, degradation: Degradations | None = None) -> Tensor:
        """LR pictures (B, 3, H, W) in [0, 1] and what degraded them -> (B, 3, sH, sW).

        degradation: one for each picture, or one for all. Its noise is not read.

        Raises:
            ValueError: there is no degradation, it does not fit, or a picture is too small to be
                reduced once more.
        """
        told = self._check(lr, degradation)
        pictures = []
        for i in range(len(lr)):
            one = told[i if len(told) > 1 else 0]
            network, reduction = self.start(lr.device), self.reduction(one, lr.device)
            for _ in self.train_on(network, lr[i : i + 1], reduction):
                pass
            pictures.append(self.finish(network, lr[i : i + 1], reduction))
        return torch.cat(pictures)

    def adapt(self, lr: Tensor, degradation: Degradations | None = None) -> Iterator[Adaptation]:
        """The training on one picture (1, 3, H, W), step by step, to look at it on the way.

        Step 0 is the network before its first step. For a figure of PSNR over steps::

            for moment in zssr.adapt(lr, degradation):
                if moment.step % 50 == 0:
                    psnr = evaluation.psnr_y(moment.picture(), hr, shave)
        """
        if len(lr) != 1:
            raise ValueError(f"expected one picture to adapt to, got {len(lr)}")
        told = self._check(lr, degradation)
        return self.train_on(self.start(lr.device), lr, self.reduction(told, lr.device))

    def _check(self, lr: Tensor, degradation: Degradations | None) -> Degradations:
        check_pictures(lr)
        if min(lr.shape[-2:]) < self.scale:
            raise ValueError(
                f"a picture of {lr.shape[-2]}×{lr.shape[-1]} is too small for {self.name} ×"
                f"{self.scale}: each side must be at least {self.scale} pixels"
            )
        return check_told(self, lr, degradation)
