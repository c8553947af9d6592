"""§4.2, §4.3 The representation map: known degradations as clusters, your picture among them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
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
from torch import Tensor

from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, degrade
from dasrlib.network import BlindSR
from dasrlib.plots.style import MARKERS, PALETTE
from dasrlib.systems import DEFAULT_WEIGHTS
from dasrlib.weights import load
from dasrlib.widgets.base.controls import buttons
from dasrlib.widgets.base.degradation_controls import SIZE, DegradationControls, degradation_text
from dasrlib.widgets.base.interactive_figure import InteractiveFigure
from dasrlib.widgets.base.panels import Panel, chart, chart_axes, first_frame
from dasrlib.widgets.point_map.space import NEAREST, Pictures, ReferenceSet, RepresentationSpace

WIDTHS = (0.2, 1.4, 2.6, 3.8)  # HR pixels: the probes' of §4.2
TRAIL = 40  # places of the moving point that are remembered
PCA_NOTE = "PCA is a projection: your picture's place is exact."
TSNE_NOTE = (
    f"t-SNE has no exact place for a new point: yours is put between its {NEAREST} nearest "
    "neighbours in 256 dimensions. Its axes mean nothing."
)

Weights = str | Path | BlindSR


class ScatterView(anywidget.AnyWidget):
    """The drawing in the browser: marks that can be chosen, and one that moves."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    title = traitlets.Unicode().tag(sync=True)
    points: traitlets.List[Any] = traitlets.List().tag(sync=True)  # [x, y, its cluster]
    clusters: traitlets.List[Any] = traitlets.List().tag(sync=True)  # name and colour each
    texts: traitlets.List[Any] = traitlets.List().tag(sync=True)  # tooltip, aria-label
    axes = traitlets.List(["", ""]).tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    moving = traitlets.List([0.0, 0.0]).tag(sync=True)
    trail: traitlets.List[Any] = traitlets.List().tag(sync=True)  # where it was, oldest first
    selected = traitlets.Int(-1).tag(sync=True)  # the chosen point, −1 for none


class MapPanel:
    """One model's map: its drawing, the words below it, and where the moving point has been."""

    def __init__(self, title: str, space: RepresentationSpace, reads_width: bool) -> None:
        self.space, self.reads_width, reference = space, reads_width, space.reference
        self.layout, self.name = "", ""
        shades = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(reference.levels)))
        self.drawing = ScatterView(
            title=title,
            clusters=[
                {"name": level, "colour": to_hex(shade)}
                for level, shade in zip(reference.levels, shades, strict=True)
            ],
            texts=[reference.text(i) for i in range(len(reference.names))],
        )
        self.words = ipw.HTML()

    def lay_out(self, layout: str) -> None:
        """The reference points in a layout, "pca" or "tsne"."""
        space, count = self.space, len(self.space.reference.levels)
        if layout == "pca":
            places, note = space.pca.transform(space.vectors), PCA_NOTE
            first, second = space.pca.explained_variance_ratio_
            share = "component, {:.0%} of the variance".format
            axes = [f"first {share(first)}", f"second {share(second)}"]
        else:
            places, note, axes = space.tsne, TSNE_NOTE, ["", ""]
        points = [[*place, i % count] for i, place in enumerate(places.round(5).tolist())]
        with self.drawing.hold_sync():
            self.drawing.axes, self.drawing.note, self.drawing.points = axes, note, points

    def move(self, lr: Tensor, name: str, layout: str) -> None:
        """The student's picture (1, 3, H, W) takes its new place, with a trail behind it."""
        if layout != self.layout:
            self.lay_out(layout)
        new = (layout, name) != (self.layout, self.name)
        self.layout, self.name = layout, name
        vector = self.space.represent(lr)
        place = self.space.place(vector, name, layout)
        with self.drawing.hold_sync():
            if new:
                self.drawing.trail = []
            elif place != self.drawing.moving:
                self.drawing.trail = [*self.drawing.trail, self.drawing.moving][-TRAIL:]
            self.drawing.moving = place
        near, _ = self.space.nearest(vector, name)
        counts = Counter(self.space.reference.labels[i] for i in near)
        nearest = ", ".join(f"{n} at {label}" for label, n in counts.most_common())
        words = f"The {len(near)} nearest squares of other pictures: <b>{nearest}</b>."
        if self.reads_width:
            sigma = self.space.read_width(vector, name)
            words += f" σ predicted by a linear model (ridge): <b>{sigma:.1f}</b>."
        style = "margin:4px;max-width:540px;line-height:1.4"
        self.words.value = f'<div role="status" style="{style}">{words}</div>'

    def still(self) -> Panel:
        """The map as it is, for a page that runs no kernel."""
        ax, points = chart_axes(480, 380), np.array(self.drawing.points)
        for i, cluster in enumerate(self.drawing.clusters):
            x, y = points[points[:, 2] == i, :2].T
            look = {"color": cluster["colour"], "marker": MARKERS[i], "label": cluster["name"]}
            ax.scatter(x, y, s=22, **look)
        ax.plot(*self.drawing.moving, "*", ms=16, color=PALETTE[1], mec="white", label="yours")
        ax.set(xlabel=self.drawing.axes[0], ylabel=self.drawing.axes[1], xticks=[], yticks=[])
        ax.legend(frameon=False, fontsize=9)
        title = self.drawing.title
        return chart(ax, title, f"{title}: map of the squares and of your picture")


