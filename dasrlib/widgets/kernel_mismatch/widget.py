"""§3.2.2 What the network was told: the kernels and coefficients that a DA convolution predicts
from a representation, and what the network makes of a picture when it is told something else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib import paper
from dasrlib.plots.style import PALETTE, image_axes
from dasrlib.systems import DEFAULT_WEIGHTS
from dasrlib.widgets.base.degradation_controls import SIZE
from dasrlib.widgets.base.frame import Frame, figure_html, row_html
from dasrlib.widgets.kernel_mismatch.predictions import Case, Telling

SIGNED = "RdBu_r"  # red above 0, white at 0, blue below: the colour-blind tell them apart
STEP = 7  # CSS pixels from bar to bar
BARS = 150  # CSS pixels from a coefficient of 0 to one of 1
GAP = 0.5  # grey between the kernels, to be seen on a dark page and on a light one


def mosaic(kernels: Tensor, limit: float) -> Tensor:
    """Kernels (C, k, k) as one picture (3, H, W), 8 in a row: full red at limit, blue at −limit."""
    c, k, _ = kernels.shape
    shades = plt.get_cmap(SIGNED)((kernels / limit).clamp(-1, 1).numpy() / 2 + 0.5)[..., :3]
    tiles = torch.from_numpy(shades).float().permute(0, 3, 1, 2)  # (C, 3, k, k)
    columns, pitch = min(8, c), k + 1
    rows = -(-c // columns)
    picture = torch.full((3, rows * pitch + 1, columns * pitch + 1), GAP)
    for i, tile in enumerate(tiles):
        top, left = i // columns * pitch + 1, i % columns * pitch + 1
        picture[:, top : top + k, left : left + k] = tile
    return picture


def scale_html(limit: float, width: int) -> str:
    """The colours of `mosaic` from −limit to limit, with 0 marked."""
    shades = [plt.get_cmap(SIGNED)(i / 10)[:3] for i in range(11)]
    stops = ",".join("#" + "".join(f"{round(255 * v):02x}" for v in shade) for shade in shades)
    return (
        f'<div aria-hidden="true" style="width:{width}px;margin:0 4px">'
        f'<div style="height:10px;border:1px solid;background:linear-gradient(90deg,{stops})">'
        '<div style="width:0;height:100%;margin:auto;border-left:2px solid #000"></div></div>'
        '<div style="display:flex;justify-content:space-between">'
        f"<span>−{limit:.1f}</span><span>0</span><span>{limit:.1f}</span></div></div>"
    )


def bars_svg(values: Tensor, truth: Tensor | None, alt: str) -> str:
    """Coefficients (C,) in (0, 1) as bars from the middle, 0.5; dashes where the truth's would end.

    A linear layer without bias says 0.5 when R says nothing, so up and down are what R adds.
    """

    def y(value: float) -> float:
        return 6 + BARS * (1 - value)

    parts = []
    for value, name in ((1.0, "1"), (0.5, "0.5"), (0.0, "0")):
        parts.append(
            f'<path d="M30 {y(value)}h{STEP * len(values)}" stroke="currentColor" opacity=".4"/>'
            f'<text x="26" y="{y(value) + 4}" text-anchor="end" font-size="11" '
            f'fill="currentColor">{name}</text>'
        )
    for i, value in enumerate(values.tolist()):
        top, bottom = y(max(value, 0.5)), y(min(value, 0.5))
        parts.append(
            f'<rect x="{31 + STEP * i}" y="{top:.1f}" width="{STEP - 2}" '
            f'height="{bottom - top:.1f}" fill="{PALETTE[1] if value > 0.5 else PALETTE[0]}"/>'
        )
    for i, value in enumerate([] if truth is None else truth.tolist()):
        parts.append(
            f'<path d="M{30 + STEP * i} {y(value):.1f}h{STEP}" stroke="currentColor" '
            'stroke-width="1.5"/>'
        )
    width = _bars_width(values)
    return (
        f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" width="{width}" '
        f'height="{BARS + 12}" viewBox="0 0 {width} {BARS + 12}">{"".join(parts)}</svg>'
    )


def _bars_width(values: Tensor) -> int:
    return 36 + STEP * len(values)


class _Controls:
    """The sliders: what is true, and what the network is told."""

    def __init__(self, telling: Telling, sigma: float, told: float | None, layer: int) -> None:
        style = {"description_width": "130px"}
        self.convolutions = telling.convolutions
        names = list(telling.networks)
        ranges = [paper.SIGMA_RANGE[network.scale] for network in telling.networks.values()]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        for width in (sigma, sigma if told is None else told):
            if not low <= width <= high:
                raise ValueError(f"kernel widths go from {low} to {high} HR pixels, got {width}")

        def slider(text: str, start: float, tip: str) -> ipw.FloatSlider:
            return ipw.FloatSlider(
                start, min=low, max=high, step=0.1, description=text, tooltip=tip,
                style=style, layout=ipw.Layout(width="360px"), readout_format=".1f",
            )  # fmt: skip

        self.picture = ipw.Dropdown(
            options=list(telling.pictures), description="picture", style=style
        )
        self.network = ipw.Dropdown(options=names, description="network", style=style)
        if len(names) == 1:
            self.network.layout.display = "none"
        count = self._count()
        if not 1 <= layer <= count:
            raise ValueError(f"{names[0]} has DA convolutions 1 to {count}, got {layer}")
        self.layer = ipw.IntSlider(
            layer, min=1, max=count, description="DA convolution", style=style,
            layout=ipw.Layout(width="360px"), tooltip="which one is shown, first to last",
        )  # fmt: skip
        self.true = slider("true σ, HR pixels", sigma, "the width that the picture is blurred with")
        self.mode = ipw.ToggleButtons(
            options=["the truth", "something else"],
            index=0 if told is None else 1,
            description="tell it",
            style={**style, "button_width": "125px"},
            layout=ipw.Layout(width="420px"),
        )
        start = sigma if told is None else told
        self.told_width = slider("told σ, HR pixels", start, "the width that the network is told")
        self.mode.observe(lambda change: self._show(), names="value")
        self.network.observe(lambda change: self._fit(), names="value")
        self._show()

    def _count(self) -> int:
        return len(self.convolutions[self.network.value])

    def _fit(self) -> None:
        self.layer.max = self._count()

    def _show(self) -> None:
        self.told_width.layout.display = "none" if self.mode.index == 0 else None

    def all(self) -> list[ipw.Widget]:
        return [
            self.picture, self.network, self.layer, self.true, self.mode, self.told_width,
        ]  # fmt: skip

    @property
    def case(self) -> Case:
        """What is true and what is told, as the sliders stand; their steps are tenths."""
        true = round(self.true.value, 1)
        told = true if self.mode.index == 0 else round(self.told_width.value, 1)
        return Case(self.network.value, self.picture.value, true, told)


def what_it_was_told(
    images: Sequence[tuple[str, Tensor]],
    weights: str | Path | Sequence[str | Path] = DEFAULT_WEIGHTS,
    sigma: float = 1.4,
    told: float | None = None,
    layer: int = 1,
) -> Frame:
    """The kernels and coefficients that a DA convolution predicts as the degradation changes, and
    the picture restored when the network is told another kernel width than the true one (§3.2.2).

    images: (name, (3, H, W) in [0, 1]) pairs to choose from; their middle 256×256 pixels are used.
    weights: of weights.load, one or several to choose from. sigma: the true width to begin with,
    HR pixels; told: the one that the network is told, None for the truth. layer: the DA
    convolution, from 1. A blind model is told the representation of the same picture under the
    told width, Model 5 the width itself. Raises ValueError for weights without DA convolutions
    (Model 2), a width outside the trained range or a layer that is not there.
    """
    names = [weights] if isinstance(weights, str | Path) else list(weights)
    telling = Telling(images, names)
    controls = _Controls(telling, sigma, told, layer)
    said, result = ipw.HTML(), ipw.HTML()

    def predict() -> None:
        said.value = _predicted_html(telling, controls.case, controls.layer.value)

    def restore() -> str:
        return _restored_html(telling, controls.case)

    def show(text: str) -> None:
        result.value = text

    def draw() -> Figure:
        return _figure(telling, controls.case, controls.layer.value)

    frame = Frame(controls.all(), [said, result], draw)
    frame.answer(controls.all(), predict)
    frame.answer_at_rest([w for w in controls.all() if w is not controls.layer], restore, show)
    return frame


def _words(case: Case) -> str:
    told = "the truth" if case == case.truthful else f"σ = {case.told:.1f}"
    return f"told {told}"


def _predicted_html(telling: Telling, case: Case, layer: int) -> str:
    """The quick part: LR, the kernels, the truth's beside them if they differ, the coefficients."""
    lr, limit = telling.lr(case), telling.limit(case.network, case.picture, layer)
    told, truth = (telling.predicted(c, layer) for c in (case, case.truthful))
    h, w = lr.shape[-2:]
    parts = [
        figure_html(
            f"LR, true σ = {case.true:.1f}", lr,
            f"the picture {case.picture}, blurred with a kernel of width {case.true:.1f}", SIZE,
            f"{w}×{h} pixels, enlarged",
        )
    ]  # fmt: skip
    shown = {_words(case): told.kernels}
    if case != case.truthful:
        shown[_words(case.truthful)] = truth.kernels
    change = float((told.kernels - truth.kernels).norm() / truth.kernels.norm().clamp(min=1e-9))
    for words, kernels in shown.items():
        count = len(kernels)
        alt = f"the {count} kernels that DA convolution {layer} predicts, {words}"
        if kernels is not truth.kernels:
            alt += f"; they differ from the truth's by {change:.0%} of those"
        picture = mosaic(kernels, limit)
        parts.append(
            f"<div>{figure_html(f'{count} kernels, {words}', picture, alt, SIZE)}"
            f"{scale_html(limit, SIZE)}</div>"
        )
    parts.append(_coefficients_html(told.coefficients, truth.coefficients, case, layer))
    return row_html(parts)


