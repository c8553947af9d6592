"""Kernels into codes and back: the public bases, and what must not be done to a kernel."""

from __future__ import annotations

import math

import pytest
import torch

from dasrlib.baselines.kernel_codes import KernelCodes, degradations_with, principal_directions
from dasrlib.degradation import (
    Degradations,
    DegradationSpace,
    anisotropic_kernels,
    isotropic_kernels,
)

ISOTROPIC = DegradationSpace.isotropic(4)


@pytest.fixture(scope="module")
def codes():
    return KernelCodes(ISOTROPIC, 15)


def aligned(basis, theirs):
    """The basis with the signs of another one: they are arbitrary."""
    return basis * (basis * theirs).sum(dim=1, keepdim=True).sign()


def tensor(array):
    return torch.from_numpy(array.copy())


def test_the_kernels_of_srmd_agree_by_the_roots_of_their_variances(golden):
    arrays = golden("rivals")
    theta, l1, l2 = tensor(arrays["srmd_pca_parameters"]).unbind(1)
    theirs = tensor(arrays["srmd_pca_kernels"])
    kernels = anisotropic_kernels(l1.sqrt(), l2.sqrt(), theta, 15)
    # One entry of 13,500, near 1, differs by 2.4e-7: four steps of float32.
    torch.testing.assert_close(kernels, theirs, rtol=5e-7, atol=1e-7)
    # Variances taken for widths give other kernels.
    assert (anisotropic_kernels(l1, l2, theta, 15) - theirs).abs().max() > 0.01


def test_the_basis_of_srmd_agrees(golden):
    arrays = golden("rivals")
    kernels, theirs = tensor(arrays["srmd_pca_kernels"]), tensor(arrays["srmd_pca_basis"])
    columns = kernels.mT.flatten(1)  # SRMD's vec: column by column
    basis = principal_directions(columns, 15, centred=False).flip(0)  # the strongest last
    basis = aligned(basis, theirs)
    torch.testing.assert_close(basis, theirs, rtol=0, atol=1e-4)
    expected = tensor(arrays["srmd_pca_codes"])
    # The smallest directions are known to 1e-4 only, so the codes are made with SRMD's own.
    torch.testing.assert_close(columns @ theirs.T, expected, rtol=0, atol=1e-6)
    assert (kernels.flatten(1) @ theirs.T - expected).abs().max() > 0.1  # row by row


def test_the_basis_of_ikc_agrees(golden, codes):
    arrays = golden("rivals")
    kernels = isotropic_kernels(tensor(arrays["ikc_pca_sigmas"]))
    theirs = tensor(arrays["ikc_pca_basis"]).T
    # Without the mean taken off, the first direction is another one.
    found = aligned(principal_directions(kernels.flatten(1), 10), theirs)
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-4)
    other = aligned(principal_directions(kernels.flatten(1), 10, centred=False), theirs)
    assert (other[0] - theirs[0]).abs().max() > 0.01
    # With their basis, our rule gives their codes: the mean stays in.
    codes = KernelCodes(ISOTROPIC, 10)
    codes.basis.copy_(theirs)
    codes.mean.copy_(kernels.flatten(1).mean(dim=0))
    expected = tensor(arrays["ikc_pca_codes"])
    torch.testing.assert_close(codes(kernels), expected, rtol=0, atol=1e-6)
    back = codes.kernels(expected)
    error = (back - kernels).flatten(1).norm(dim=1) / kernels.flatten(1).norm(dim=1)
    assert error.max() < 2.5e-4


def test_the_strengths_of_the_directions_agree(golden, codes):
    arrays = golden("rivals")
    columns = tensor(arrays["srmd_pca_kernels"]).mT.flatten(1)
    found = principal_directions(columns, 20, centred=False).double()
    eigenvalues = ((columns.double() @ found.T) ** 2).sum(dim=0)
    theirs = tensor(arrays["srmd_pca_eigenvalues"]).double()
    assert float((eigenvalues - theirs).abs().max() / theirs.max()) < 1e-5
    kernels = isotropic_kernels(tensor(arrays["ikc_pca_sigmas"])).flatten(1).double()
    centred = kernels - kernels.mean(dim=0)
    found = principal_directions(kernels, 12).double()
    singular = (centred @ found.T).norm(dim=0)
    theirs = tensor(arrays["ikc_pca_singular_values"]).double()
    assert float((singular - theirs).abs().max() / theirs.max()) < 1e-5


def test_the_largest_entry_of_a_direction_is_positive(codes):
    # The decomposition may give either sign, and another machine the other one.
    kernels = isotropic_kernels(torch.linspace(0.2, 4.0, 40)).flatten(1)
    for basis in (codes.basis, principal_directions(kernels, 5), principal_directions(-kernels, 5)):
        largest = basis.gather(1, basis.abs().argmax(dim=1, keepdim=True))
        assert (largest > 0).all()


