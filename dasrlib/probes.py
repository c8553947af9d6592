"""§4.2 Probes: how well representations tell degradations apart, in numbers and as a map.

The paper shows maps alone. The numbers here are of pictures that the probe was not fitted on:
several degradations of one picture share its content, so each picture is in one fold as a whole.

In all functions `vectors` is (N, D), `labels` are N degradations, numbers or names, and `groups`
are the names of the N pictures. Bad inputs raise ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.manifold import TSNE
from sklearn.metrics import r2_score, silhouette_score
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

FOLDS = 5
RIDGE_STRENGTHS = np.logspace(0, 4, 5)
Vectors = Tensor | ArrayLike


def _matrix(vectors: Vectors, **others: Sized) -> NDArray[np.float64]:
    """The vectors as (N, D) in float64; each of the others must have N entries."""
    if isinstance(vectors, Tensor):
        vectors = vectors.detach().cpu().numpy()
    matrix = np.asarray(vectors, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < 2:
        raise ValueError(f"vectors must be (N, D) with N of at least 2, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("vectors hold NaN or infinity, expected finite values")
    if any(len(other) != len(matrix) for other in others.values()):
        counts = ", ".join(f"{len(other)} {name}" for name, other in others.items())
        raise ValueError(f"expected equal numbers, got {len(matrix)} vectors, {counts}")
    return matrix


def _folds(groups: Sequence[Any], least: int = 2) -> GroupKFold:
    """Five folds, or one per picture if there are fewer, with each picture whole in one of them."""
    pictures = len(np.unique(np.asarray(groups)))
    if pictures < least:
        raise ValueError(
            f"groups must name at least {least} pictures to hold some out, got {pictures}"
        )
    return GroupKFold(min(FOLDS, pictures))


def _classes(labels: Sequence[Any]) -> NDArray[np.int64]:
    """Labels, numbers or names, as class numbers."""
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def _accuracy(
    classifier: Any, vectors: Vectors, labels: Sequence[Any], groups: Sequence[Any]
) -> float:
    """How often a classifier, fitted on other pictures, names a vector's label, 0..1."""
    targets = _classes(labels)
    # The scale of each column is learned on the training folds, like everything else.
    model = make_pipeline(StandardScaler(), classifier)
    matrix = _matrix(vectors, targets=targets, groups=groups)
    predicted = cross_val_predict(model, matrix, targets, groups=groups, cv=_folds(groups))
    return float((predicted == targets).mean())


def knn_accuracy(
    vectors: Vectors, labels: Sequence[Any], groups: Sequence[Any], k: int = 5
) -> float:
    """How often the k nearest vectors of other pictures name a vector's degradation, 0..1 (§4.2).

    Columns are brought to unit deviation. Chance is the share of the most frequent label.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return _accuracy(KNeighborsClassifier(n_neighbors=k), vectors, labels, groups)


def linear_accuracy(vectors: Vectors, labels: Sequence[Any], groups: Sequence[Any]) -> float:
    """The same of logistic regression: how often it names a vector's degradation, 0..1 (§4.2)."""
    return _accuracy(LogisticRegression(max_iter=2000), vectors, labels, groups)


def silhouette(vectors: Vectors, labels: Sequence[Any]) -> float:
    """How clean the clusters are: 1 tight and far apart, 0 run into each other, below 0 mixed up
    (§4.2).

    It compares a vector's mean distance to its own cluster with that to the nearest other one.
    Columns are brought to unit deviation. Nothing is fitted, so no picture is held out.
    """
    targets = _classes(labels)
    matrix, different = _matrix(vectors, labels=targets), len(np.unique(targets))
    if not 2 <= different < len(targets):
        raise ValueError(
            f"a silhouette needs 2 to N − 1 different labels, got {different} among {len(targets)}"
        )
    return float(silhouette_score(StandardScaler().fit_transform(matrix), targets))


