"""§3.1 The degradation model: I_LR = (I_HR ⊗ k) ↓s + n. Beyond the paper: JPEG after it.

Images are float32 RGB in [0, 1], (B, 3, H, W). Kernel widths are in HR pixels, angles in radians,
noise levels on the 0..255 scale, as the paper writes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from dasrlib.acceleration.blur_downsample import blur_downsample
from dasrlib.acceleration.devices import to_device
from dasrlib.errors import check_choice, check_choices, check_number, check_pictures
from dasrlib.jpeg import compress
from dasrlib.paper import KERNEL_SIZE, LAMBDA_RANGE, SIGMA_RANGE, check_scale
from dasrlib.resampling import blur
from dasrlib.resampling import resize_bicubic as resize_bicubic

Backend = Literal["reference", "fast"]
Downsampler = Literal["bicubic", "s-fold"]
Numbers = float | Sequence[float] | Tensor


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


def _finite(name: str, value: Numbers, above: float = -math.inf) -> Tensor:
    """_as_batch; raises ValueError for a number that is not finite or not above the bound."""
    numbers = _as_batch(value)
    refused = numbers[~(numbers.isfinite() & (numbers > above))]
    if len(refused):
        expected = "finite" if above == -math.inf else "positive and finite"
        raise ValueError(f"{name} must be {expected}, got {refused[0].item():g}")
    return numbers


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=(-2, -1), keepdim=True)


def isotropic_kernels(sigma: Numbers, size: int = KERNEL_SIZE) -> Tensor:
    """Isotropic Gaussian kernels, k(x, y) ∝ exp(−(x² + y²) / 2σ²), each summing to 1 (§3.1).

    Args:
        sigma: (B,) or a number, > 0, HR pixels. For no blur see Degradations.isotropic.
        size: side of the kernel in HR pixels, odd.

    Returns:
        (B, size, size), float32.
    """
    widths = _finite("sigma", sigma, above=0)
    x, y = _grid(size, widths)
    # k(x, y) ∝ exp(−(x² + y²) / 2σ²)
    return _normalised(torch.exp(-(x**2 + y**2) / (2 * widths[:, None, None] ** 2)))


def anisotropic_kernels(
    lambda1: Numbers, lambda2: Numbers, theta: Numbers, size: int = KERNEL_SIZE
) -> Tensor:
    """Anisotropic Gaussian kernels, Σ = U diag(λ1², λ2²) Uᵀ, each summing to 1 (§3.1).

    Args:
        lambda1: (B,) or a number, > 0: standard deviation along the first axis, HR pixels.
        lambda2: the same along the second axis.
        theta: (B,) or a number, radians: the angle of the λ1 axis from the x axis, counted from x
            (right) to y (down the picture).
        size: side of the kernel in HR pixels, odd.

    Returns:
        (B, size, size), float32.
    """
    l1, l2 = _finite("lambda1", lambda1, above=0), _finite("lambda2", lambda2, above=0)
    angle = _finite("theta", theta)
    x, y = _grid(size, l1)
    # Coordinates along the two axes of the ellipse, (x, y) U. In them −½ (x, y) Σ⁻¹ (x, y)ᵀ is a
    # sum of two squares.
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along1 = x * cos + y * sin
    along2 = -x * sin + y * cos
    # k(x, y) ∝ exp(−½ (along1² / λ1² + along2² / λ2²))
    exponent = (along1 / l1[:, None, None]) ** 2 + (along2 / l2[:, None, None]) ** 2
    return _normalised(torch.exp(-exponent / 2))


def quantise(images: Tensor, bits: int = 8) -> Tensor:
    """Rounded to the levels of a picture of 8 (or 16) bits and clamped; still in [0, 1]."""
    largest = 2**bits - 1
    return (images * largest).round().clamp(0, largest) / largest


@dataclass(frozen=True)
class Degradations:
    """A batch of degradations, one per image, and the parameters they came from (§3.1).

    Keep them on the CPU, also if the images are on a GPU: `degrade` reads `separable` and
    `has_noise`, and for tensors on a GPU the first reading waits for it.

    Args:
        scale: s, 2, 3 or 4.
        kernels: (B, k, k), each sums to 1.
        noise: (B,), standard deviations on the 0..255 scale.
        lambda1: (B,), kernel width along the first axis, HR pixels: σ for an isotropic kernel, 0
            for no blur.
        lambda2: (B,), the same along the second axis.
        theta: (B,), the angle of the first axis, radians.
        downsampler: "bicubic", or "s-fold" for every s-th pixel.
        quality: (B,), of the JPEG file that LR is written to last, 1..100, or 0 for no JPEG; None,
            as in the paper, for no JPEG at all.
    """

    scale: int
    kernels: Tensor
    noise: Tensor
    lambda1: Tensor
    lambda2: Tensor
    theta: Tensor
    downsampler: Downsampler = "bicubic"
    quality: Tensor | None = None

    def __post_init__(self) -> None:
        check_scale(self.scale)
        check_choices(self)
        # To look at numbers on a GPU, the program would have to wait for it.
        if not self.noise.is_cuda and not bool((self.noise >= 0).all()):
            raise ValueError(f"noise must not be negative, got {self.noise.min().item():g}")
        if not self.noise.is_cuda and not bool(self.noise.isfinite().all()):
            raise ValueError(f"noise must be finite, got {self.noise.max().item():g}")
        if self.quality is not None and not self.quality.is_cuda:
            refused = self.quality[~((self.quality >= 0) & (self.quality <= 100))]
            if len(refused):
                raise ValueError(
                    f"the JPEG quality must be 1..100, or 0 for no JPEG, got {refused[0].item():g}"
                )

    @cached_property
    def has_noise(self) -> bool:
        """Whether a noise level is above 0."""
        return bool(self.noise.any())

    @cached_property
    def separable(self) -> bool:
        """Whether each kernel is the outer product of a column and a row, as isotropic ones are."""
        k = self.kernels
        error = (k - k.sum(dim=-1, keepdim=True) * k.sum(dim=-2, keepdim=True)).abs()
        # Isotropic kernels are outer products to float32's rounding, 1e-7 of their largest entry.
        return bool((error <= 1e-6 * k.abs().amax(dim=(-2, -1), keepdim=True)).all())

    @cached_property
    def has_jpeg(self) -> bool:
        """Whether one of them ends with JPEG."""
        return self.quality is not None and bool(self.quality.any())

    @classmethod
    def isotropic(cls, sigma: Numbers, scale: int, noise: Numbers = 0.0) -> Degradations:
        """Isotropic Gaussian kernels (§4.2).

        Args:
            sigma: (B,) or a number, widths in HR pixels; 0 means no blur at all.
            scale: 2, 3 or 4.
            noise: (B,) or a number, standard deviations on the 0..255 scale.
        """
        widths, noises = torch.broadcast_tensors(_as_batch(sigma), _as_batch(noise))
        # A Gaussian of a thousandth of a pixel is exactly the kernel with a single 1 in the middle.
        kernels = isotropic_kernels(torch.where(widths == 0, 1e-3, widths))
        return cls(scale, kernels, noises, widths, widths, torch.zeros_like(widths))

    @classmethod
    def anisotropic(
        cls, lambda1: Numbers, lambda2: Numbers, theta: Numbers, scale: int, noise: Numbers = 0.0
    ) -> Degradations:
        """Anisotropic Gaussian kernels (§4.3), with the arguments of anisotropic_kernels."""
        l1, l2, angle, noises = torch.broadcast_tensors(
            *(_as_batch(value) for value in (lambda1, lambda2, theta, noise))
        )
        return cls(scale, anisotropic_kernels(l1, l2, angle), noises, l1, l2, angle)

    def with_jpeg(self, quality: Numbers) -> Degradations:
        """The same, then JPEG; quality: (B,) or a number, 1..100, or 0 for no JPEG."""
        return replace(self, quality=_as_batch(quality).expand(len(self)))

    def __len__(self) -> int:
        return self.noise.shape[0]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Degradations:
        names = ("kernels", "noise", "lambda1", "lambda2", "theta", "quality")
        given = {name: getattr(self, name) for name in names}
        mapped: dict[str, Any] = {n: function(t) for n, t in given.items() if t is not None}
        return replace(self, **mapped)

    def __getitem__(self, index: int | slice | Tensor) -> Degradations:
        """The chosen degradations, still a batch."""
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} degradations, got index {index}")
        chosen = slice(index, index + 1 or None) if isinstance(index, int) else index
        return self._map(lambda t: t[chosen])

    def repeat_interleave(self, times: int) -> Degradations:
        """Each degradation `times` times in a row: for several patches of one image."""
        return self._map(lambda t: t.repeat_interleave(times, dim=0))

    def to(self, device: torch.device | str) -> Degradations:
        """The same degradations on another device."""
        return self._map(lambda t: to_device(t, device))

    @property
    def encoding(self) -> Tensor:
        """Each degradation in four numbers of order one, (B, 4): what Model 5 is given (§4.2).

        The three entries of the square root of the covariance, U diag(λ1, λ2) Uᵀ, divided by 4 HR
        pixels, and the noise level divided by 25. Unlike (λ1, λ2, θ), it does not jump where θ
        passes π.
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
        quality: the range of the JPEG quality, uniform; None for no JPEG.
        without: the share that has no noise, and, drawn apart, the share that has no JPEG.
        isotropic_share: the share of anisotropic kernels that have λ2 = λ1.
    """

    scale: int
    widths: tuple[float, float]
    is_isotropic: bool
    noise: float = 0.0
    quality: tuple[float, float] | None = None
    without: float = 0.0
    isotropic_share: float = 0.0

    def __post_init__(self) -> None:
        check_scale(self.scale)
        narrowest, widest = self.widths
        check_number("the smallest kernel width", narrowest, at_least=0)
        check_number("the largest kernel width", widest, at_least=narrowest)
        if not self.is_isotropic:  # 0, no blur, is isotropic
            check_number("the smallest kernel width", narrowest, above=0)
        check_number("noise", self.noise, at_least=0)
        if self.quality is not None:
            worst, best = self.quality
            check_number("the worst JPEG quality", worst, at_least=1)
            check_number("the best JPEG quality", best, at_least=worst, at_most=100)
        for name in ("without", "isotropic_share"):
            check_number(name, getattr(self, name), at_least=0, at_most=1)
        if self.without and not self.noise and self.quality is None:
            raise ValueError(
                f"without is {self.without} in a space without noise and JPEG: set it to 0"
            )

    @classmethod
    def isotropic(cls, scale: int) -> DegradationSpace:
        """§4.2: σ ~ U[0.2, 2.0], U[0.2, 3.0] or U[0.2, 4.0] for ×2, ×3, ×4; no noise."""
        return cls(scale, SIGMA_RANGE[check_scale(scale)], is_isotropic=True)

    @classmethod
    def anisotropic(cls, scale: int, noise: float = 25.0) -> DegradationSpace:
        """§4.3: λ1, λ2 ~ U[0.2, 4.0], θ ~ U[0, π], noise level ~ U[0, noise]."""
        return cls(check_scale(scale), LAMBDA_RANGE, is_isotropic=False, noise=noise)

    @classmethod
    def photo(cls, scale: int) -> DegradationSpace:
        """Beyond the paper: `anisotropic`, then JPEG of quality U[40, 95].

        Half have no noise, half have no JPEG, and half of the kernels are isotropic. A photograph
        is seldom bad in every way, and a network that saw few clean ones restores them worse.
        """
        return replace(
            cls.anisotropic(scale), quality=(40.0, 95.0), without=0.5, isotropic_share=0.5
        )

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Degradations:
        """Draws `batch` degradations with the generator, or with torch's global one."""
        low, high = self.widths
        u = torch.rand(4, batch, generator=generator)
        lambda1, lambda2 = low + (high - low) * u[0], low + (high - low) * u[1]
        noise = self.noise * u[3]
        if self.without:
            noise = noise.where(torch.rand(batch, generator=generator) >= self.without, 0)
        if self.isotropic_share:
            tilted = torch.rand(batch, generator=generator) >= self.isotropic_share
            lambda2 = lambda2.where(tilted, lambda1)
        if self.is_isotropic:
            drawn = Degradations.isotropic(lambda1, self.scale, noise)
        else:
            drawn = Degradations.anisotropic(lambda1, lambda2, math.pi * u[2], self.scale, noise)
        if self.quality is None:
            return drawn
        worst, best = self.quality
        v = torch.rand(2, batch, generator=generator)
        quality = worst + (best - worst) * v[0]
        return drawn.with_jpeg(quality.where(v[1] >= self.without, 0))


