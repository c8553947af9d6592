"""§4.2 Probes: how well representations tell degradations apart, in numbers and as a map.

The paper shows maps alone. A probe here is always read on pictures it was not fitted on: several
degradations of one picture share their content, so the folds are cut between pictures, never
through one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.manifold import TSNE
from sklearn.metrics import r2_score, silhouette_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

FOLDS = 5
STRENGTHS = {"ridge__alpha": np.logspace(0, 4, 5)}
PIXEL_STATISTICS = (
    "mean",
    "deviation",
    "log gradient energy",
    "log Laplacian energy",
    "log gradient energy / variance",
    "log Laplacian / gradient energy",
)


def _matrix(vectors: Tensor | ArrayLike) -> NDArray[np.float64]:
    """The vectors as (N, D) in float64; raises ValueError for another shape, NaN or infinity."""
    if isinstance(vectors, Tensor):
        vectors = vectors.detach().cpu().numpy()
    matrix = np.asarray(vectors, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < 2:
        raise ValueError(f"vectors must be (N, D) with N of at least 2, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("vectors hold NaN or infinity, expected finite values")
    return matrix


def _classes(labels: Sequence[Any]) -> NDArray[np.int64]:
    """Labels, numbers or names, as class numbers."""
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def _predict(
    model: Any,
    vectors: Tensor | ArrayLike,
    targets: NDArray[Any],
    groups: Sequence[Any],
    strengths: dict[str, Any] | None = None,
) -> NDArray[Any]:
    """For every vector, the prediction of a model fitted on other groups alone, (N,).

    strengths: a setting of the model and its values, to be chosen on the training folds, which are
    cut between groups too.
    """
    matrix, pictures = _matrix(vectors), np.asarray(groups)
    if not len(matrix) == len(targets) == len(pictures):
        raise ValueError(
            f"one target and one group for each vector: got {len(matrix)} vectors, "
            f"{len(targets)} targets, {len(pictures)} groups"
        )
    needed, count = 3 if strengths else 2, len(np.unique(pictures))
    if count < needed:
        raise ValueError(
            f"groups must name at least {needed} pictures to hold some out, got {count}"
        )
    predicted = np.empty_like(targets)
    for train, test in GroupKFold(min(FOLDS, count)).split(matrix, groups=pictures):
        # The scale of each column is learned on the training folds, like everything else.
        fitted = make_pipeline(StandardScaler(), clone(model))
        told = {}
        if strengths:
            inner = GroupKFold(min(FOLDS, len(np.unique(pictures[train]))))
            fitted = GridSearchCV(fitted, strengths, cv=inner, scoring="neg_mean_squared_error")
            told = {"groups": pictures[train]}
        predicted[test] = fitted.fit(matrix[train], targets[train], **told).predict(matrix[test])
    return predicted


def knn_accuracy(
    vectors: Tensor | ArrayLike, labels: Sequence[Any], groups: Sequence[Any], k: int = 5
) -> float:
    """How often the k nearest vectors of other pictures name a vector's degradation, 0..1 (§4.2).

    vectors: (N, D). labels: N degradations; chance is the share of the most frequent one. groups:
    N pictures' names; five folds, or as many as there are pictures, keep each picture whole.
    Columns are brought to unit deviation. Raises ValueError for lengths that differ, fewer than 2
    pictures, or k < 1 or more than the training folds hold.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    targets = _classes(labels)
    predicted = _predict(KNeighborsClassifier(n_neighbors=k), vectors, targets, groups)
    return float((predicted == targets).mean())


def linear_accuracy(
    vectors: Tensor | ArrayLike, labels: Sequence[Any], groups: Sequence[Any]
) -> float:
    """How often a linear classifier fitted on other pictures names a vector's degradation, 0..1
    (§4.2).

    Arguments, chance and errors are knn_accuracy's. The classifier is logistic regression.
    """
    targets = _classes(labels)
    predicted = _predict(LogisticRegression(max_iter=2000), vectors, targets, groups)
    return float((predicted == targets).mean())


def silhouette(vectors: Tensor | ArrayLike, labels: Sequence[Any]) -> float:
    """How clean the clusters are: 1 far apart and tight, 0 run into each other, below 0 mixed up
    (§4.2).

    vectors: (N, D), columns brought to unit deviation. labels: N degradations, 2 to N − 1 different
    ones. It compares a vector's mean distance to its own cluster with that to the nearest other
    one; nothing is fitted, so no picture is held out. Raises ValueError for other labels.
    """
    matrix, targets = _matrix(vectors), _classes(labels)
    if len(matrix) != len(targets):
        raise ValueError(
            f"one label for each vector: got {len(matrix)} vectors, {len(targets)} labels"
        )
    if not 2 <= len(np.unique(targets)) < len(targets):
        raise ValueError(
            f"a silhouette needs 2 to N − 1 different labels, got {len(np.unique(targets))} "
            f"among {len(targets)}"
        )
    return float(silhouette_score(StandardScaler().fit_transform(matrix), targets))


