"""The printed numbers, spot by spot, and the measured ones beside them."""

import math

import pytest

from dasrlib import paper


@pytest.mark.parametrize(
    ("scale", "method", "dataset", "sigma", "psnr"),
    [
        (4, "DASR", "Set14", 3.6, 27.45),
        (4, "IKC", "Set5", 0, 32.00),
        (4, "RCAN", "B100", 1.2, 26.89),
        (3, "DASR", "Urban100", 2.4, 25.95),
        (2, "Bicubic", "Set5", 1.8, 27.07),
        (2, "MZSR + Predictor", "B100", 0.6, 29.82),
    ],
)
def test_table2_has_the_printed_number_at_its_place(scale, method, dataset, sigma, psnr):
    assert paper.table2(scale)[method][dataset][sigma] == psnr


@pytest.mark.parametrize("scale", paper.SCALES)
def test_table2_is_whole(scale):
    for method, datasets in paper.table2(scale).items():
        assert tuple(datasets) == paper.TEST_SETS, method
        for row in datasets.values():
            assert tuple(row) == paper.kernel_widths(scale)
            assert list(row.values()) == sorted(row.values(), reverse=True) or method != "Bicubic"


@pytest.mark.parametrize(
    ("method", "noise", "kernel", "psnr"),
    [("DASR", 0, 0, 27.99), ("DASR", 10, 8, 24.43), ("DnCNN + IKC", 5, 1, 26.80)],
)
def test_table3_has_the_printed_number_at_its_place(method, noise, kernel, psnr):
    assert paper.table3()[method][noise][kernel] == psnr


def test_table3_has_nine_kernels_in_radians():
    assert len(paper.TABLE3_KERNELS) == 9
    assert paper.TABLE3_KERNELS[4] == (3.5, 2.0, pytest.approx(math.pi / 2))
    assert all(0 <= theta <= math.pi for _, _, theta in paper.TABLE3_KERNELS)
    for rows in paper.table3().values():
        assert [len(row) for row in rows.values()] == [9, 9, 9]


def test_bicubic_measured_agrees_without_blur_and_is_higher_with_it():
    for scale in paper.SCALES:
        printed = paper.table2(scale)["Bicubic"]
        for dataset, row in paper.reference_bicubic(scale).items():
            for sigma, psnr in row.items():
                gap = psnr - printed[dataset][sigma]
                assert abs(gap) < 0.1 if sigma == 0 else 0.04 < gap < 1.2, (scale, dataset, sigma)


def test_training_widths_cover_the_tested_ones():
    for scale, (low, high) in paper.SIGMA_RANGE.items():
        assert low == 0.2
        assert high == scale
        assert max(paper.kernel_widths(scale)) <= high


@pytest.mark.parametrize("scale", [1, 8, "4", "x4"])
def test_a_scale_the_paper_does_not_have_is_refused(scale):
    with pytest.raises(ValueError, match=f"scale must be 2, 3 or 4, got {scale!r}"):
        paper.table2(scale)