def test_a_kernel_comes_back(codes):
    kernels = isotropic_kernels(torch.linspace(0.2, 4.0, 20))
    back = codes.kernels(codes(kernels))
    error = (back - kernels).flatten(1).norm(dim=1) / kernels.flatten(1).norm(dim=1)
    assert error.max() < 1e-4
    torch.testing.assert_close(back.sum(dim=(1, 2)), torch.ones(20))
    assert (codes.kernels(torch.randn(4, 15)) >= 0).all()


def test_how_much_of_a_kernel_a_code_holds():
    generator = torch.Generator().manual_seed(1)
    missed = {}
    for space in (ISOTROPIC, DegradationSpace.anisotropic(4)):
        kernels = space.sample(100, generator).kernels
        for numbers in (10, 15):
            codes = KernelCodes(space, numbers)
            error = (codes.kernels(codes(kernels)) - kernels).flatten(1).norm(dim=1)
            missed[space.is_isotropic, numbers] = error / kernels.flatten(1).norm(dim=1)
    assert missed[True, 10].max() < 5e-4
    # As the top of the file says: a code is not enough for every tilted kernel.
    assert 0.05 < missed[False, 15].mean() < missed[False, 10].mean() < 0.25


def test_no_blur_is_the_code_of_a_single_1_and_not_of_zeros(codes):
    none, narrow = Degradations.isotropic(0.0, 4).kernels, isotropic_kernels(0.2)
    torch.testing.assert_close(codes(none), codes(narrow), rtol=0, atol=1e-4)
    assert codes(none).norm() > 0.9
    assert codes.kernels(codes(none))[0, 10, 10] > 0.999
    assert codes.kernels(torch.zeros(1, 15))[0, 10, 10] < 0.9


def test_a_small_kernel_is_padded_and_a_large_one_is_not_cut(codes):
    # Both hold all of a narrow Gaussian.
    torch.testing.assert_close(codes(isotropic_kernels(1.0, 15)), codes(isotropic_kernels(1.0)))
    with pytest.raises(ValueError, match="a kernel that is cut is another kernel"):
        codes(isotropic_kernels(1.0, 23))
    # 15×15 is not 21×21 at a wide blur.
    wide = codes(isotropic_kernels(3.6, 15)) - codes(isotropic_kernels(3.6))
    assert wide.norm() / codes(isotropic_kernels(3.6)).norm() > 0.05


def test_the_code_of_a_kernel_is_not_that_of_the_flipped_or_turned_one():
    codes = KernelCodes(DegradationSpace.anisotropic(4), 15)
    tilted = anisotropic_kernels(3.0, 1.0, math.radians(30))
    back = codes.kernels(codes(tilted))
    assert (back - tilted).abs().max() < (back - tilted.flip(-1)).abs().max() / 3
    assert (codes(tilted) - codes(tilted.mT)).abs().max() > 0.01


def test_the_basis_is_stored_and_not_made_again(codes):
    stored = {key: value.clone() for key, value in codes.state_dict().items()}
    assert set(stored) == {"basis", "mean"}
    stored["basis"] = -stored["basis"].flip(0)
    other = KernelCodes(ISOTROPIC, 15)
    assert other.same_as(codes)
    other.load_state_dict(stored)
    assert not other.same_as(codes)
    kernels = isotropic_kernels(2.0)
    torch.testing.assert_close(other(kernels), -codes(kernels).flip(1))


def test_a_code_is_exact_under_autocast(codes):
    kernels = isotropic_kernels(1.7)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codes(kernels), codes(kernels.clone()))
        under = codes(kernels), codes.kernels(codes(kernels))
    assert torch.equal(under[0], codes(kernels))
    assert torch.equal(under[1], codes.kernels(codes(kernels)))


def test_widths_and_angle_come_back_from_a_kernel():
    truth = Degradations.anisotropic([2.0, 1.5, 1.2], [1.0, 1.5, 0.8], [0.6, 0.0, 2.5], 4)
    found = degradations_with(truth.kernels, 4, noise=5.0)
    torch.testing.assert_close(found.lambda1, truth.lambda1, rtol=0, atol=0.01)
    torch.testing.assert_close(found.lambda2, truth.lambda2, rtol=0, atol=0.01)
    torch.testing.assert_close(found.theta[[0, 2]], truth.theta[[0, 2]], rtol=0, atol=0.01)
    torch.testing.assert_close(found.encoding[:, :3], truth.encoding[:, :3], rtol=0, atol=0.005)
    assert found.noise.tolist() == [5.0] * 3
    none = degradations_with(Degradations.isotropic(0.0, 4).kernels, 4)
    assert float(none.lambda1) == float(none.lambda2) == 0.0


def test_a_code_is_read_as_the_width_that_made_it():
    codes = KernelCodes(DegradationSpace.isotropic(4), 10)
    widths = torch.tensor([0.2, 1.0, 2.5, 4.0])
    near = codes(isotropic_kernels(widths)) * 1.001
    torch.testing.assert_close(codes.nearest_width(near), widths)