def probe_all(
    vectors: Tensor | ArrayLike, labels: Sequence[Any], groups: Sequence[Any]
) -> dict[str, float]:
    """All four numbers that stand beside a map: knn, linear, r2 and silhouette (§4.2).

    labels: N degradations that are numbers, such as kernel widths, or their names.
    """
    return {
        "knn": knn_accuracy(vectors, labels, groups),
        "linear": linear_accuracy(vectors, labels, groups),
        "r2": ridge_r2(vectors, [float(label) for label in labels], groups),
        "silhouette": silhouette(vectors, labels),
    }


def probe_shuffled(
    vectors: Tensor | ArrayLike, labels: Sequence[Any], groups: Sequence[Any], seed: int = 0
) -> dict[str, float]:
    """probe_all of the same vectors with the labels shuffled: what knowing nothing gets (§4.2)."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return probe_all(vectors, [labels[i] for i in order], groups)


def ridge_r2(
    vectors: Tensor | ArrayLike, values: Sequence[float] | Tensor | ArrayLike, groups: Sequence[Any]
) -> float:
    """R² of a linear read-out of a number, such as σ, on pictures it was not fitted on (§4.2).

    vectors: (N, D). values: N numbers. groups: as in knn_accuracy. 1 is perfect, 0 is what their
    mean would do, and it can be negative. The ridge's strength is chosen on the training folds.
    Raises ValueError as knn_accuracy does, and for fewer than 3 pictures.
    """
    targets = np.asarray(values, dtype=np.float64)
    predicted = _predict(Ridge(), vectors, targets, groups, STRENGTHS)
    return float(r2_score(targets, predicted))


def fit_ridge(
    vectors: Tensor | ArrayLike, values: Sequence[float] | Tensor | ArrayLike, groups: Sequence[Any]
) -> Pipeline:
    """The linear read-out of a number, such as σ, fitted: its `predict` reads other vectors (§4.2).

    Arguments are ridge_r2's; the ridge's strength is chosen between groups. Raises ValueError for
    lengths that differ and for fewer than 2 groups.
    """
    matrix, targets = _matrix(vectors), np.asarray(values, dtype=np.float64)
    if not len(matrix) == len(targets) == len(groups):
        raise ValueError(
            f"one value and one group for each vector: got {len(matrix)} vectors, "
            f"{len(targets)} values, {len(groups)} groups"
        )
    count = len(np.unique(np.asarray(groups)))
    if count < 2:
        raise ValueError(f"groups must name at least 2 pictures to hold one out, got {count}")
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()), STRENGTHS, cv=GroupKFold(min(FOLDS, count)),
        scoring="neg_mean_squared_error",
    )  # fmt: skip
    best: Pipeline = search.fit(matrix, targets, groups=np.asarray(groups)).best_estimator_
    return best


def tsne(
    vectors: Tensor | ArrayLike, perplexity: float = 30.0, seed: int = 0
) -> NDArray[np.float64]:
    """A map of the vectors on which neighbours stay neighbours: t-SNE, (N, D) -> (N, 2) (§4.2).

    perplexity: about how many neighbours each point looks at, 0 < perplexity < N. Distances
    between clusters and the axes' units mean nothing. Raises ValueError for other perplexities.
    """
    matrix = _matrix(vectors)
    if not 0 < perplexity < len(matrix):
        raise ValueError(
            f"perplexity must be above 0 and below the {len(matrix)} vectors, got {perplexity:g}"
        )
    # It starts at the first two principal components: the seed then changes little.
    # One thread: for some hundred points several gain little, and where other programs compute too,
    # they wait for each other at every step, a minute in place of two seconds.
    with threadpool_limits(1):
        found = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(matrix)
    return np.asarray(found, dtype=np.float64)


def pixel_statistics(images: Tensor | Sequence[Tensor]) -> Tensor:
    """The baseline that learns nothing: six numbers of each picture's luminance, (N, 6) (§4.2).

    images: (N, 3, H, W), or N pictures (3, H, W) of any sizes, in [0, 1]. The columns are named in
    PIXEL_STATISTICS. Energies are mean squares, of the differences of neighbours and of a pixel
    against its four; the ratios take the contrast away, which is not blur.
    Raises ValueError for no pictures or one smaller than 3×3.
    """
    if len(images) == 0:
        raise ValueError("there are no pictures to take statistics of")
    rows = []
    for image in images:
        if image.ndim != 3 or image.shape[0] != 3 or min(image.shape[1:]) < 3:
            raise ValueError(
                f"a picture must be 3×H×W, at least 3×3 pixels, got {tuple(image.shape)}"
            )
        y = (image.double() * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
        gradient = (y.diff(dim=0) ** 2).mean() + (y.diff(dim=1) ** 2).mean()
        four = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:]
        laplacian = ((four - 4 * y[1:-1, 1:-1]) ** 2).mean()
        # Rounding to 8 bit alone leaves an energy of about (1/255)²/12: the floor under the logs.
        g, lap, variance = (t + 1 / 255**2 / 12 for t in (gradient, laplacian, y.var()))
        ratios = [(g / variance).log(), (lap / g).log()]
        rows.append(torch.stack([y.mean(), y.std(), g.log(), lap.log(), *ratios]))
    return torch.stack(rows).float()
