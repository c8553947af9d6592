"""§4.2, §4.3 Known degradations in the space of representations, and a new picture among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dasrlib import probes
from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, degrade
from dasrlib.network import BlindSR
from dasrlib.widgets.base.degradation_controls import SIZE

SQUARES = 30  # of 256×256 HR pixels, each under four degradations: 1 to 3 s of encoding
NEAREST = 5  # neighbours, as in probes.knn_accuracy

Pictures = Sequence[tuple[str, Tensor]]


class ReferenceSet:
    """The points that all maps of a widget share: squares, each under every degradation, in this
    order.

    The squares are the middles of at most 30 of the pictures, spread evenly over them.
    degradations: one each, of one scale, by name.
    """

    def __init__(self, images: Pictures, degradations: Mapping[str, Degradations]) -> None:
        self.degradations, self.levels = dict(degradations), list(degradations)
        (scale,) = {degradation.scale for degradation in degradations.values()}
        count = min(SQUARES, len(images))
        chosen = (images[i * len(images) // count] for i in range(count))
        self.squares = [
            (name, crop_to_multiple(centre_crop(image, SIZE), scale)) for name, image in chosen
        ]
        self.names = [name for name, _ in self.squares for _ in self.levels]
        self.labels = self.levels * count
        self.widths = [self.degradations[label].lambda1.item() for label in self.labels]

    def lr(self, index: int) -> Tensor:
        """The degraded square of a point, (3, H/s, W/s); every point has noise of its own."""
        hr, noise = self.squares[index // len(self.levels)][1], torch.Generator()
        degradation = self.degradations[self.labels[index]]
        return degrade(hr[None], degradation, noise.manual_seed(index), "fast")[0]

    def text(self, index: int) -> str:
        return f"{self.names[index]}, {self.labels[index]}"


class RepresentationSpace:
    """One model's representations of a reference set, and a new one among them (§4.2)."""

    def __init__(self, model: BlindSR, reference: ReferenceSet) -> None:
        self.model, self.reference = model, reference
        points = range(len(reference.names))
        # (N, 256)
        self.vectors = np.concatenate([self.represent(reference.lr(i)[None]) for i in points])
        self.pca = PCA(2, svd_solver="full").fit(self.vectors)
        # The sign of a component is arbitrary: here the last degradation lies to the right.
        order = [reference.levels.index(label) for label in reference.labels]
        if np.corrcoef(self.pca.transform(self.vectors)[:, 0], order)[0, 1] < 0:
            self.pca.components_[0] *= -1
        self.units = StandardScaler().fit(self.vectors)  # distances as in probes.knn_accuracy
        self._ridge = lru_cache(None)(self._fit_ridge)

    def represent(self, lr: Tensor) -> NDArray[np.float64]:
        """LR pictures (B, 3, H, W) -> (B, 256)."""
        with torch.inference_mode():
            return self.model.represent(lr).double().numpy()

    @cached_property
    def tsne(self) -> NDArray[np.float64]:
        return probes.tsne(self.vectors, perplexity=min(30, len(self.vectors) // 4))

    def others(self, name: str) -> NDArray[np.intp]:
        """Indices of the other pictures: a picture matches itself by its content."""
        return np.flatnonzero(np.asarray(self.reference.names) != name)

    def nearest(self, vector: NDArray[np.float64], name: str) -> tuple[Any, Any]:
        """Indices and distances of the nearest vectors of other pictures, nearest first."""
        others = self.others(name)
        known, own = self.units.transform(self.vectors[others]), self.units.transform(vector)
        distances = np.linalg.norm(known - own, axis=1)
        order = distances.argsort()[:NEAREST]
        return others[order], distances[order]

    def place(self, vector: NDArray[np.float64], name: str, layout: str) -> list[float]:
        """Where a vector (1, 256) of a picture called `name` is on the map."""
        if layout == "pca":
            return self.pca.transform(vector)[0].tolist()
        near, distances = self.nearest(vector, name)
        return np.average(self.tsne[near], axis=0, weights=1 / (distances + 1e-9)).tolist()

    def _fit_ridge(self, name: str) -> Pipeline:
        others = self.others(name)
        widths, names = self.reference.widths, self.reference.names
        return probes.fit_ridge(
            self.vectors[others], [widths[i] for i in others], [names[i] for i in others]
        )

    def read_width(self, vector: NDArray[np.float64], name: str) -> float:
        """λ1 in HR pixels, read by the ridge regression that was fitted on other pictures."""
        # All pictures outside the reference have the same others.
        known = name if name in self.reference.names else ""
        return float(self._ridge(known).predict(vector)[0])
