"""§3.1 The degradation model: I_LR = (I_HR ⊗ k) ↓s + n.

Images are float32 RGB in [0, 1], (B, 3, H, W). Kernel widths are in HR pixels, angles in radians,
noise levels on the 0..255 scale, as the paper writes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from dasrlib import paper
from dasrlib.acceleration.blur_downsample import Backend, blur_downsample, check_backend
from dasrlib.acceleration.devices import to_device
from dasrlib.resampling import blur
from dasrlib.resampling import resize_bicubic as resize_bicubic

KERNEL_SIZE = paper.KERNEL_SIZE
SCALES = paper.SCALES
Downsampler = Literal["bicubic", "s-fold"]
Numbers = float | Sequence[float] | Tensor


def check_scale(scale: int) -> int:
    """The scale, if it is 2, 3 or 4; raises ValueError otherwise."""
    if scale not in SCALES:
        raise ValueError(f"scale must be 2, 3 or 4, got {scale}")
    return scale


def _grid(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates x (to the right) and y (down), 0 in the middle of a size×size kernel."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"kernel size must be odd and positive, got {size}")
    axis = torch.arange(size, dtype=like.dtype, device=like.device) - size // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def _as_batch(value: Numbers) -> Tensor:
    """A number or several as (B,), float32."""
    return torch.atleast_1d(torch.as_tensor(value, dtype=torch.float32))


def _widths(name: str, value: Numbers) -> Tensor:
    widths = _as_batch(value)
    if not bool((widths > 0).all()):
        none = widths.min().item() == 0
        raise ValueError(
            f"{name} must be positive, got {widths.min().item():g}"
            + ("; Degradations.isotropic takes a width of 0 for no blur at all" if none else "")
        )
    if bool(widths.isinf().any()):
        raise ValueError(f"{name} must be finite, got inf")
    return widths


def _angles(value: Numbers) -> Tensor:
    angles = _as_batch(value)
    if not bool(angles.isfinite().all()):
        raise ValueError(f"theta must be a finite angle in radians, got {angles.sum().item():g}")
    return angles


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=(-2, -1), keepdim=True)


def isotropic_kernels(sigma: Numbers, size: int = KERNEL_SIZE) -> Tensor:
    """Isotropic Gaussian kernels, k(x, y) ∝ exp(−(x² + y²) / 2σ²), each summing to 1 (§3.1).

    Args:
        sigma: (B,) or a number, > 0, HR pixels.
        size: side of the kernel in HR pixels, odd.

    Returns:
        (B, size, size), float32.

    Raises:
        ValueError: for an even size or a width that is not positive.
    """
    widths = _widths("sigma", sigma)
    x, y = _grid(size, widths)
    # k(x, y) ∝ exp(−(x² + y²) / 2σ²)
    return _normalised(torch.exp(-(x**2 + y**2) / (2 * widths[:, None, None] ** 2)))


def anisotropic_kernels(
    lambda1: Numbers,
    lambda2: Numbers,
    theta: Numbers,
    size: int = KERNEL_SIZE,
) -> Tensor:
    """Anisotropic Gaussian kernels with covariance Σ = U diag(λ1², λ2²) Uᵀ, each summing to 1
    (§3.1).

    Args:
        lambda1: (B,) or a number, > 0: standard deviation along the first axis, HR pixels.
        lambda2: the same along the second axis.
        theta: (B,) or a number, radians: the angle of the λ1 axis from the x axis, counted from x
            (right) to y (down the picture).
        size: side of the kernel in HR pixels, odd.

    Returns:
        (B, size, size), float32.

    Raises:
        ValueError: for an even size, a width that is not positive, or an angle that is not finite.
    """
    l1, l2 = _widths("lambda1", lambda1), _widths("lambda2", lambda2)
    angle = _angles(theta)
    x, y = _grid(size, l1)
    # Coordinates along the two axes of the ellipse, (x, y) U; then −½ (x, y) Σ⁻¹ (x, y)ᵀ is a
    # plain sum.
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along1 = x * cos + y * sin
    along2 = -x * sin + y * cos
    # k(x, y) ∝ exp(−½ (along1² / λ1² + along2² / λ2²))
    exponent = (along1 / l1[:, None, None]) ** 2 + (along2 / l2[:, None, None]) ** 2
    return _normalised(torch.exp(-exponent / 2))


def quantise(images: Tensor) -> Tensor:
    """Rounded to the 256 levels of an 8-bit picture and clamped; still in [0, 1]."""
    return (images * 255).round().clamp(0, 255) / 255


def _are_separable(kernels: Tensor) -> bool:
    """Whether each kernel (B, k, k) that sums to 1 is the outer product of its marginal sums."""
    outer = kernels.sum(dim=-1, keepdim=True) * kernels.sum(dim=-2, keepdim=True)
    # Isotropic kernels of float32 numbers are outer products to 1e-7; 1e-5 of the largest entry
    # lies far below any visible difference, and far above that rounding.
    return bool((kernels - outer).abs().max() <= 1e-5 * kernels.abs().max())


@dataclass(frozen=True)
class Degradations:
    """A batch of degradations, one per image, and the parameters they came from (§3.1).

    Args:
        scale: s, 2, 3 or 4.
        kernels: (B, k, k), each sums to 1.
        noise: (B,), standard deviations on the 0..255 scale.
        lambda1: (B,), kernel width along the first axis, HR pixels: σ for an isotropic kernel, 0
            for no blur.
        lambda2: (B,), the same along the second axis.
        theta: (B,), the angle of the first axis, radians.
        downsampler: "bicubic", or "s-fold" for every s-th pixel.
        separable: each kernel is the outer product of a column and a row.
        has_noise: False where all noise levels are 0: `degrade` then draws no noise.

    Raises:
        ValueError: for an unknown scale or downsampler, a negative noise level, or a `separable` or
            `has_noise` that the tensors contradict. Tensors on a GPU are not read back.
    """

    scale: int
    kernels: Tensor
    noise: Tensor
    lambda1: Tensor
    lambda2: Tensor
    theta: Tensor
    downsampler: Downsampler = "bicubic"
    # Fields, since `degrade` would have to wait for a GPU to find them out.
    separable: bool = False
    has_noise: bool = True

    def __post_init__(self) -> None:
        check_scale(self.scale)
        if self.downsampler not in get_args(Downsampler):
            expected = get_args(Downsampler)
            raise ValueError(f"downsampler must be one of {expected}, got {self.downsampler!r}")
        if self.noise.is_cuda or self.noise.numel() == 0:
            return
        if not bool((self.noise >= 0).all()):
            raise ValueError(f"noise must not be negative, got {self.noise.min().item():g}")
        if not self.has_noise and bool(self.noise.any()):
            level = self.noise.max().item()
            raise ValueError(f"a noise level is {level:g}: give has_noise=True with it")
        if self.separable and not _are_separable(self.kernels):
            raise ValueError("a kernel is not an outer product: give separable=False with it")

    @classmethod
    def isotropic(
        cls,
        sigma: Numbers,
        scale: int,
        noise: Numbers = 0.0,
        size: int = KERNEL_SIZE,
        downsampler: Downsampler = "bicubic",
    ) -> Degradations:
        """Isotropic Gaussian kernels (§4.2).

        Args:
            sigma: (B,) or a number, widths in HR pixels; 0 means no blur at all.
            scale: 2, 3 or 4.
            noise: (B,) or a number, standard deviations on the 0..255 scale.
            size: side of the kernels in HR pixels, odd.
            downsampler: "bicubic" or "s-fold".

        Raises:
            ValueError: for a negative or infinite width, or a negative noise level.
        """
        widths, noises = torch.broadcast_tensors(_as_batch(sigma), _as_batch(noise))
        # A Gaussian of a thousandth of a pixel is exactly the kernel with a single 1 in the middle.
        kernels = isotropic_kernels(torch.where(widths == 0, 1e-3, widths), size)
        zero = torch.zeros_like(widths)
        noisy = bool(noises.any())
        return cls(scale, kernels, noises, widths, widths, zero, downsampler, True, noisy)

    @classmethod
    def anisotropic(
        cls,
        lambda1: Numbers,
        lambda2: Numbers,
        theta: Numbers,
        scale: int,
        noise: Numbers = 0.0,
        size: int = KERNEL_SIZE,
        downsampler: Downsampler = "bicubic",
    ) -> Degradations:
        """Anisotropic Gaussian kernels (§4.3).

        Args:
            lambda1: (B,) or a number, > 0: width along the first axis, HR pixels.
            lambda2: the same along the second axis.
            theta: (B,) or a number, the angle of the first axis, radians.
            scale: 2, 3 or 4.
            noise: (B,) or a number, standard deviations on the 0..255 scale.
            size: side of the kernels in HR pixels, odd.
            downsampler: "bicubic" or "s-fold".

        Raises:
            ValueError: for a width that is not positive, an angle that is not finite, or a negative
                noise level.
        """
        l1, l2, angle, noises = torch.broadcast_tensors(
            *(_as_batch(value) for value in (lambda1, lambda2, theta, noise))
        )
        kernels = anisotropic_kernels(l1, l2, angle, size)
        noisy = bool(noises.any())
        return cls(scale, kernels, noises, l1, l2, angle, downsampler, False, noisy)

    def __len__(self) -> int:
        return self.noise.shape[0]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Degradations:
        return replace(
            self,
            kernels=function(self.kernels),
            noise=function(self.noise),
            lambda1=function(self.lambda1),
            lambda2=function(self.lambda2),
            theta=function(self.theta),
        )

    def __getitem__(self, index: int | slice | Tensor) -> Degradations:
        """The chosen degradations, still a batch."""
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} degradations, got index {index}")
        chosen = slice(index, index + 1 or None) if isinstance(index, int) else index
        some = self._map(lambda t: t[chosen])
        return some if some.noise.is_cuda else replace(some, has_noise=bool(some.noise.any()))

    def repeat_interleave(self, times: int) -> Degradations:
        """Each degradation `times` times in a row: for several patches of one image."""
        return self._map(lambda t: t.repeat_interleave(times, dim=0))

    def to(self, device: torch.device | str) -> Degradations:
        """The same degradations on another device."""
        return self._map(lambda t: to_device(t, device))

    @property
    def encoding(self) -> Tensor:
        """Each degradation in four numbers of order one, (B, 4): what Model 5 is given (§4.2).

        The three entries of the square root of the covariance, U diag(λ1, λ2) Uᵀ, over 4 HR
        pixels, and the noise level over 25. Unlike (λ1, λ2, θ) it has no jump where θ passes π.
        """
        cos, sin = self.theta.cos(), self.theta.sin()
        xx = self.lambda1 * cos**2 + self.lambda2 * sin**2
        yy = self.lambda1 * sin**2 + self.lambda2 * cos**2
        xy = (self.lambda1 - self.lambda2) * cos * sin
        return torch.stack([xx / 4, yy / 4, xy / 4, self.noise / 25], dim=1)


@dataclass(frozen=True)
class DegradationSpace:
    """A distribution of degradations to draw a batch from (§3.1, §4.1).

    Args:
        scale: 2, 3 or 4.
        widths: the range of σ, or of λ1 and λ2, in HR pixels.
        is_isotropic: one width σ for each kernel, instead of λ1, λ2 and θ.
        noise: the largest noise level, 0..255 scale; levels are uniform in [0, noise].
        downsampler: "bicubic" or "s-fold".
    """

    scale: int
    widths: tuple[float, float]
    is_isotropic: bool
    noise: float = 0.0
    downsampler: Downsampler = "bicubic"

    @classmethod
    def isotropic(cls, scale: int) -> DegradationSpace:
        """§4.2: σ ~ U[0.2, 2.0], U[0.2, 3.0] or U[0.2, 4.0] for ×2, ×3, ×4; no noise."""
        return cls(scale, paper.SIGMA_RANGE[check_scale(scale)], is_isotropic=True)

    @classmethod
    def anisotropic(cls, scale: int, noise: float = 25.0) -> DegradationSpace:
        """§4.3: λ1, λ2 ~ U[0.2, 4.0], θ ~ U[0, π], noise level ~ U[0, noise]."""
        return cls(check_scale(scale), paper.LAMBDA_RANGE, is_isotropic=False, noise=noise)

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Degradations:
        """Draws a batch of degradations.

        Args:
            batch: how many.
            generator: to draw with; torch's global one where it is None.
        """
        low, high = self.widths
        u = torch.rand(4, batch, generator=generator)
        lambda1, lambda2 = low + (high - low) * u[0], low + (high - low) * u[1]
        noise = self.noise * u[3]
        if self.is_isotropic:
            return Degradations.isotropic(lambda1, self.scale, noise, downsampler=self.downsampler)
        return Degradations.anisotropic(
            lambda1, lambda2, math.pi * u[2], self.scale, noise, downsampler=self.downsampler
        )


def degrade(
    hr: Tensor,
    degradations: Degradations,
    generator: torch.Generator | None = None,
    backend: Backend = "reference",
) -> Tensor:
    """I_LR = (I_HR ⊗ k) ↓s + n, rounded to 8 bit; one degradation per image (§3.1).

    Args:
        hr: (B, 3, H, W) in [0, 1], H and W divisible by the scale.
        degradations: B of them, or one for all.
        generator: draws the noise, on its own device.
        backend: "reference" computes the formula as it stands. "fast" blurs and downsamples in one
            step (acceleration.blur_downsample): the same before rounding to 1e-6.

    Returns:
        (B, 3, H/s, W/s) in [0, 1], multiples of 1/255.

    Raises:
        ValueError: where the sizes or the numbers of images and degradations do not fit, and for an
            unknown backend.
    """
    check_backend(backend)
    s = degradations.scale
    h, w = hr.shape[-2:]
    if h % s or w % s:
        raise ValueError(
            f"a picture of {h}×{w} cannot be downsampled by {s}: crop it to multiples of {s}"
        )
    k = to_device(degradations.kernels, hr.device)
    # (I_HR ⊗ k) ↓s
    if degradations.downsampler == "s-fold":
        lr = blur(hr, k)[..., ::s, ::s]
    elif backend == "reference":
        lr = resize_bicubic(blur(hr, k), 1 / s)
    else:
        lr = blur_downsample(hr, k, s, degradations.separable)
    # + n
    if degradations.has_noise:
        device = generator.device if generator is not None else lr.device
        n = torch.randn(lr.shape, generator=generator, device=device).to(lr)
        levels = to_device(degradations.noise, hr.device)
        lr = lr + n * levels[:, None, None, None] / 255
    return quantise(lr)