def fit_ridge(
    vectors: Vectors, values: Sequence[float] | Vectors, groups: Sequence[Any]
) -> GridSearchCV:
    """Fits a linear probe of N numbers, such as σ; its `predict` reads other vectors (§4.2).

    The ridge's strength is the one that predicts held-out pictures best.
    """
    targets = np.asarray(values, dtype=np.float64)
    matrix = _matrix(vectors, values=targets, groups=groups)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": RIDGE_STRENGTHS},
        cv=_folds(groups),
        scoring="neg_mean_squared_error",
    )
    return search.fit(matrix, targets, groups=np.asarray(groups))


def ridge_r2(vectors: Vectors, values: Sequence[float] | Vectors, groups: Sequence[Any]) -> float:
    """R² of `fit_ridge`, on pictures it was not fitted on (§4.2).

    1 is perfect; always to predict the mean gives 0, and worse predictions are negative.
    """
    targets, pictures = np.asarray(values, dtype=np.float64), np.asarray(groups)
    matrix = _matrix(vectors, values=targets, groups=pictures)
    predicted = np.empty_like(targets)
    # Three pictures at least: `fit_ridge` divides those of the training folds once more.
    for train, test in _folds(groups, least=3).split(matrix, groups=pictures):
        ridge = fit_ridge(matrix[train], targets[train], pictures[train])
        predicted[test] = ridge.predict(matrix[test])
    return float(r2_score(targets, predicted))


def probe_all(vectors: Vectors, labels: Sequence[Any], groups: Sequence[Any]) -> dict[str, float]:
    """All four numbers that are printed beside a map (§4.2); labels are numbers or their names."""
    return {
        "knn": knn_accuracy(vectors, labels, groups),
        "linear": linear_accuracy(vectors, labels, groups),
        "r2": ridge_r2(vectors, [float(label) for label in labels], groups),
        "silhouette": silhouette(vectors, labels),
    }


def probe_shuffled(
    vectors: Vectors, labels: Sequence[Any], groups: Sequence[Any], seed: int = 0
) -> dict[str, float]:
    """probe_all with shuffled labels: the result of vectors that say nothing of them (§4.2)."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return probe_all(vectors, [labels[i] for i in order], groups)


def tsne(vectors: Vectors, perplexity: float = 30.0, seed: int = 0) -> NDArray[np.float64]:
    """A map of the vectors on which neighbours stay neighbours: t-SNE, (N, D) -> (N, 2) (§4.2).

    perplexity: about how many neighbours each point looks at, 0 < perplexity < N. Distances
    between clusters and the axes' units mean nothing.
    """
    matrix = _matrix(vectors)
    if not 0 < perplexity < len(matrix):
        raise ValueError(
            f"perplexity must be above 0 and below the {len(matrix)} vectors, got {perplexity:g}"
        )
    # It starts at the first two principal components: the seed then changes little. One thread:
    # for some hundred points, several threads on a busy machine took a minute instead of two
    # seconds.
    with threadpool_limits(1):
        found = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(matrix)
    return np.asarray(found, dtype=np.float64)


def pixel_statistics(images: Tensor | Sequence[Tensor]) -> Tensor:
    """A baseline without learning: six numbers of each picture's luminance, (N, 6) (§4.2).

    images: (N, 3, H, W), or N pictures (3, H, W) of any sizes, in [0, 1]. The columns are mean,
    deviation, log gradient energy, log Laplacian energy, log(gradient energy / variance) and
    log(Laplacian / gradient energy). The two ratios do not depend on the contrast.
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
        # The logarithm of 0 is infinite: (1/255)²/12, the energy of rounding to 8 bit, is added.
        g, lap, variance = (t + 1 / 255**2 / 12 for t in (gradient, laplacian, y.var()))
        ratios = [(g / variance).log(), (lap / g).log()]
        rows.append(torch.stack([y.mean(), y.std(), g.log(), lap.log(), *ratios]))
    return torch.stack(rows).float()
