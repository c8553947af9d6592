"""A blur kernel in a few numbers, by principal components: what told networks read.

    c = B vec(k),    k ≈ Bᵀ c + (μ − Bᵀ B μ)

vec(k) is the kernel row by row, 441 numbers. The n rows of B are the leading directions of many
kernels around their mean μ, the strongest first. The code c is of the kernel itself: μ is not
subtracted from it, as in IKC (Gu et al., CVPR 2019). SRMD (Zhang et al., CVPR 2018) takes the
directions without subtracting μ at all, of 15×15 kernels column by column, the strongest last.

How much of a kernel a code holds depends on the space. Of isotropic kernels (σ 0.2 to 4), 10
numbers give a kernel back to 0.04 % of its norm at worst. Of tilted ones (λ 0.2 to 4), 15 numbers
miss 10 % on average and 40 % at worst, 10 numbers 16 and 48 %: thin lines at any angle need many
directions. (300 kernels that the basis was not made from.)

All networks here share one rule, so that the code that one predicts is what another one reads. The
signs of the directions are arbitrary, and the last ones of isotropic kernels are close to rounding.
So B and μ are stored with the weights and are never computed anew for trained ones.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dasrlib.degradation import Degradations, DegradationSpace, isotropic_kernels
from dasrlib.paper import KERNEL_SIZE

DRAWN = 4000  # kernels from which a basis is made
SEED = 0  # of these kernels


def principal_directions(kernels: Tensor, numbers: int, centred: bool = True) -> Tensor:
    """The leading directions of vectors (N, D), as rows (numbers, D), the strongest first.

    centred: around the mean of the vectors, else around 0. Signs are chosen: the largest entry of
    a direction is positive.
    """
    x = kernels.double()
    x = x - x.mean(dim=0) if centred else x
    _, vectors = torch.linalg.eigh(x.T @ x)  # (D, D), ascending
    basis = vectors.T.flip(0)[:numbers]
    largest = basis.gather(1, basis.abs().argmax(dim=1, keepdim=True))
    return (basis * largest.sign()).float()


# A cached tensor serves inference and training. Autograd refuses tensors made in inference mode.
@lru_cache(maxsize=8)
@torch.inference_mode(False)
def basis_and_mean(space: DegradationSpace, numbers: int) -> tuple[Tensor, Tensor]:
    """B (numbers, 441) and μ (441,) of the kernels of a space, always the same ones."""
    with torch.device("cpu"):  # also where a network is only described, on "meta"
        drawn = space.sample(DRAWN, torch.Generator().manual_seed(SEED)).kernels.flatten(1)
    return principal_directions(drawn, numbers), drawn.double().mean(dim=0).float()


class KernelCodes(nn.Module):
    """Kernels into codes and back, with the basis as a buffer (see the top of the file).

    Args:
        space: the kernels that the basis is made for.
        numbers: n of the code.
    """

    basis: Tensor  # (n, 441)
    mean: Tensor  # (441,)

    def __init__(self, space: DegradationSpace, numbers: int) -> None:
        super().__init__()
        basis, mean = basis_and_mean(space, numbers)
        self.register_buffer("basis", basis.clone())
        self.register_buffer("mean", mean.clone())

    @property
    def numbers(self) -> int:
        """n, the length of a code."""
        return len(self.basis)

    def forward(self, kernels: Tensor) -> Tensor:
        """c = B vec(k): kernels (B, k, k) with k ≤ 21 odd -> codes (B, n).

        A smaller kernel is put into the middle of 21×21 zeros.

        Raises:
            ValueError: the kernels are larger. Cut to size they would be others.
        """
        size = kernels.shape[-1]
        if size > KERNEL_SIZE or size % 2 == 0 or kernels.shape[-2] != size:
            raise ValueError(
                f"the kernels are {kernels.shape[-2]}×{size}: expected an odd size of at most "
                f"{KERNEL_SIZE}×{KERNEL_SIZE}, because a kernel that is cut is another kernel"
            )
        with torch.autocast(kernels.device.type, enabled=False):  # bfloat16 has three digits
            padded = F.pad(kernels.float(), ((KERNEL_SIZE - size) // 2,) * 4)
            return padded.flatten(1) @ self.basis.T

    def kernels(self, codes: Tensor) -> Tensor:
        """k ≈ Bᵀ c + (μ − Bᵀ B μ): codes (B, n) -> kernels (B, 21, 21) that are ≥ 0 and sum to 1.

        What came out negative is set to 0, and the rest is divided by its sum.
        """
        with torch.autocast(codes.device.type, enabled=False):
            rest = self.mean - self.basis.T @ (self.basis @ self.mean)
            k = (codes.float() @ self.basis + rest).clamp(min=0)
            k = k / k.sum(dim=1, keepdim=True).clamp(min=1e-8)
        return k.unflatten(1, (KERNEL_SIZE, KERNEL_SIZE))

    def nearest_width(self, codes: Tensor) -> Tensor:
        """The isotropic width with the nearest code, of 0.2, 0.25, … 4.0 HR pixels: (B, n) -> (B,).

        A code has directions in which kernels hardly differ, and its length hides that. A width
        says what is meant.
        """
        widths = torch.linspace(0.2, 4.0, 77, device=codes.device)
        known = self(isotropic_kernels(widths, KERNEL_SIZE))  # (77, n)
        return widths[torch.cdist(codes.float(), known).argmin(dim=1)]

    def same_as(self, other: KernelCodes) -> bool:
        """Whether the codes of one mean the same to the other."""
        return torch.equal(self.basis, other.basis) and torch.equal(self.mean, other.mean)


def degradations_with(kernels: Tensor, scale: int, noise: float = 0.0) -> Degradations:
    """Degradations with given kernels (B, k, k); their widths and angle are the kernels' own.

    λ1², λ2² and θ are those of the second moments of the kernel. So every system that is not blind
    can read them, Model 5 also. On the CPU, as degradations are kept.
    """
    k = kernels.detach().float().cpu()
    axis = torch.arange(k.shape[-1], dtype=torch.float32) - k.shape[-1] // 2
    columns, rows = k.sum(dim=-2), k.sum(dim=-1)  # (B, k) each
    x, y = columns @ axis, rows @ axis  # the centre of mass
    xx, yy = columns @ axis**2 - x**2, rows @ axis**2 - y**2
    xy = torch.einsum("bij,i,j->b", k, axis, axis) - x * y
    theta = 0.5 * torch.atan2(2 * xy, xx - yy) % math.pi
    middle, radius = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    lambda1, lambda2 = ((middle + r).clamp(min=0).sqrt() for r in (radius, -radius))
    return Degradations(scale, k, torch.full_like(x, noise), lambda1, lambda2, theta)
