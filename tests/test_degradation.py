"""§3.1: kernels, blur, reduction, noise and rounding are what their formulas say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from dasrlib import degradation
from dasrlib.degradation import Degradations, DegradationSpace

SCALES = (2, 3, 4)
LEVEL = 1 / 255


def pictures(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Kernels


@pytest.mark.parametrize("size", [1, 3, 7, 21])
def test_kernels_sum_to_one(size):
    iso = degradation.isotropic_kernels([0.2, 1.3, 4.0], size)
    aniso = degradation.anisotropic_kernels([0.2, 3.5, 4.0], [4.0, 1.5, 2.0], [0.3, 2.0, 3.1], size)
    assert iso.shape == aniso.shape == (3, size, size)
    for kernels in (iso, aniso):
        assert (kernels >= 0).all()
        # Up to 441 float32 numbers, each rounded to 6e-8 of the whole at most.
        torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sigma", [1.0, 1.3, 2.0])
def test_sigma_is_the_measured_deviation(sigma):
    kernel = degradation.isotropic_kernels(sigma)[0].double()
    axis = torch.arange(21, dtype=torch.float64) - 10
    # What a moderate Gaussian loses at the edge of 21 pixels (5 σ) is 2e-5 of its variance, and
    # what sampling at whole pixels changes is exp(−2π²σ²), less than that.
    for profile in (kernel.sum(0), kernel.sum(1)):
        assert float((profile * axis**2).sum()) == pytest.approx(sigma**2, rel=1e-4)


@pytest.mark.parametrize("theta", [0.0, math.radians(30), math.radians(120)])
def test_anisotropic_kernels_have_the_asked_covariance(theta):
    l1, l2 = 2.0, 1.1
    kernel = degradation.anisotropic_kernels(l1, l2, theta)[0].double()
    axis = torch.arange(21, dtype=torch.float64) - 10
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    u = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    expected = u @ np.diag([l1**2, l2**2]) @ u.T
    measured = [[float((kernel * a * b).sum()) for a in (x, y)] for b in (x, y)]
    # As above: edge and sampling cost 2e-5 of the variance, which is 4 at most.
    np.testing.assert_allclose(measured, expected, rtol=0, atol=4e-4)


def test_equal_widths_make_an_isotropic_kernel():
    sigma = torch.tensor([0.2, 1.3, 4.0])
    iso = degradation.isotropic_kernels(sigma)
    for theta in (0.0, 0.7, 3.0):
        aniso = degradation.anisotropic_kernels(sigma, sigma, theta)
        # cos² + sin² is 1 to 1e-7 only; the smallest peak here is 0.01.
        torch.testing.assert_close(aniso, iso, rtol=0, atol=1e-6)


def test_theta_has_period_pi_and_a_quarter_turn_swaps_the_axes():
    theta = torch.tensor([0.0, 0.4, 1.5, 2.9])
    l1, l2 = torch.full((4,), 3.5), torch.full((4,), 1.5)
    kernels = degradation.anisotropic_kernels(l1, l2, theta)
    # float32 holds θ + π to 2.4e-7, and the values here are below 0.04.
    close = {"rtol": 0, "atol": 1e-6}
    turned = degradation.anisotropic_kernels(l1, l2, theta + math.pi)
    torch.testing.assert_close(turned, kernels, **close)
    swapped = degradation.anisotropic_kernels(l2, l1, theta + math.pi / 2)
    torch.testing.assert_close(swapped, kernels, **close)
    other = degradation.anisotropic_kernels(l1, l2, theta + math.pi / 2)
    assert (other - kernels).abs().max() > 1e-3


# Blur


@pytest.mark.parametrize("size", [1, 3, 7])
def test_blur_is_a_true_convolution_with_one_kernel_per_image(size):
    images = pictures(3, 2, 9, 12, dtype=torch.float64)
    kernels = pictures(3, size, size, seed=1, dtype=torch.float64)  # asymmetric, each another
    out = degradation.blur(images, kernels)
    assert out.shape == images.shape
    for image, kernel, blurred in zip(images, kernels, out, strict=True):
        for channel, got in zip(image, blurred, strict=True):
            # scipy calls torch's "reflect" (the edge not repeated) "mirror".
            expected = ndimage.convolve(channel.numpy(), kernel.numpy(), mode="mirror")
            # float64 on both sides: only the order of 49 sums differs.
            np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_blur_of_a_point_is_the_kernel_itself():
    point = torch.zeros(1, 1, 11, 11)
    point[..., 5, 5] = 1
    kernel = pictures(1, 5, 5)
    assert torch.equal(degradation.blur(point, kernel)[0, 0, 3:8, 3:8], kernel[0])


def test_border_is_reflected_and_the_edge_not_repeated():
    image = pictures(1, 1, 6, 8)
    shift = torch.zeros(1, 3, 3)
    shift[0, 1, 2] = 1  # I ⊗ k at x is I at x − 1
    out = degradation.blur(image, shift)
    assert torch.equal(out[..., 1:], image[..., :-1])
    assert torch.equal(out[..., 0], image[..., 1])


def test_one_kernel_serves_all_images():
    images, kernel = pictures(3, 3, 24, 24), degradation.isotropic_kernels(1.5)
    everyone = degradation.blur(images, kernel)
    each = degradation.blur(images, kernel.expand(3, -1, -1))
    assert torch.equal(everyone, each)


@pytest.mark.parametrize("scale", SCALES)
def test_sigma_zero_is_exactly_no_blur(scale):
    images = pictures(2, 3, 24, 36)
    none = Degradations.isotropic([0.0, 0.0], scale)
    assert torch.equal(degradation.blur(images, none.kernels), images)
    expected = degradation.quantise(degradation.resize_bicubic(images, 1 / scale))
    assert torch.equal(degradation.degrade(images, none), expected)


# Bicubic


def cubic(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def resized_line(line: np.ndarray, scale: float) -> np.ndarray:
    """The definition, pixel by pixel: a weighted mean around each output pixel's centre."""
    n, width = len(line), max(1.0, 1 / scale)
    out = []
    for i in range(math.ceil(n * scale - 1e-9)):
        centre = (i + 0.5) / scale - 0.5
        near = range(math.floor(centre - 2 * width), math.ceil(centre + 2 * width) + 1)
        weights = [cubic((centre - j) / width) for j in near]
        values = [line[min(max(j, 0), n - 1)] for j in near]
        out.append(np.dot(weights, values) / sum(weights))
    return np.array(out)


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 2, 3, 4])
def test_bicubic_agrees_with_the_slow_formula(scale):
    image = pictures(1, 1, 13, 18, dtype=torch.float64)
    rows = np.apply_along_axis(resized_line, 0, image[0, 0].numpy(), scale)
    expected = np.apply_along_axis(resized_line, 1, rows, scale)
    got = degradation.resize_bicubic(image, scale)[0, 0]
    # The weights are kept in float32: 6e-8 each, on pictures in [0, 1].
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_sizes(scale):
    image = pictures(2, 3, 25, 38)
    down = degradation.resize_bicubic(image, 1 / scale)
    assert down.shape == (2, 3, math.ceil(25 / scale), math.ceil(38 / scale))
    assert degradation.resize_bicubic(image, scale).shape == (2, 3, 25 * scale, 38 * scale)
    exact = degradation.resize_bicubic(image[..., :24, :36], 1 / scale)
    assert exact.shape == (2, 3, 24 // scale, 36 // scale)


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 2, 3, 4])
def test_bicubic_keeps_a_constant_picture(scale):
    out = degradation.resize_bicubic(torch.full((1, 3, 25, 38), 0.37), scale)
    # Each row of weights sums to 1 within the rounding of its float32 numbers.
    torch.testing.assert_close(out, torch.full_like(out, 0.37), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [0, -2, math.nan])
