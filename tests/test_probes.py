"""The probes see what is there, do not see what is not, and never learn from a held-out picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dasrlib import probes
from dasrlib.degradation import Degradations, degrade

PICTURES, LABELS = 30, 4


@pytest.fixture
def planted() -> tuple[np.ndarray, list[str], list[str]]:
    """Four clusters in 16 dimensions; each of 30 pictures has one vector in each."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(LABELS, 16))
    vectors = np.concatenate(
        [centres + 0.3 * rng.normal(size=(LABELS, 16)) for _ in range(PICTURES)]
    )
    labels = [f"degradation {i}" for i in range(LABELS)] * PICTURES
    groups = [f"picture {i}" for i in range(PICTURES) for _ in range(LABELS)]
    return vectors, labels, groups


def test_planted_clusters_are_found(planted):
    assert probes.knn_accuracy(*planted) > 0.99


def test_labels_may_be_numbers(planted):
    vectors, labels, groups = planted
    widths = [0.2 + 1.2 * int(label.split()[1]) for label in labels]
    assert probes.knn_accuracy(vectors, widths, groups) > 0.99


def test_shuffled_labels_give_chance(planted):
    vectors, labels, groups = planted
    shuffled = list(np.random.default_rng(1).permutation(labels))
    assert abs(probes.knn_accuracy(vectors, shuffled, groups) - 1 / LABELS) < 0.15


def test_a_linear_value_is_read_and_noise_is_not(planted):
    _, _, groups = planted
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(len(groups), 16))
    values = vectors @ rng.normal(size=16) + 5
    assert probes.ridge_r2(vectors, values, groups) > 0.99
    assert probes.ridge_r2(vectors, rng.normal(size=len(groups)), groups) < 0.1


def test_a_fitted_ridge_reads_a_line_off_vectors_it_never_saw(planted):
    groups = planted[2]
    rng = np.random.default_rng(4)
    vectors, line = rng.normal(size=(len(groups), 16)), rng.normal(size=16)
    ridge = probes.fit_ridge(vectors, vectors @ line + 2, groups)
    fresh = rng.normal(size=(10, 16))
    np.testing.assert_allclose(ridge.predict(fresh), fresh @ line + 2, atol=0.2)
    with pytest.raises(ValueError, match="at least 2 pictures to hold some out, got 1"):
        probes.fit_ridge(vectors, vectors @ line, ["one"] * len(groups))
    with pytest.raises(ValueError, match="120 vectors, 3 values, 120 groups"):
        probes.fit_ridge(vectors, [1.0, 2.0, 3.0], groups)


def test_a_picture_is_never_in_its_own_training_fold():
    """Vectors that hold the picture alone, labels that are the picture's: without groups, 100 %."""
    rng = np.random.default_rng(3)
    content = 10 * rng.normal(size=(20, 8))
    vectors = np.repeat(content, 6, axis=0) + 0.01 * rng.normal(size=(120, 8))
    labels = np.repeat(rng.permutation([0, 1] * 10), 6)
    pictures = np.repeat(np.arange(20), 6)
    each_alone = list(range(120))
    assert probes.knn_accuracy(vectors, labels, each_alone) > 0.99  # what leaks
    assert probes.knn_accuracy(vectors, labels, pictures) < 0.8
    values = np.repeat(rng.normal(size=20), 6)
    wide = np.repeat(rng.normal(size=(20, 64)), 6, axis=0)  # more dimensions than pictures
    assert probes.ridge_r2(wide, values, each_alone) > 0.9
    assert probes.ridge_r2(wide, values, pictures) < 0.3


def test_units_of_a_column_do_not_matter(planted):
    vectors, labels, groups = planted
    noise = np.random.default_rng(4).normal(size=(len(vectors), 1))
    with_noise = np.concatenate([vectors, noise], axis=1)
    loud = np.concatenate([vectors, 1e6 * noise], axis=1)
    assert probes.knn_accuracy(loud, labels, groups) == probes.knn_accuracy(
        with_noise, labels, groups
    )


