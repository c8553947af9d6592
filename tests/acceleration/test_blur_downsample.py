"""§3.1: blur and downsampling in one step are the blur, then the resizing, borders included."""

from __future__ import annotations

import pytest
import torch

from dasrlib import degradation, resampling
from dasrlib.acceleration import blur_downsample as module
from dasrlib.acceleration.blur_downsample import blur_downsample
from dasrlib.degradation import Degradations
from dasrlib.resampling import blur, resize_bicubic

SCALES = (2, 3, 4)
# In LR pixels. 70 and 130 are more than one band of the separable way's, 5 is the smallest picture
# with a pixel that no border touches.
SIZES = [(24, 32), (5, 17), (70, 9), (12, 130)]


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def in_turn(hr: torch.Tensor, kernels: torch.Tensor, scale: int) -> torch.Tensor:
    return resize_bicubic(blur(hr, kernels), 1 / scale)


# A picture smaller than its kernel is refused, see below.
KINDS = [
    (scale, size, k)
    for scale in SCALES
    for size in SIZES
    for k in (1, 3, 7, 21)
    if scale * min(size) > k // 2
]


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("scale", "size", "k"), KINDS)
def test_one_step_is_blur_then_downsampling(scale, size, k, separable):
    hr = numbers(2, 3, scale * size[0], scale * size[1])
    if separable:
        kernels = numbers(2, k, 1, seed=1) * numbers(2, 1, k, seed=2)  # no symmetry, each another
    else:
        kernels = numbers(2, k, k, seed=1)
    kernels /= kernels.sum((1, 2), keepdim=True)
    got = blur_downsample(hr, kernels, scale, separable)
    # The matrices are kept in float32, and where the reflection puts two of its weights on one
    # pixel, their sum is rounded to it: 6e-8 of a weight, at most 0.3 in each direction.
    torch.testing.assert_close(got, in_turn(hr, kernels, scale), rtol=0, atol=1e-8)


def test_a_misspelt_backend_is_refused():
    d, hr = Degradations.isotropic(1.0, 4), numbers(1, 3, 32, 32).float()
    sentence = r"backend must be one of .*'fast'.*, got 'quick'"
    with pytest.raises(ValueError, match=sentence):
        degradation.degrade(hr, d, backend="quick")


@pytest.mark.parametrize("name", ["isotropic", "anisotropic"])
def test_degrade_is_the_same_in_both_backends(name):
    hr = numbers(4, 3, 96, 96).float()
    space = getattr(degradation.DegradationSpace, name)(4)
    d = space.sample(4, torch.Generator().manual_seed(3))
    plain, fast = (
        degradation.degrade(hr, d, torch.Generator().manual_seed(0), backend) * 255
        for backend in ("reference", "fast")
    )
    # Before rounding the two differ by 1e-3 of a grey level at most (see below), so only values
    # that close to a half, one in a thousand, may round to neighbouring levels.
    assert (plain - fast).abs().max() < 1.001
    assert ((plain - fast).abs() > 0.5).float().mean() < 2e-3
    assert plain.std() > 10


@pytest.mark.parametrize("separable", [False, True])
def test_one_kernel_serves_all_images(separable):
    hr, kernel = numbers(3, 3, 40, 48), degradation.isotropic_kernels(1.5).double()
    got = blur_downsample(hr, kernel, 4, separable)
    # An isotropic kernel of float32 numbers is an outer product to 6e-8 of its largest entry.
    torch.testing.assert_close(got, in_turn(hr, kernel, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_float32_stays_within_the_golden_tolerance(scale):
    hr = numbers(4, 3, 60 * scale, 50 * scale)
    iso = Degradations.isotropic([0.0, 0.2, 1.3, 4.0], scale)
    aniso = Degradations.anisotropic([0.2, 4.0, 3.5, 1.0], [4.0, 4.0, 1.5, 0.3], 0.5, scale)
    for d in (iso, aniso):
        exact = in_turn(hr, d.kernels.double(), scale)
        got = blur_downsample(hr.float(), d.kernels, scale, d.separable)
        assert (got - exact).abs().max() * 255 < 1e-3  # of a grey level


@pytest.mark.parametrize("separable", [False, True])
def test_what_blur_refuses_is_refused(separable):
    image = torch.full((1, 3, 24, 24), 0.5)
    for kernels, picture, sentence in [
        (torch.ones(1, 4, 4) / 16, image, "must be odd, got 4"),
        (torch.ones(2, 3, 3) / 9, image, "1 kernel or 1.* got 2"),
        (torch.ones(1, 21, 21) / 441, image[..., :8], "24×8 is too small for a 21×21 kernel"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            blur_downsample(picture, kernels, 4, separable)


def test_what_inference_cached_can_be_differentiated_through():
    for cached in (
        resampling.resize_matrix,
        module._shifted_band,
        module._windows,
    ):
        cached.cache_clear()
    hr, kernel = numbers(1, 3, 32, 32).float(), degradation.isotropic_kernels(1.0)
    for separable in (False, True):
        with torch.inference_mode():
            expected = blur_downsample(hr, kernel, 2, separable)
            resize_bicubic(hr, 2)
        asked, asked_kernel = hr.clone().requires_grad_(), kernel.clone().requires_grad_()
        out = blur_downsample(asked, asked_kernel, 2, separable)
        assert torch.equal(out.detach(), expected)
        (out.sum() + resize_bicubic(asked, 2).sum()).backward()
        # Of weights that sum to 1 each HR pixel's shares sum to what one pixel is worth; the
        # enlarged picture has 4 pixels for each.
        assert asked.grad.sum() == pytest.approx(3 * 16**2 + 4 * 3 * 32**2, rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["isotropic", "anisotropic"])
def test_a_gpu_gives_the_same_and_is_not_waited_for(name):
    hr = numbers(4, 3, 96, 96).float()
    d = getattr(degradation.DegradationSpace, name)(4).sample(4)
    expected = blur_downsample(hr, d.kernels, 4, d.separable)
    on_gpu = hr.cuda()
    degradation.degrade(on_gpu, d, backend="fast")  # fills the caches
    torch.cuda.set_sync_debug_mode("error")
    try:
        degradation.degrade(on_gpu, d, torch.Generator("cuda"), "fast")
        kernels = d.to("cuda").kernels
        got = blur_downsample(on_gpu, kernels, 4, d.separable)
        full = blur(on_gpu, kernels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (got.cpu() - expected).abs().max() * 255 < 1e-3
    assert (full.cpu() - blur(hr, d.kernels)).abs().max() * 255 < 1e-3
