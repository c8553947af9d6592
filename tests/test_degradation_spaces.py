"""§3.1: degradations in batches, and the spaces they are drawn from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dasrlib import degradation
from dasrlib.degradation import Degradations, DegradationSpace

SCALES = (2, 3, 4)


def tensors(degradations: Degradations) -> list[torch.Tensor]:
    d = degradations
    return [d.kernels, d.noise, d.lambda1, d.lambda2, d.theta]


# Batches of degradations


@pytest.fixture
def three() -> Degradations:
    return Degradations.anisotropic([1, 2, 3], [0.5, 1.5, 2.5], [0.1, 0.2, 0.3], 4, noise=7)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [0]),
        (2, [2]),
        (-1, [2]),
        (-3, [0]),
        (slice(1, None), [1, 2]),
        (torch.tensor([2, 0, 2]), [2, 0, 2]),
    ],
)
def test_indexing_gives_a_batch(three, index, expected):
    chosen = three[index]
    assert len(chosen) == len(expected)
    for got, whole in zip(tensors(chosen), tensors(three), strict=True):
        assert torch.equal(got, whole[expected])
    assert chosen.scale == 4


def test_an_index_outside_is_an_index_error_and_iteration_ends(three):
    for outside in (3, -4):
        with pytest.raises(IndexError):
            three[outside]
    iterator = iter(three)
    assert [float(next(iterator).lambda1) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(StopIteration):
        next(iterator)


def test_repeat_interleave_keeps_patches_of_a_picture_together(three):
    twice = three.repeat_interleave(2)
    assert len(twice) == 6
    for got, once in zip(tensors(twice), tensors(three), strict=True):
        assert torch.equal(got, once[[0, 0, 1, 1, 2, 2]])


def test_encoding_holds_the_root_of_the_covariance_and_the_noise():
    theta = math.radians(30)
    told = Degradations.anisotropic(3.5, 1.5, theta, 4, noise=10)
    u = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    root = u @ np.diag([3.5, 1.5]) @ u.T / 4
    expected = [[root[0, 0], root[1, 1], root[0, 1], 10 / 25]]
    # float32 against float64 on numbers of order one.
    np.testing.assert_allclose(told.encoding.numpy(), expected, rtol=0, atol=1e-6)


def test_encoding_has_no_jump_where_theta_passes_pi():
    step = 1e-3
    before, at, after = Degradations.anisotropic(
        3.5, 1.5, [math.pi - step, math.pi, step], 4
    ).encoding
    start = Degradations.anisotropic(3.5, 1.5, 0.0, 4).encoding[0]
    torch.testing.assert_close(at, start, rtol=0, atol=1e-6)  # float32's π is off by 9e-8
    # The entries move by (λ1 − λ2)/4 times the angle at most: half of it here, and 2 steps.
    assert (before - after).abs().max() < 2 * step
    quarter = Degradations.anisotropic(3.5, 1.5, math.pi / 2, 4).encoding[0]
    assert (quarter - start).abs().max() > 0.4


def test_widths_and_noises_broadcast():
    noises = torch.tensor([0.0, 5.0, 25.0])
    for three in (
        Degradations.isotropic(1.5, 4, noise=noises),
        Degradations.isotropic([1.5], 4, noise=[0, 5, 25]),
        Degradations.anisotropic(1.5, 1.5, 0.0, 4, noise=noises),
    ):
        assert len(three) == 3
        assert torch.equal(three.noise, noises)
        assert torch.equal(three.lambda1, torch.full((3,), 1.5))
        assert three.kernels.shape == (3, 21, 21)
    assert len(Degradations.isotropic([1.0, 2.0], 4, noise=3)) == 2


@pytest.mark.parametrize("width", [0.0, 0.2, 1.3, 4.0])
def test_isotropic_kernels_are_separable_and_others_are_not(three, width):
    isotropic = Degradations.isotropic([width, 1.0], 4)
    assert isotropic.separable
    assert not three.separable
    assert not Degradations.anisotropic(1.05, 1.0, 0.8, 4).separable
    # Also where only the kernels are exchanged: then the fast way must not use the old answer.
    other = replace(isotropic, kernels=three.kernels[:2])
    hr = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, fast = (degradation.degrade(hr, other, backend=b) for b in ("reference", "fast"))
    assert (plain - fast).abs().max() * 255 < 1.001  # rounded to a neighbouring level at most


def test_each_image_has_its_own_noise_level():
    loud = Degradations.isotropic([1.0, 2.0], 4, noise=torch.tensor([0.0, 5.0]))
    grey = torch.full((2, 3, 32, 32), 0.5)
    lr = degradation.degrade(grey, loud, torch.Generator().manual_seed(0))
    assert lr[0].std() == 0
    assert lr[1].std() * 255 > 3


def test_unknown_downsampler_is_refused(three):
    with pytest.raises(ValueError, match=r"downsampler must be one of.*got 'nearest'"):
        Degradations(4, *tensors(three), downsampler="nearest")


# Spaces


@pytest.mark.parametrize(("scale", "high"), [(2, 2.0), (3, 3.0), (4, 4.0)])
def test_isotropic_space_is_the_papers(scale, high):
    drawn = DegradationSpace.isotropic(scale).sample(2000, torch.Generator().manual_seed(0))
    assert drawn.scale == scale
    assert len(drawn) == 2000
    assert torch.equal(drawn.lambda1, drawn.lambda2)
    assert (drawn.noise == 0).all()
    assert torch.equal(drawn.kernels[7], degradation.isotropic_kernels(drawn.lambda1[7])[0])
    uniform(drawn.lambda1, 0.2, high)


@pytest.mark.parametrize("scale", SCALES)
def test_anisotropic_space_is_the_papers(scale):
    drawn = DegradationSpace.anisotropic(scale).sample(2000, torch.Generator().manual_seed(0))
    uniform(drawn.lambda1, 0.2, 4.0)
    uniform(drawn.lambda2, 0.2, 4.0)
    uniform(drawn.theta, 0.0, math.pi)
    uniform(drawn.noise, 0.0, 25.0)
    expected = degradation.anisotropic_kernels(drawn.lambda1[7], drawn.lambda2[7], drawn.theta[7])
    assert torch.equal(drawn.kernels[7], expected[0])
    numbers = torch.stack([drawn.lambda1, drawn.lambda2, drawn.theta, drawn.noise])
    # Independent: correlations of 2000 pairs are 0.022 wide.
    assert (torch.corrcoef(numbers) - torch.eye(4)).abs().max() < 0.1
    quiet = DegradationSpace.anisotropic(scale, noise=10).sample(500)
    uniform(quiet.noise, 0.0, 10.0)


@pytest.mark.parametrize("scale", SCALES)
def test_photo_space_is_the_anisotropic_one_with_jpeg_and_with_clean_pictures(scale):
    drawn = DegradationSpace.photo(scale).sample(4000, torch.Generator().manual_seed(0))
    uniform(drawn.lambda1, 0.2, 4.0)
    uniform(drawn.theta, 0.0, math.pi)
    uniform(drawn.noise[drawn.noise > 0], 0.0, 25.0)
    uniform(drawn.quality[drawn.quality > 0], 40.0, 95.0)
    without_noise, without_jpeg = drawn.noise == 0, drawn.quality == 0
    isotropic = drawn.lambda1 == drawn.lambda2
    # A share of 4000 is known to 0.008. Drawn apart: two at once in a quarter.
    for share in (without_noise, without_jpeg, isotropic):
        assert abs(share.float().mean() - 0.5) < 0.03
    assert abs((without_noise & without_jpeg).float().mean() - 0.25) < 0.03
    assert abs((without_noise & isotropic).float().mean() - 0.25) < 0.03
    uniform(drawn.lambda2[~isotropic], 0.2, 4.0)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("without", 1.5, "without must be .* at most 1, got 1.5"),
        ("isotropic_share", -0.1, "isotropic_share must be .* at least 0 .*, got -0.1"),
    ],
)
def test_a_share_is_from_0_to_1(field, value, said):
    with pytest.raises(ValueError, match=said):
        replace(DegradationSpace.photo(4), **{field: value})


def test_a_share_without_noise_needs_a_space_with_noise():
    with pytest.raises(ValueError, match="in a space without noise"):
        replace(DegradationSpace.isotropic(4), without=0.25)


def test_what_is_not_asked_for_draws_no_numbers():
    """So that runs from before a field was there can be repeated."""
    generator, expected = (torch.Generator().manual_seed(0) for _ in range(2))
    DegradationSpace.anisotropic(4).sample(6, generator)
    torch.rand(4, 6, generator=expected)
    assert torch.equal(generator.get_state(), expected.get_state())


def uniform(values: torch.Tensor, low: float, high: float) -> None:
    """Within the range, to both of its ends, as much in each quarter."""
    assert values.min() >= low
    assert values.max() <= high
    shares = torch.histc((values - low) / (high - low), 4, 0, 1) / len(values)
    # 500 values, the fewest here, know a share of 0.25 to 0.02.
    assert (shares - 0.25).abs().max() < 0.08
    margin = 0.02 * (high - low)
    assert values.min() < low + margin
    assert values.max() > high - margin


def test_same_seed_same_draw():
    space = DegradationSpace.anisotropic(4)

    def drawn(seed: int) -> Degradations:
        return space.sample(5, torch.Generator().manual_seed(seed))

    for a, b in zip(tensors(drawn(3)), tensors(drawn(3)), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(drawn(3).lambda1, drawn(4).lambda1)