def test_tensors_and_arrays_agree(planted):
    vectors, labels, groups = planted
    shuffled = list(np.random.default_rng(5).permutation(labels))
    as_tensor = torch.from_numpy(vectors).requires_grad_()
    assert probes.knn_accuracy(as_tensor, shuffled, groups) == probes.knn_accuracy(
        vectors, shuffled, groups
    )


def test_two_pictures_are_enough(planted):
    vectors, labels, groups = planted
    few = 2 * LABELS
    assert probes.knn_accuracy(vectors[:few], labels[:few], groups[:few], k=1) == 1


def test_the_map_keeps_clusters_and_is_the_same_every_time(planted):
    vectors, labels, groups = planted
    first = probes.tsne(vectors, perplexity=10, seed=0)
    assert first.shape == (len(vectors), 2)
    assert probes.knn_accuracy(first, labels, groups) > 0.95
    np.testing.assert_array_equal(first, probes.tsne(vectors, perplexity=10, seed=0))


@pytest.fixture
def widths(planted) -> tuple[np.ndarray, list[str], list[str]]:
    """The four clusters, with kernel widths for labels."""
    vectors, labels, groups = planted
    return vectors, [f"{0.2 + 1.2 * int(label.split()[1]):g}" for label in labels], groups


def test_planted_clusters_are_read_linearly_too_and_are_clean(planted):
    assert probes.linear_accuracy(*planted) == 1
    # In 16 dimensions two of a cluster are 0.3·√32 = 1.7 apart, two centres 3·√32 = 17 on average,
    # and the nearest ones half of it: 1 − 1.7/8.5 is 0.8.
    assert probes.silhouette(*planted[:2]) > 0.7


def test_a_linear_read_out_is_linear():
    """Labels that no plane divides: the neighbours know them, a linear classifier cannot."""
    rng = np.random.default_rng(6)
    corners = rng.integers(0, 2, size=(240, 2))
    vectors = corners + 0.05 * rng.normal(size=corners.shape)
    labels, groups = corners.sum(axis=1) % 2, np.arange(240) // 4
    assert probes.knn_accuracy(vectors, labels, groups) == 1
    # A plane gets three of the four corners at best.
    assert probes.linear_accuracy(vectors, labels, groups) < 0.8


def test_a_linear_classifier_never_learns_from_the_picture_it_is_asked_about():
    """Labels that follow the picture alone: known with random folds, at chance with whole ones."""
    rng = np.random.default_rng(3)
    vectors = np.repeat(10 * rng.normal(size=(20, 64)), 6, axis=0)
    vectors += 0.01 * rng.normal(size=vectors.shape)
    labels, pictures = np.repeat(rng.permutation([0, 1] * 10), 6), np.repeat(np.arange(20), 6)
    assert probes.linear_accuracy(vectors, labels, rng.permutation(120)) == 1
    # 20 pictures' worth of coin tosses: 0.5 plus two deviations of 0.11.
    assert probes.linear_accuracy(vectors, labels, pictures) < 0.72


def test_silhouette_is_the_formula():
    line = np.array([[0.0], [1.0], [10.0], [11.0]])
    # 1 − a/b for each: 1 away from its own, 10.5 or 9.5 from the others on average.
    expected = (2 * (1 - 1 / 10.5) + 2 * (1 - 1 / 9.5)) / 4
    assert probes.silhouette(line, ["a", "a", "b", "b"]) == pytest.approx(expected, abs=1e-12)
    other = np.array([[3.0], [1.0], [2.0], [1.0]])
    quiet, loud = (np.concatenate([line, unit * other], axis=1) for unit in (1, 1e6))
    found = [probes.silhouette(both, ["a", "a", "b", "b"]) for both in (quiet, loud)]
    assert found[0] == pytest.approx(found[1], abs=1e-9)  # units of a column do not matter
    assert probes.silhouette(line, ["a", "b", "a", "b"]) < 0


