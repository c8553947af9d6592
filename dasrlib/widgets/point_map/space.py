"""§4.2 Known degradations in the space of representations, and a new picture among them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dasrlib import probes
from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, degrade
from dasrlib.network import BlindSR
from dasrlib.widgets.base.degradation_controls import SIZE

SQUARES = 30  # of 256×256 HR pixels, each under every width: one to three seconds of encoding
NEAREST = 5  # neighbours, as in probes.knn_accuracy

Pictures = Sequence[tuple[str, Tensor]]


class ReferenceSet:
    """Squares under every width, in the order (square, width): what all maps of a widget share.

    The squares are the middles of at most 30 of the pictures, spread evenly over them.
    """

    def __init__(self, images: Pictures, widths: Sequence[float], scale: int) -> None:
        self.levels = list(widths)
        self.lr: list[Tensor] = []  # each (3, H, W)
        self.names: list[str] = []
        count = min(SQUARES, len(images))
        for name, image in (images[i * len(images) // count] for i in range(count)):
            hr = crop_to_multiple(centre_crop(image, SIZE), scale)[None]
            degradations = Degradations.isotropic(self.levels, scale)
            self.lr += degrade(hr.expand(len(widths), -1, -1, -1), degradations, backend="fast")
            self.names += [name] * len(widths)
        self.widths = self.levels * count

    def text(self, index: int) -> str:
        return f"{self.names[index]}, σ = {self.widths[index]:g}"


class RepresentationSpace:
    """One model's representations of a reference set, and a new one among them (§4.2)."""

    def __init__(self, model: BlindSR, reference: ReferenceSet) -> None:
        self.model, self.reference, lr = model, reference, reference.lr
        step = len(reference.levels)  # the widths of one square have one size: one batch
        parts = [torch.stack(lr[i : i + step]) for i in range(0, len(lr), step)]
        self.vectors = np.concatenate([self.represent(part) for part in parts])  # N × 256
        self.mean = self.vectors.mean(axis=0)
        _, strengths, axes = np.linalg.svd(self.vectors - self.mean, full_matrices=False)
        self.axes = axes[:2].T  # 256 × 2
        # The sign of a component is arbitrary: here more blur lies to the right.
        if np.corrcoef(self.pca(self.vectors)[:, 0], reference.widths)[0, 1] < 0:
            self.axes[:, 0] *= -1
        self.variance = strengths[:2] ** 2 / (strengths**2).sum()
        self.units = StandardScaler().fit(self.vectors)  # distances as in probes.knn_accuracy
        self._ridges: dict[str, Pipeline] = {}

    def represent(self, lr: Tensor) -> NDArray[np.float64]:
        """LR pictures (B, 3, H, W) -> (B, 256)."""
        with torch.inference_mode():
            return self.model.represent(lr).double().numpy()

    def pca(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 256) -> (N, 2), the projection on the reference's first two components."""
        return (vectors - self.mean) @ self.axes

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
            x, y = self.pca(vector)[0]
        else:
            near, distances = self.nearest(vector, name)
            x, y = np.average(self.tsne[near], axis=0, weights=1 / (distances + 1e-9))
        return [float(x), float(y)]

    def read_width(self, vector: NDArray[np.float64], name: str) -> float:
        """σ in HR pixels, read by the ridge regression that was fitted on other pictures."""
        if name not in self.reference.names:
            name = ""  # all pictures outside the reference have the same others
        if name not in self._ridges:
            others = self.others(name)
            widths = [self.reference.widths[i] for i in others]
            names = [self.reference.names[i] for i in others]
            self._ridges[name] = probes.fit_ridge(self.vectors[others], widths, names)
        return float(self._ridges[name].predict(vector)[0])