def degrade(
    hr: Tensor,
    degradations: Degradations,
    generator: torch.Generator | None = None,
    backend: Backend = "reference",
    noise: Tensor | None = None,
) -> Tensor:
    """I_LR = (I_HR ⊗ k) ↓s + n, rounded to 8 bit; one degradation per image (§3.1).

    Where a degradation has a JPEG quality, the rounded picture is compressed at last, as a camera
    or a website does it.

    Args:
        hr: (B, 3, H, W) in [0, 1], H and W divisible by the scale.
        degradations: B of them, or one for all.
        generator: draws the noise, on its own device.
        backend: "reference" computes the formula as it is written. "fast" blurs and downsamples in
            one step (acceleration.blur_downsample): before rounding the same to 1e-6.
        noise: (B, 3, H/s, W/s), standard normal, where it was drawn before.

    Returns:
        (B, 3, H/s, W/s) in [0, 1], multiples of 1/255.
    """
    check_choice("backend", backend, Backend)
    check_pictures(hr)
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
        if noise is None:
            noise = torch.randn(lr.shape, generator=generator, device=device)
        n = noise.to(lr)
        levels = to_device(degradations.noise, hr.device)
        lr = lr + n * levels[:, None, None, None] / 255
    lr = quantise(lr)
    if degradations.quality is not None and degradations.has_jpeg:
        lr = compress(lr, degradations.quality.expand(len(lr)))
    return lr
