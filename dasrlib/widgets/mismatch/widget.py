"""§3.2.2 Kernel mismatch: the kernels and coefficients that a DA convolution predicts from a
representation, and the SR picture when the network assumes another blur than the true one."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

import ipywidgets as ipw
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib import paper
from dasrlib.plots.style import PALETTE
from dasrlib.systems import DEFAULT_WEIGHTS
from dasrlib.widgets.base.controls import buttons, dropdown, show_if, slider
from dasrlib.widgets.base.degradation_controls import SIZE
from dasrlib.widgets.base.interactive_figure import InteractiveFigure
from dasrlib.widgets.base.panels import Panel, chart, chart_axes, first_frame, row_html
from dasrlib.widgets.mismatch.predictions import MismatchCase, MismatchModel

SIGNED = "RdBu_r"  # red above 0, white at 0, blue below: the colour-blind tell them apart
NO_MODULATION = "<p>This network has no modulation branch (Model 3): no coefficients.</p>"
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


class _Controls:
    """The sliders: the true width, and the width that the network assumes."""

    def __init__(
        self, model: MismatchModel, sigma: float, assumed: float | None, layer: int
    ) -> None:
        self.convolutions = model.convolutions
        names = list(model.networks)
        ranges = [paper.SIGMA_RANGE[network.scale] for network in model.networks.values()]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        start = sigma if assumed is None else assumed
        for width in (sigma, start):
            if not low <= width <= high:
                raise ValueError(f"kernel widths go from {low} to {high} HR pixels, got {width}")
        count = len(self.convolutions[names[0]])
        if not 1 <= layer <= count:
            raise ValueError(f"{names[0]} has DA convolutions 1 to {count}, got {layer}")
        self.picture = dropdown("picture", list(model.pictures), "the picture that is blurred")
        self.network = dropdown("network", names, "the weights")
        show_if(len(names) > 1, self.network)
        which = "which one is shown, first to last"
        self.layer = slider("DA convolution", 1, count, 1, layer, which)
        true_tip, tip = "the width of the blur", "the width that the network assumes"
        self.true = slider("true σ, HR pixels", low, high, 0.1, sigma, true_tip)
        self.assumed = slider("assumed σ, HR pixels", low, high, 0.1, start, tip)
        modes = ["the true σ", "another σ"]
        self.mode = buttons("network assumes", modes, tip)
        self.mode.index = 0 if assumed is None else 1
        self.mode.observe(lambda change: self._show(), names="value")
        self.network.observe(lambda change: self._fit(), names="value")
        self._show()

    def _fit(self) -> None:
        self.layer.max = len(self.convolutions[self.network.value])

    def _show(self) -> None:
        show_if(self.mode.index == 1, self.assumed)

    def all(self) -> list[ipw.Widget]:
        return [self.picture, self.network, self.layer, self.true, self.mode, self.assumed]

    @property
    def case(self) -> MismatchCase:
        """The two widths as the sliders stand; their steps are tenths."""
        true = round(self.true.value, 1)
        assumed = true if self.mode.index == 0 else round(self.assumed.value, 1)
        return MismatchCase(self.network.value, self.picture.value, true, assumed)


def kernel_mismatch(
    images: Sequence[tuple[str, Tensor]],
    weights: str | Path | Sequence[str | Path] = DEFAULT_WEIGHTS,
    sigma: float = 1.4,
    assumed: float | None = None,
    layer: int = 1,
) -> InteractiveFigure:
    """The kernels and coefficients that a DA convolution predicts as the degradation changes, and
    the SR picture when the network assumes another kernel width than the true one (§3.2.2).

    A blind model gets the representation of the same picture under the assumed width, Model 5 the
    width itself.

    Args:
        images: (name, (3, H, W) in [0, 1]) pairs to choose from; their middle 256×256 pixels are
            used.
        weights: of weights.load, one or several to choose from.
        sigma: the true width to begin with, HR pixels.
        assumed: the width that the network assumes, HR pixels; None for the true one.
        layer: the DA convolution, from 1.

    Raises:
        ValueError: weights without DA convolutions (Model 2), a width outside the trained range, or
            a layer that does not exist.
    """
    names = [weights] if isinstance(weights, str | Path) else list(weights)
    model = MismatchModel(images, names)
    controls = _Controls(model, sigma, assumed, layer)
    kernels, coefficients, sr = ipw.HTML(), ipw.HTML(), ipw.HTML()

    def predict() -> None:
        kernels.value = row_html(_kernel_panels(model, controls.case, controls.layer.value))

    def restore() -> Iterator[tuple[ipw.HTML, str]]:
        case = controls.case
        bars = _coefficient_panels(model, case, controls.layer.value)
        yield coefficients, row_html(bars) if bars else NO_MODULATION
        verdict = html.escape(model.verdict(case))
        yield sr, f"{row_html(_sr_panels(model, case))}<p><b>{verdict}</b></p>"

    def show(result: tuple[ipw.HTML, str]) -> None:
        output, text = result
        output.value = text

    def draw() -> Figure:
        case, number = controls.case, controls.layer.value
        rows = [
            [*_kernel_panels(model, case, number), *_coefficient_panels(model, case, number)],
            _sr_panels(model, case),
        ]
        return first_frame(rows, model.verdict(case))

    above = ipw.HBox([kernels, coefficients], layout=ipw.Layout(flex_flow="row wrap"))
    frame = InteractiveFigure(controls.all(), [above, sr], draw)
    frame.on_change(controls.all(), predict)
    frame.on_idle(controls.all(), restore, show)
    return frame


def _words(case: MismatchCase) -> str:
    return "true σ assumed" if case == case.matched else f"σ = {case.assumed:.1f} assumed"


def _both(case: MismatchCase) -> list[MismatchCase]:
    """The case, and beside it the one without a mismatch where that is another one."""
    return [case] if case == case.matched else [case, case.matched]


def _kernel_panels(model: MismatchModel, case: MismatchCase, layer: int) -> list[Panel]:
    """What is quick: LR, and the kernels, beside those of the true width if they differ."""
    lr, limit = model.lr(case), model.limit(case.network, case.picture, layer)
    h, w = lr.shape[-2:]
    alt = f"the picture {case.picture}, blurred with a kernel of width {case.true:.1f}"
    panels = [Panel(f"LR, true σ = {case.true:.1f}", lr, alt, SIZE, f"{w}×{h} pixels")]
    matched = model.predicted(case.matched, layer).kernels
    for each in _both(case):
        kernels = model.predicted(each, layer).kernels
        title = f"{len(kernels)} kernels, {_words(each)}"
        alt = f"the {len(kernels)} kernels that DA convolution {layer} predicts, {_words(each)}"
        if each != case.matched:
            change = float((kernels - matched).norm() / matched.norm().clamp(min=1e-9))
            alt += f"; they differ by {change:.0%} from those of the true σ"
        note = f"blue −{limit:.1f}, white 0, red {limit:.1f}"
        panels.append(Panel(title, mosaic(kernels, limit), alt, SIZE, note))
    return panels


def _coefficient_panels(model: MismatchModel, case: MismatchCase, layer: int) -> list[Panel]:
    """The coefficients as bars; none where the network has no modulation branch (Model 3)."""
    values, matched = (model.predicted(c, layer).coefficients for c in (case, case.matched))
    if values is None or matched is None:
        return []
    alt = (
        f"the {len(values)} coefficients that DA convolution {layer} predicts, {_words(case)}: "
        f"from {float(values.min()):.2f} to {float(values.max()):.2f}"
    )
    ax, places = chart_axes(486, 240), range(1, 1 + len(values))
    # For R = 0 a coefficient is 0.5: the linear layers have no bias. A bar is the difference to it.
    colours = [PALETTE[1 if v > 0.5 else 0] for v in values]
    ax.bar(places, values.numpy() - 0.5, bottom=0.5, color=colours)
    if case != case.matched:
        alt += f"; those of the true σ differ by up to {float((values - matched).abs().max()):.2f}"
        ax.plot(places, matched.numpy(), "k_", label="true σ assumed")
        ax.legend(frameon=False, loc="upper right")
    ax.set(xlabel="channel", ylabel="coefficient", ylim=(0, 1))
    note = "bars start at 0.5, the coefficient of a representation of zeros"
    return [chart(ax, f"modulation coefficients, {_words(case)}", alt, note)]


def _sr_panels(model: MismatchModel, case: MismatchCase) -> list[Panel]:
    """What is slow: SR with the assumed width, SR with the true width, HR."""
    found = [
        (f"SR, {_words(c)}", model.sr(c), f"PSNR-Y {model.psnr(c):.2f} dB") for c in _both(case)
    ]
    return [
        Panel(title, image, f"the picture {case.picture}: {title}, {note}", SIZE, note)
        for title, image, note in [*found, ("HR", model.hr(case), "the original")]
    ]