def _coefficients_html(told: Tensor | None, truth: Tensor | None, case: Case, layer: int) -> str:
    if told is None or truth is None:
        return "<p>This network has no modulation branch (Model 3): no coefficients.</p>"
    change = float((told - truth).abs().max())
    alt = (
        f"the {len(told)} coefficients that DA convolution {layer} predicts, {_words(case)}: "
        f"from {float(told.min()):.2f} to {float(told.max()):.2f}"
        + (f"; the truth's differ by up to {change:.2f}" if case != case.truthful else "")
    )
    note = "channel by channel; from 0.5, where the linear layers say nothing"
    if case != case.truthful:
        note += "; a dash where the truth's would end"
    return (
        f'<figure style="margin:4px;width:{_bars_width(told)}px">'
        '<figcaption style="font-weight:600">'
        f"modulation coefficients, {_words(case)}</figcaption>"
        f"{bars_svg(told, None if case == case.truthful else truth, alt)}"
        f'<figcaption style="opacity:.75">{note}</figcaption></figure>'
    )


def _panels(telling: Telling, case: Case) -> list[tuple[str, Tensor, str]]:
    """What is compared, as (title, picture, note): told something else, told the truth, HR."""
    cases = [case] if case == case.truthful else [case, case.truthful]
    panels = [
        (f"SR, {_words(c)}", telling.restored(c), f"PSNR-Y {telling.psnr(c):.2f} dB") for c in cases
    ]
    return [*panels, ("HR", telling.hr(case), "the original")]