def _load_models(weights: Weights | Sequence[Weights]) -> list[tuple[str, BlindSR]]:
    """The models of the maps, with titles; raises ValueError for what cannot be mapped."""
    models = []
    for given in [weights] if isinstance(weights, Weights) else weights:
        # A copy, so that a network in training is neither switched nor followed.
        model = copy.deepcopy(given).cpu().eval() if isinstance(given, BlindSR) else load(given)
        title = model.name if isinstance(given, BlindSR) else str(given)
        if model.needs != "nothing":
            raise ValueError(
                f"{title} is non-blind, it needs the {model.needs} as input: choose a blind "
                f"model, such as {DEFAULT_WEIGHTS}"
            )
        models.append((title, model))
    scales = sorted({model.scale for _, model in models})
    if len(scales) != 1:
        raise ValueError(f"the models of one map must share their scale, got {scales}")
    return models


def _clusters(given: Mapping[str, Degradations] | None, scale: int) -> Mapping[str, Degradations]:
    """The degradations of the clusters; raises ValueError for what cannot be mapped."""
    if given is None:
        return {f"σ = {width:g}": Degradations.isotropic(width, scale) for width in WIDTHS}
    if not 2 <= len(given) <= len(MARKERS):
        raise ValueError(f"a map needs 2 to {len(MARKERS)} degradations, got {len(given)}")
    for name, one in given.items():
        if len(one) != 1 or one.scale != scale:
            raise ValueError(
                f"{name!r} holds {len(one)} for ×{one.scale}: expected one degradation for ×{scale}"
            )
    return given


def representation_map(
    images: Pictures,
    weights: Weights | Sequence[Weights] = DEFAULT_WEIGHTS,
    degradations: Mapping[str, Degradations] | None = None,
) -> InteractiveFigure:
    """A map of representations of known degradations, and a picture that moves on it as sliders
    degrade it. A point clicked, or reached with the arrow keys, shows its square (§4.2, §4.3).

    Args:
        images: three or more (name, (3, H, W) in [0, 1]) pairs. The middle 256×256 pixels of at
            most 30 of them, each under every degradation, are the points of the map; the sliders
            degrade the picture that is chosen.
        weights: a name of weights.catalogue(), a file or a BlindSR, or several of them: a map each,
            moved together.
        degradations: the clusters, two to six, by name; None for four kernel widths.

    Raises:
        ValueError: fewer pictures, Model 5, models of several scales, or degradations that are too
            few, too many, or of another scale.
    """
    if len({name for name, _ in images}) < 3:
        raise ValueError(f"a map needs 3 pictures of different names or more, got {len(images)}")
    models = _load_models(weights)
    scale = models[0][1].scale
    known = _clusters(degradations, scale)
    reference = ReferenceSet(images, known)
    maps = [
        MapPanel(title, RepresentationSpace(model, reference), reads_width=degradations is None)
        for title, model in models
    ]
    pictures = {name: centre_crop(image, SIZE) for name, image in images}
    controls = DegradationControls(list(pictures), scale)
    layout = buttons("map", [("PCA", "pca"), ("t-SNE", "tsne")], "how it is laid out")
    own, square = ipw.HTML(), ipw.HTML()

    def degraded() -> Panel:
        name, degradation = controls.picture.value, controls.degradation()
        hr = crop_to_multiple(pictures[name], scale)[None]
        lr = degrade(hr, degradation, torch.Generator().manual_seed(0), "fast")[0]
        words = degradation_text(degradation)
        return Panel("your picture", lr, f"{name}, {words}", 200, words)

    def compute() -> None:
        if layout.value == "tsne" and any("tsne" not in vars(map_.space) for map_ in maps):
            frame.set_status("laying out the map with t-SNE, once: a few seconds")
        panel = degraded()
        for map_ in maps:
            map_.move(panel.image[None], controls.picture.value, layout.value)
        own.value = panel.html()

    def choose(change: dict[str, Any]) -> None:
        index = change["new"]
        for map_ in maps:  # the same square on every map
            map_.drawing.selected = index
        if index >= 0:
            text = reference.text(index)
            square.value = Panel("the chosen point", reference.lr(index), text, 200, text).html()

    def draw() -> Figure:
        compute()
        return first_frame([[*(map_.still() for map_ in maps), degraded()]])

    row = ipw.Layout(flex_flow="row wrap", align_items="flex-start")
    beside = ipw.Layout(flex="1 1 360px", max_width="560px")  # two maps share a page's width
    boxes = [ipw.VBox([map_.drawing, map_.words], layout=beside) for map_ in maps]
    pair = ipw.HBox([own, square], layout=row)
    outputs = [ipw.HBox([*boxes, pair], layout=row)]
    frame = InteractiveFigure([*controls.all, layout], outputs, draw)
    for map_ in maps:
        map_.drawing.observe(choose, names="selected")
    # As wide as the square that will stand here: the map must not jump at the first click.
    square.value = (
        '<p style="margin:4px;width:200px;line-height:1.4">'
        "Click a point, or walk with the arrow keys, to see its square.</p>"
    )
    controls.accept_uploads(frame, pictures)
    frame.on_change([*controls.live, layout], compute)
    return frame
