"""§4.2 The representation map: known degradations as clusters, and a picture of yours among them.

A new point has an exact place under PCA, which is a projection: it is the layout to begin with.
t-SNE has no place for a point that was not there when the map was made; there it stands among its
nearest neighbours, and the widget says so.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
import traitlets
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dasrlib import probes
from dasrlib.data import Pictures, centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, degrade
from dasrlib.network import BlindSR
from dasrlib.plots.representation import MARKERS
from dasrlib.plots.style import PALETTE, image_axes
from dasrlib.weights import load
from dasrlib.widgets.base.degradation_controls import SIZE, Controls, describe
from dasrlib.widgets.base.frame import Frame, figure_html, row_html

WIDTHS = (0.2, 1.4, 2.6, 3.8)  # HR pixels: the probes' of §4.2
SQUARES = 30  # of 256×256 HR pixels, each under every width: one to three seconds of encoding
NEAREST = 5  # neighbours, as in probes.knn_accuracy
TRAIL = 40  # places of the moving point that are remembered
Weights = str | Path | BlindSR


def squares(images: Pictures, most: int = SQUARES) -> list[tuple[str, Tensor]]:
    """Squares of at most 256×256 pixels, spread evenly over pictures and inside each of them.

    images: (name, (3, H, W)) pairs. Returns (name, square) pairs, not more than `most` of them.
    """
    count = min(most, len(images))
    chosen = [images[i * len(images) // count] for i in range(count)]
    found = []
    for name, image in chosen:
        rows, columns = (length // SIZE for length in image.shape[-2:])
        tiles = [
            image[..., SIZE * y : SIZE * (y + 1), SIZE * x : SIZE * (x + 1)]
            for y in range(rows)
            for x in range(columns)
        ]
        if len(tiles) < 2:
            tiles = [centre_crop(image, SIZE)]
        some = min(most // count, len(tiles))
        found += [(name, tiles[i * len(tiles) // some]) for i in range(some)]
    return found


class Known:
    """Squares under every width, in the order (square, width): what all maps of a widget share."""

    def __init__(self, images: Pictures, widths: Sequence[float], scale: int) -> None:
        self.levels = list(widths)
        self.lr: list[Tensor] = []  # each (3, H, W)
        self.names: list[str] = []
        for name, square in squares(images):
            hr = crop_to_multiple(square, scale)[None].expand(len(widths), -1, -1, -1)
            self.lr += degrade(hr, Degradations.isotropic(list(widths), scale), backend="fast")
            self.names += [name] * len(widths)
        self.widths = self.levels * (len(self.lr) // len(widths))

    def text(self, index: int) -> str:
        return f"{self.names[index]}, σ = {self.widths[index]:g}"


class Atlas:
    """What one model makes of the known pictures, and where a new one belongs among them (§4.2)."""

    def __init__(self, model: BlindSR, known: Known) -> None:
        self.model, self.known = model, known
        step = len(known.levels)  # the widths of one square have one size: they go in together
        parts = [torch.stack(known.lr[i : i + step]) for i in range(0, len(known.lr), step)]
        self.vectors = np.concatenate([self.represent(part) for part in parts])  # N × 256
        self.mean = self.vectors.mean(axis=0)
        _, strengths, axes = np.linalg.svd(self.vectors - self.mean, full_matrices=False)
        self.axes = axes[:2].T  # 256 × 2
        # The sign of a component is arbitrary: here more blur lies to the right.
        if np.corrcoef(self.pca(self.vectors)[:, 0], known.widths)[0, 1] < 0:
            self.axes[:, 0] *= -1
        self.variance = strengths[:2] ** 2 / (strengths**2).sum()
        self.units = StandardScaler().fit(self.vectors)  # neighbours are sought as the probe does
        self._ridges: dict[str, Pipeline] = {}

    def represent(self, lr: Tensor) -> NDArray[np.float64]:
        """LR pictures (B, 3, H, W) -> (B, 256)."""
        with torch.inference_mode():
            return self.model.represent(lr).double().numpy()

    def pca(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 256) -> (N, 2), the projection on the known vectors' first two components."""
        return (vectors - self.mean) @ self.axes

    @cached_property
    def tsne(self) -> NDArray[np.float64]:
        return probes.tsne(self.vectors, perplexity=min(30, len(self.vectors) // 4))

    def others(self, name: str) -> NDArray[np.intp]:
        """The known vectors of other pictures: a picture's own squares would answer by content."""
        return np.flatnonzero(np.asarray(self.known.names) != name)

    def nearest(self, vector: NDArray[np.float64], name: str) -> tuple[Any, Any]:
        """Indices and distances of the nearest known vectors of other pictures, nearest first."""
        others = self.others(name)
        known, own = self.units.transform(self.vectors[others]), self.units.transform(vector)
        distances = np.linalg.norm(known - own, axis=1)
        order = distances.argsort()[:NEAREST]
        return others[order], distances[order]

    def place(self, vector: NDArray[np.float64], name: str, layout: str) -> list[float]:
        """Where a vector (1, 256) of a picture called `name` stands on the map."""
        if layout == "pca":
            x, y = self.pca(vector)[0]
        else:
            near, distances = self.nearest(vector, name)
            x, y = np.average(self.tsne[near], axis=0, weights=1 / (distances + 1e-9))
        return [float(x), float(y)]

    def read(self, vector: NDArray[np.float64], name: str) -> float:
        """σ in HR pixels, read off by the ridge that was fitted on other pictures."""
        if name not in self.known.names:
            name = ""  # every unknown picture has the same others
        if name not in self._ridges:
            others = self.others(name)
            widths = [self.known.widths[i] for i in others]
            names = [self.known.names[i] for i in others]
            self._ridges[name] = probes.fit_ridge(self.vectors[others], widths, names)
        return float(self._ridges[name].predict(vector)[0])


class Map(anywidget.AnyWidget):
    """The drawing in the browser: marks that can be chosen, and one that moves."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    title = traitlets.Unicode().tag(sync=True)
    points: traitlets.List[Any] = traitlets.List().tag(sync=True)  # [x, y, number of its cluster]
    clusters: traitlets.List[Any] = traitlets.List().tag(sync=True)  # name and colour of each
    texts: traitlets.List[Any] = traitlets.List().tag(
        sync=True
    )  # of each point, for tooltips and screen readers
    stride = traitlets.Int(1).tag(sync=True)  # from a point to the same width of the next square
    axes = traitlets.List(["", ""]).tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    moving = traitlets.List([0.0, 0.0]).tag(sync=True)
    trail: traitlets.List[Any] = traitlets.List().tag(sync=True)  # where it was, oldest first
    selected = traitlets.Int(-1).tag(sync=True)  # the chosen point, −1 for none


class Course:
    """One model's map on the page: its drawing, the line of words below, and the way so far."""

    def __init__(self, title: str, atlas: Atlas) -> None:
        self.atlas, known = atlas, atlas.known
        self.layout, self.name = "", ""
        self.drawing = Map(
            title=title,
            clusters=[
                {"name": f"σ = {w:g}", "colour": c}
                for w, c in zip(known.levels, _colours(known), strict=True)
            ],
            texts=[known.text(i) for i in range(len(known.names))],
            stride=len(known.levels),
        )
        self.words = ipw.HTML()

    def lay_out(self, layout: str) -> None:
        """The known points in a layout, "pca" or "tsne"."""
        atlas, levels = self.atlas, self.atlas.known.levels
        places = atlas.pca(atlas.vectors) if layout == "pca" else atlas.tsne
        axes, note = ["", ""], (
            "t-SNE has no exact place for a new point: yours stands between its "
            f"{NEAREST} nearest neighbours in 256 dimensions. Its axes mean nothing."
        )  # fmt: skip
        if layout == "pca":
            ordinals = zip(("first", "second"), atlas.variance, strict=True)
            axes = [f"{nth} component, {share:.0%} of the variance" for nth, share in ordinals]
            note = "PCA is a projection: your picture's place is exact."
        with self.drawing.hold_sync():
            self.drawing.axes, self.drawing.note = axes, note
            self.drawing.points = [
                [round(float(x), 5), round(float(y), 5), i % len(levels)]
                for i, (x, y) in enumerate(places)
            ]

    def move(self, lr: Tensor, name: str, layout: str) -> None:
        """The student's picture (1, 3, H, W) takes its new place, with a trail behind it."""
        if layout != self.layout:
            self.lay_out(layout)
        new = (layout, name) != (self.layout, self.name)
        self.layout, self.name = layout, name
        vector = self.atlas.represent(lr)
        past = [] if new else [*self.drawing.trail, self.drawing.moving][-TRAIL:]
        with self.drawing.hold_sync():
            self.drawing.trail = past
            self.drawing.moving = self.atlas.place(vector, name, layout)
        near, _ = self.atlas.nearest(vector, name)
        counts = Counter(self.atlas.known.widths[i] for i in near)
        nearest = ", ".join(f"{n} at σ = {w:g}" for w, n in counts.most_common())
        sigma = self.atlas.read(vector, name)
        self.words.value = (
            '<div role="status" style="margin:4px;max-width:540px;line-height:1.4">'
            f"The {len(near)} nearest known squares of other pictures: <b>{nearest}</b>. "
            f"σ, read off by a straight line (ridge): <b>{sigma:.1f}</b>.</div>"
        )


def _colours(known: Known) -> list[str]:
    return [to_hex(c) for c in plt.get_cmap("viridis")(np.linspace(0, 0.92, len(known.levels)))]


def _ready(weights: Weights | Sequence[Weights]) -> dict[str, BlindSR]:
    """The models of a map by title; raises ValueError for what cannot be mapped."""
    several = [weights] if isinstance(weights, Weights) else list(weights)
    models: dict[str, BlindSR] = {}
    for given in several:
        # A copy, so that a network in training is neither switched nor followed.
        model = copy.deepcopy(given).cpu().eval() if isinstance(given, BlindSR) else load(given)
        title = model.model if isinstance(given, BlindSR) else str(given)
        if not model.blind:
            raise ValueError(
                f"{title} does not look at the picture, it is told the degradation: choose a blind "
                "model, such as laptop/model4-x4-iso"
            )
        models[title if title not in models else f"{title} ({len(models) + 1})"] = model
    scales = sorted({model.scale for model in models.values()})
    if len(scales) != 1:
        raise ValueError(f"the models of one map must share their scale, got {scales}")
    return models


def representation_map(
    images: Pictures,
    weights: Weights | Sequence[Weights] = "laptop/model4-x4-iso",
    widths: Sequence[float] = WIDTHS,
) -> Frame:
    """A map of representations of known degradations, and a picture that moves on it as sliders
    degrade it; a point clicked, or reached with the arrow keys, shows its square (§4.2).

    images: three or more (name, (3, H, W) in [0, 1]) pairs; some 30 squares of them, each under
    every width, are the known points, and their middle 256×256 pixels are what the sliders degrade.
    weights: a name of weights.catalogue(), a file or a BlindSR, or several of them: a map each,
    moved together. widths: 2 to 6 kernel widths σ in HR pixels. Raises ValueError for fewer
    pictures, other numbers of widths, Model 5, and models of several scales.
    """
    if len({name for name, _ in images}) < 3:
        raise ValueError(f"a map needs 3 pictures of different names or more, got {len(images)}")
    if not 2 <= len(widths) <= len(MARKERS):
        raise ValueError(f"a map tells 2 to {len(MARKERS)} widths apart, got {len(widths)}")
    models = _ready(weights)
    scale = next(iter(models.values())).scale
    known = Known(images, widths, scale)
    courses = [Course(title, Atlas(model, known)) for title, model in models.items()]
    pictures = {name: centre_crop(image, SIZE) for name, image in images}
    controls = Controls(list(pictures), scale, choose_scale=False)
    layout = ipw.ToggleButtons(
        options=[("PCA", "pca"), ("t-SNE", "tsne")], description="map",
        style={"description_width": "110px"},
    )  # fmt: skip
    own, square = ipw.HTML(), ipw.HTML()

    def lr() -> Tensor:
        hr = crop_to_multiple(pictures[controls.picture.value], scale)[None]
        return degrade(hr, controls.degradation(), torch.Generator().manual_seed(0), "fast")

    def compute() -> None:
        if layout.value == "tsne" and any("tsne" not in vars(c.atlas) for c in courses):
            frame.say("laying out the map with t-SNE, once: a few seconds")
        seen, name = lr(), controls.picture.value
        for course in courses:
            course.move(seen, name, layout.value)
        done = describe(controls.degradation())
        own.value = row_html([figure_html("your picture", seen[0], f"{name}, {done}", 200, done)])

    def choose(change: dict[str, Any]) -> None:
        index = change["new"]
        for course in courses:  # the same square on every map
            course.drawing.selected = index
        if index >= 0:
            text = known.text(index)
            square.value = row_html(
                [figure_html("the chosen point", known.lr[index], text, 200, text)]
            )

    def draw() -> Figure:
        return _first_frame(courses, lr(), controls)

    row = ipw.Layout(flex_flow="row wrap", align_items="flex-start")
    beside = ipw.Layout(flex="1 1 360px", max_width="560px")  # two maps share a page's width
    maps = [ipw.VBox([course.drawing, course.words], layout=beside) for course in courses]
    pair = ipw.HBox([own, square], layout=row)
    frame = Frame([*controls.all(), layout], [ipw.HBox([*maps, pair], layout=row)], draw)
    for course in courses:
        course.drawing.observe(choose, names="selected")
    # As wide as the square that will stand here: the map must not jump at the first click.
    square.value = (
        '<p style="margin:4px;width:200px;line-height:1.4">'
        "Click a point, or walk with the arrow keys, to see its square.</p>"
    )
    controls.accept_uploads(frame, pictures)
    frame.answer([*controls.moved(), layout], compute)
    return frame


def _first_frame(courses: Sequence[Course], lr: Tensor, controls: Controls) -> Figure:
    """The maps under PCA and the picture on them, as a plain figure."""
    count = len(courses)
    figure, axes = plt.subplots(
        1, count + 1, figsize=(5 * count + 2.6, 4.2), width_ratios=[*[2] * count, 1]
    )
    for ax, course in zip(axes, courses, strict=False):
        atlas, known = course.atlas, course.atlas.known
        places = atlas.pca(atlas.vectors).reshape(-1, len(known.levels), 2)
        for i, (level, colour) in enumerate(zip(known.levels, _colours(known), strict=True)):
            ax.scatter(
                *places[:, i].T, s=22, color=colour, marker=MARKERS[i], label=f"σ = {level:g}"
            )
        place = atlas.place(atlas.represent(lr), controls.picture.value, "pca")
        ax.plot(*place, "*", ms=16, color=PALETTE[1], label="your picture", mec="white")
        ax.set(title=course.drawing.title, xlabel="first component", ylabel="second component")
        ax.set(xticks=[], yticks=[])
    axes[0].legend(frameon=False, fontsize=9)
    image_axes(axes[-1], lr[0], "your picture", describe(controls.degradation()))
    axes[-1].xaxis.label.set_fontsize(8)
    return figure