def _restored_html(telling: Telling, case: Case) -> str:
    """The slow part: what was restored with what was told, with the truth, and the sentence."""
    figures = [
        figure_html(title, image, f"the picture {case.picture}: {title}, {note}", SIZE, note)
        for title, image, note in _panels(telling, case)
    ]
    return f"{row_html(figures)}<p><b>{html.escape(telling.verdict(case))}</b></p>"


def _figure(telling: Telling, case: Case, layer: int) -> Figure:
    """All of it on paper."""
    limit = telling.limit(case.network, case.picture, layer)
    told, truth = (telling.predicted(c, layer) for c in (case, case.truthful))
    panels = [(f"LR, true σ = {case.true:.1f}", telling.lr(case), ""), *_panels(telling, case)]
    figure = plt.figure(figsize=(13, 6.4))
    parts: Any = figure.subfigures(2, 1, height_ratios=[1, 1.05])
    above, below = parts
    left, right = above.subplots(1, 2, width_ratios=[1, 2.6])
    image_axes(left, mosaic(told.kernels, limit), f"{len(told.kernels)} kernels, {_words(case)}")
    left.set_xlabel(f"blue −{limit:.1f}, white 0, red {limit:.1f}")
    if told.coefficients is None or truth.coefficients is None:
        right.set_axis_off()
    else:
        places = range(1, 1 + len(told.coefficients))
        colours = [PALETTE[1 if v > 0.5 else 0] for v in told.coefficients]
        right.bar(places, told.coefficients.numpy() - 0.5, bottom=0.5, color=colours)
        if case != case.truthful:
            right.plot(places, truth.coefficients.numpy(), "k_", label="told the truth")
            right.legend(frameon=False, loc="upper right")
        right.set(xlabel="channel", ylabel="coefficient v", ylim=(0, 1))
        right.set_title(f"modulation coefficients, {_words(case)}")
    for ax, (title, image, note) in zip(below.subplots(1, len(panels)), panels, strict=True):
        image_axes(ax, image, title, note)
    figure.suptitle(telling.verdict(case), fontsize=11)
    return figure