def test_bicubic_refuses_a_scale_that_is_not_positive(scale):
    with pytest.raises(ValueError, match="scale must be positive"):
        degradation.resize_bicubic(pictures(1, 3, 8, 8), scale)


# Rounding, noise, the whole


def test_quantise_rounds_and_clamps():
    values = torch.tensor([-0.3, 0.4 * LEVEL, 0.6 * LEVEL, 100.4 * LEVEL, 254.6 * LEVEL, 1.7])
    expected = torch.tensor([0, 0, 1, 100, 255, 255]) / 255
    assert torch.equal(degradation.quantise(values), expected)


@pytest.mark.parametrize("scale", SCALES)
def test_lr_is_an_eight_bit_picture_of_the_right_size(scale):
    hr = pictures(2, 3, 36, 48)
    hr[..., :16], hr[..., 32:] = 0, 1  # black and white: there noise would leave [0, 1]
    space = Degradations.isotropic([0.2, 1.0], scale, noise=25)
    lr = degradation.degrade(hr, space, torch.Generator().manual_seed(0))
    assert lr.shape == (2, 3, 36 // scale, 48 // scale)
    assert torch.equal(degradation.quantise(lr), lr)
    assert lr.min() == 0
    assert lr.max() == 1


@pytest.mark.parametrize("scale", SCALES)
def test_s_fold_takes_every_s_th_pixel(scale):
    hr = pictures(2, 3, 24, 36)
    kernels = degradation.isotropic_kernels([0.8, 1.6])
    zero = torch.zeros(2)
    s_fold = Degradations(scale, kernels, zero, zero, zero, zero, downsampler="s-fold")
    expected = degradation.quantise(degradation.blur(hr, kernels)[..., ::scale, ::scale])
    assert torch.equal(degradation.degrade(hr, s_fold), expected)


def test_noise_has_the_asked_deviation_and_only_where_asked():
    hr = torch.full((3, 3, 128, 128), 128 / 255)
    asked = Degradations.isotropic([1.0, 1.0, 1.0], 2, torch.tensor([0.0, 5.0, 25.0]))
    lr = degradation.degrade(hr, asked, torch.Generator().manual_seed(0))
    difference = 255 * (lr - degradation.quantise(hr[..., ::2, ::2]))
    assert (difference[0] == 0).all()
    for i, level in ((1, 5.0), (2, 25.0)):
        # 12288 numbers know their deviation to 0.64 %; three of those, and rounding adds 1/12 to
        # the variance. Five deviations of 25 stay inside 0..255, so nothing is clamped.
        assert float(difference[i].std()) == pytest.approx(math.hypot(level, 12**-0.5), rel=0.02)
        assert abs(float(difference[i].mean())) < 4 * level / 12288**0.5 + 0.5
    # White and independent: 1/√4096 is 0.016.
    channels = difference[1:].flatten(0, 1).flatten(1)
    correlation = torch.corrcoef(channels) - torch.eye(6)
    assert correlation.abs().max() < 0.08


def test_noise_comes_from_the_generator():
    hr, noisy = pictures(1, 3, 24, 24), Degradations.isotropic(1.0, 2, noise=10)

    def drawn(seed: int) -> torch.Tensor:
        return degradation.degrade(hr, noisy, torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("scale", SCALES)
def test_a_batch_is_its_images_one_by_one(scale):
    hr = pictures(4, 3, 24, 36)
    batch = Degradations.anisotropic([0.5, 1, 2, 4], [3, 2, 1, 0.3], [0, 0.5, 1, 3], scale)
    together = degradation.degrade(hr, batch)
    alone = torch.cat([degradation.degrade(hr[i : i + 1], batch[i]) for i in range(4)])
    difference = (together - alone).abs() * 255
    # The order of 441 sums may differ by 1e-6, which rounding turns into a level where a value
    # lies that close to a half: very seldom.
    assert difference.max() < 1.01
    assert (difference > 0.5).float().mean() < 0.01


def test_one_degradation_serves_all_images():
    hr, one = pictures(3, 3, 24, 24), Degradations.isotropic(1.7, 4)
    expected = degradation.degrade(hr, one.repeat_interleave(3))
    difference = (degradation.degrade(hr, one) - expected).abs() * 255
    # One matrix or three: the sums' order is the processor's choice, and rounding makes a level of
    # the last bit where a value lies that close to a half: seldom.
    assert difference.max() < 1.01
    assert (difference > 0.5).float().mean() < 0.02


@pytest.mark.parametrize("isotropic", [True, False])
def test_the_whole_is_its_parts(isotropic):
    hr = pictures(2, 3, 64, 80)
    if isotropic:
        chosen = Degradations.isotropic([1.0, 3.0], 4, noise=[0.0, 10.0])
    else:
        chosen = Degradations.anisotropic([1.0, 3.0], 0.7, 0.5, 4, noise=[0.0, 10.0])
    lr = degradation.resize_bicubic(degradation.blur(hr, chosen.kernels), 1 / 4)
    # Drawn on the generator's device, a number for each value whatever its noise level.
    n = torch.randn(lr.shape, generator=torch.Generator().manual_seed(3))
    unrounded = 255 * (lr + n * chosen.noise[:, None, None, None] / 255)
    got = 255 * degradation.degrade(hr, chosen, torch.Generator().manual_seed(3))
    # Half a level of rounding, and sums in another order.
    assert (got - unrounded.clamp(0, 255)).abs().max() < 0.501


# What is refused, with the value that was wrong

IMAGE = torch.full((1, 3, 24, 24), 0.5)


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (lambda: degradation.isotropic_kernels(1.0, 20), "kernel size must be odd.*got 20"),
        (lambda: degradation.isotropic_kernels(1.0, -1), "kernel size must be odd.*got -1"),
        (lambda: degradation.anisotropic_kernels(1, 2, 0, 4), "kernel size must be odd.*got 4"),
        (lambda: degradation.isotropic_kernels(0.0), "sigma must be positive and finite, got 0"),
        (
            lambda: degradation.isotropic_kernels([1.0, -0.5]),
            "sigma must be positive and finite, got -0.5",
        ),
        (
            lambda: degradation.isotropic_kernels(math.inf),
            "sigma must be positive and finite, got inf",
        ),
        (lambda: degradation.anisotropic_kernels(1, 2, math.nan), "theta must be .*got nan"),
        (lambda: Degradations.anisotropic(1, 2, [0.5, math.inf], 4), "theta must be .*got inf"),
        (lambda: Degradations.anisotropic(math.nan, 2, 0, 4), "lambda1 must be .*got nan"),
        (
            lambda: degradation.isotropic_kernels(math.nan),
            "sigma must be positive and finite, got nan",
        ),
        (
            lambda: degradation.anisotropic_kernels(1, 0, 0),
            "lambda2 must be positive and finite, got 0",
        ),
        (lambda: Degradations.isotropic(-1.0, 4), "sigma must be positive and finite, got -1"),
        (lambda: Degradations.isotropic(math.nan, 4), "sigma must be positive and finite, got nan"),
        (lambda: Degradations.isotropic(1.0, 5), "scale must be 2, 3 or 4, got 5"),
        (lambda: DegradationSpace.isotropic(5), "scale must be 2, 3 or 4, got 5"),
        (lambda: DegradationSpace.anisotropic(1), "scale must be 2, 3 or 4, got 1"),
        (lambda: Degradations.isotropic(1.0, 4, noise=-3), "noise must not be negative, got -3"),
        (lambda: Degradations.isotropic(1.0, 4, noise=math.nan), "noise must not be .*got nan"),
        (lambda: degradation.blur(IMAGE, torch.ones(1, 4, 4) / 16), "must be odd, got 4"),
        (lambda: degradation.blur(IMAGE, torch.ones(2, 3, 3) / 9), "1 kernel or 1.* got 2"),
        (
            lambda: degradation.blur(IMAGE[..., :10], degradation.isotropic_kernels(1.0)),
            "24×10 is too small for a 21×21 kernel.*at least 11",
        ),
        (
            lambda: degradation.degrade(IMAGE[..., :22, :], Degradations.isotropic(1.0, 4)),
            "22×24 cannot be downsampled by 4",
        ),
        (
            lambda: degradation.degrade(IMAGE, Degradations.isotropic([1.0, 2.0], 4)),
            "got 2",
        ),
    ],
)
def test_refused_in_one_sentence(refused, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        refused()
    assert "\n" not in str(error.value)