def test_probe_shuffled_is_what_knowing_nothing_gets(widths):
    found = probes.probe_shuffled(*widths)
    # 120 tosses of a die with four sides: 0.25 and three deviations of 0.04.
    assert abs(found["knn"] - 0.25) < 0.12
    assert abs(found["linear"] - 0.25) < 0.12
    assert found["r2"] < 0.1
    assert abs(found["silhouette"]) < 0.1
    assert probes.probe_shuffled(*widths, seed=0) == found
    assert probes.probe_shuffled(*widths, seed=1) != found


def test_pixel_statistics_are_what_they_say():
    stripes = torch.zeros(3, 8, 8)
    stripes[:, :, ::2] = 1  # columns alternate: every horizontal step is 1, every vertical one 0
    mean, deviation, gradient, laplacian, *ratios = probes.pixel_statistics(stripes[None])[0]
    assert mean == pytest.approx(0.5)
    assert deviation == pytest.approx((16 / 63) ** 0.5, abs=1e-5)
    assert gradient == pytest.approx(0, abs=1e-4)
    assert laplacian == pytest.approx(np.log(4), abs=1e-4)
    assert ratios == pytest.approx([np.log(63 / 16), np.log(4)], abs=1e-3)


def test_pixel_statistics_fall_with_blur_and_ignore_contrast():
    picture = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    sharp, soft = (degrade(picture, Degradations.isotropic(s, 4)) for s in (0.2, 3.8))
    columns = torch.cat([probes.pixel_statistics(sharp), probes.pixel_statistics(soft)])
    assert (columns[1, 1:] < columns[0, 1:]).all()
    faint = probes.pixel_statistics(sharp * 0.5 + 0.25)
    torch.testing.assert_close(faint[:, 4:], columns[:1, 4:], atol=0.02, rtol=0)
    assert faint[0, 2] < columns[0, 2] - 1


def test_pixel_statistics_of_pictures_of_several_sizes():
    pictures = [torch.rand(3, 12, 20), torch.rand(3, 7, 5)]
    found = probes.pixel_statistics(pictures)
    assert found.shape == (2, 6)
    torch.testing.assert_close(found[1:], probes.pixel_statistics(pictures[1][None]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v, y, g: probes.knn_accuracy(v, y[:-1], g), r"120 vectors, 119 targets"),
        (lambda v, y, g: probes.knn_accuracy(v, y, g, k=0), r"k must be at least 1, got 0"),
        (lambda v, y, g: probes.knn_accuracy(v, y, ["one"] * 120), r"at least 2 pictures .* got 1"),
        (lambda v, y, g: probes.knn_accuracy(v[:, 0], y, g), r"\(N, D\).*got shape \(120,\)"),
        (lambda v, y, g: probes.linear_accuracy(v, y, g[1:]), r"120 targets, 119 groups"),
        (lambda v, y, g: probes.linear_accuracy(v, y, ["one"] * 120), r"at least 2 pictures"),
        (lambda v, y, g: probes.linear_accuracy(v / 0, y, g), r"NaN or infinity"),
        (lambda v, y, g: probes.silhouette(v, y[1:]), r"120 vectors, 119 labels"),
        (lambda v, y, g: probes.silhouette(v, [0] * 120), r"different labels, got 1 among 120"),
        (lambda v, y, g: probes.silhouette(v, range(120)), r"different labels, got 120 among 120"),
        (lambda v, y, g: probes.probe_all(v, y, g), r"float.*'degradation 0'"),
        (lambda v, y, g: probes.ridge_r2(v[:8], [0] * 8, g[:8]), r"at least 3 pictures .* got 2"),
        (lambda v, y, g: probes.ridge_r2(v / 0 * np.inf, [0] * 120, g), r"NaN or infinity"),
        (lambda v, y, g: probes.tsne(v, perplexity=120), r"below the 120 vectors, got 120"),
        (lambda v, y, g: probes.pixel_statistics([]), r"no pictures"),
        (lambda v, y, g: probes.pixel_statistics(torch.rand(1, 3, 2, 9)), r"got \(3, 2, 9\)"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_inputs_are_refused_in_a_sentence(planted, call, message):
    with pytest.raises(ValueError, match=message):
        call(*planted)
