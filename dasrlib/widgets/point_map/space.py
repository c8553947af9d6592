"""§4.2 Known degradations in the space of representations, and a new picture among them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dasrlib import evaluation, probes
from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import degrade
from dasrlib.network import BlindSR
from dasrlib.widgets.base.degradation_controls import SIZE

SQUARES = 30  # of 256×256 HR pixels, each under every width: one to three seconds of encoding
NEAREST = 5  # neighbours, as in probes.knn_accuracy

Pictures = Sequence[tuple[str, Tensor]]


class ReferenceSet:
    """The points that all maps of a widget share: squares, each under every width, in this order.

    The squares are the middles of at most 30 of the pictures, spread evenly over them.
    """

    def __init__(self, images: Pictures, widths: Sequence[float], scale: int) -> None:
        count = min(SQUARES, len(images))
        chosen = (images[i * len(images) // count] for i in range(count))
        self.squares = [
            (name, crop_to_multiple(centre_crop(image, SIZE), scale)) for name, image in chosen
        ]
        self.degradations = evaluation.isotropic_degradations(scale, widths)
        self.levels = list(self.degradations)
        self.names = [name for name, _ in self.squares for _ in self.levels]
        self.widths = self.levels * count

    def lr(self, index: int) -> Tensor:
        """The degraded square of a point, (3, H/s, W/s)."""
        hr = self.squares[index // len(self.levels)][1]
        return degrade(hr[None], self.degradations[self.widths[index]], backend="fast")[0]

    def text(self, index: int) -> str:
        return f"{self.names[index]}, σ = {self.widths[index]:g}"


class RepresentationSpace:
    """One model's representations of a reference set, and a new one among them (§4.2)."""

    def __init__(self, model: BlindSR, reference: ReferenceSet) -> None:
        self.model, self.reference = model, reference
        found, _, _ = evaluation.representations(model, reference.squares, reference.degradations)
        by_width = found.double().numpy().reshape(len(reference.levels), -1, found.shape[-1])
        self.vectors = by_width.swapaxes(0, 1).reshape(-1, found.shape[-1])  # (N, 256)
        self.pca = PCA(2, svd_solver="full").fit(self.vectors)
        # The sign of a component is arbitrary: here more blur lies to the right.
        if np.corrcoef(self.pca.transform(self.vectors)[:, 0], reference.widths)[0, 1] < 0:
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
        """Indices of the other pictures: a picture matches itself by its content, not its blur."""
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
        """σ in HR pixels, read by the ridge regression that was fitted on other pictures."""
        # All pictures outside the reference have the same others.
        known = name if name in self.reference.names else ""
        return float(self._ridge(known).predict(vector)[0])
