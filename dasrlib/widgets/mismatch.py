"""§3.2.2 Kernel mismatch: the kernels and coefficients that a DA convolution predicts from a
representation, and the SR picture when the network assumes another blur than the true one."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import ipywidgets as ipw
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib import paper
from dasrlib import weights as weights_module
from dasrlib.da_conv import DAConv
from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, degrade
from dasrlib.evaluation import luminance, psnr_y
from dasrlib.network import BlindSR
from dasrlib.plots.style import PALETTE
from dasrlib.systems import DEFAULT_WEIGHTS
from dasrlib.widgets.base.controls import buttons, dropdown, show_if, slider
from dasrlib.widgets.base.degradation_controls import SIZE
from dasrlib.widgets.base.interactive_figure import InteractiveFigure
from dasrlib.widgets.base.panels import Panel, chart, chart_axes, first_frame, row_html

SAME_STEEPNESS = 0.02  # a smaller difference cannot be seen
SIGNED = "RdBu_r"  # red above 0, white at 0, blue below: the colour-blind tell them apart
NO_MODULATION = "<p>This network has no modulation branch (Model 3): no coefficients.</p>"
GAP = 0.5  # grey between the kernels, to be seen on a dark page and on a light one


def da_convolutions(model: BlindSR) -> list[DAConv]:
    """A network's DA convolutions, first to last; raises ValueError for Model 2, which has none."""
    found = [module for module in model.modules() if isinstance(module, DAConv)]
    if not found:
        raise ValueError(f"{model.name} has no DA convolutions: choose another model's weights")
    return found


def steepness(image: Tensor) -> float:
    """The mean step of a picture's luminance (3, H, W) from pixel to pixel, levels of 255."""
    y = luminance(image)
    return float(y.diff(dim=-1).abs().mean() + y.diff(dim=-2).abs().mean())


class MismatchCase(NamedTuple):
    """A picture blurred with the true width, and a network that assumes a width, HR pixels."""

    network: str
    picture: str
    true: float
    assumed: float

    @property
    def matched(self) -> MismatchCase:
        """The same picture and blur, with the true width assumed."""
        return self._replace(assumed=self.true)


class MismatchModel:
    """Networks and pictures, and the SR picture for each width that a network assumes.

    Raises ValueError for no picture, or a network without DA convolutions.
    """

    def __init__(self, images: Sequence[tuple[str, Tensor]], names: Sequence[str | Path]) -> None:
        if not images or not names:
            raise ValueError("expected at least one picture and the weights of one network")
        self.pictures = {name: centre_crop(image, SIZE) for name, image in images}
        self.networks = {str(name): weights_module.load(name) for name in names}
        self.convolutions = {name: da_convolutions(m) for name, m in self.networks.items()}
        # Those of the true width are needed again and again while the assumed width moves.
        self.representation = lru_cache(256)(self._representation)
        self.sr = lru_cache(16)(self._sr)
        self.limit = lru_cache(64)(self._limit)

    def hr(self, case: MismatchCase) -> Tensor:
        return crop_to_multiple(self.pictures[case.picture], self.networks[case.network].scale)

    def lr(self, case: MismatchCase) -> Tensor:
        """The picture degraded with the true isotropic blur, without noise, (3, H/s, W/s)."""
        degradation = Degradations.isotropic(case.true, self.networks[case.network].scale)
        return degrade(self.hr(case)[None], degradation, backend="fast")[0]

    @torch.inference_mode()
    def _representation(self, case: MismatchCase) -> Tensor:
        """(1, 256): of the picture blurred with the assumed width; Model 5's of the width alone."""
        model = self.networks[case.network]
        degradation = Degradations.isotropic(case.assumed, model.scale)
        return model.represent(self.lr(case._replace(true=case.assumed))[None], degradation)

    @torch.inference_mode()
    def predicted(self, case: MismatchCase, layer: int) -> tuple[Tensor, Tensor | None]:
        """What DA convolution number `layer`, from 1, predicts for the assumed width: kernels
        (C, k, k), and coefficients (C,) or None (Model 3)."""
        convolution = self.convolutions[case.network][layer - 1]
        compressed = self.networks[case.network].sr.compress(self.representation(case))
        kernels = convolution.kernels(compressed)[0]
        if convolution.modulation is None:
            return kernels, None
        return kernels, convolution.coefficients(compressed)[0]

    def _limit(self, network: str, picture: str, layer: int) -> float:
        """The weight of the strongest colour: the same for all widths, or a change would not show.

        The largest 2 % of the weights are drawn at this limit, so that the many small ones show.
        """
        low, high = paper.SIGMA_RANGE[self.networks[network].scale]
        cases = [MismatchCase(network, picture, w, w) for w in (low, (low + high) / 2, high)]
        kernels = torch.stack([self.predicted(case, layer)[0] for case in cases])
        return max(float(kernels.abs().quantile(0.98)), 1e-6)

    @torch.inference_mode()
    def _sr(self, case: MismatchCase) -> Tensor:
        """The picture blurred with the true width, super-resolved for the assumed, (3, H, W)."""
        model = self.networks[case.network]
        sr = model(self.lr(case)[None], representation=self.representation(case))
        return sr[0].clamp(0, 1)

    def psnr(self, case: MismatchCase) -> float:
        """PSNR-Y of the SR picture, dB."""
        return psnr_y(self.sr(case), self.hr(case), self.networks[case.network].scale)

    def verdict(self, case: MismatchCase) -> str:
        gain = self.psnr(case) - self.psnr(case.matched)
        steep, matched = (steepness(self.sr(c)) for c in (case, case.matched))
        return verdict(case.true, case.assumed, gain, steep / max(matched, 1e-6))


def verdict(true: float, assumed: float, gain: float, ratio: float) -> str:
    """The mismatch of two widths in words, and what was measured of its effect.

    gain: PSNR with the assumed width minus PSNR with the true one, dB. ratio: of the steepness.
    """
    if assumed == true:
        return f"The network assumes the true width: σ = {true:.1f}."
    more = "more" if assumed > true else "less"
    looks = "Over-sharpened" if ratio > 1 else "Too soft, blurred"
    looks += f": the brightness is {ratio:.2f} times as steep"
    if abs(ratio - 1) <= SAME_STEEPNESS:
        looks = "Hardly any difference: the brightness is about as steep"
    side = "lower" if gain < 0 else "higher"
    return (
        f"The network assumes {more} blur than there is: σ = {assumed:.1f}; the true σ is "
        f"{true:.1f}. {looks} as with the true σ, and the PSNR is {abs(gain):.2f} dB {side}."
    )


def mosaic(kernels: Tensor, limit: float) -> Tensor:
    """Kernels (C, k, k) as one picture (3, H, W), 8 in a row: full red at limit, blue at −limit."""
    shades = plt.get_cmap(SIGNED)((kernels / limit).clamp(-1, 1).numpy() / 2 + 0.5)[..., :3]
    tiles = F.pad(torch.from_numpy(shades).float().permute(0, 3, 1, 2), (1, 0, 1, 0), value=GAP)
    rows = [torch.cat([*row], dim=-1) for row in tiles.split(8)]
    width = rows[0].shape[-1]
    filled = [F.pad(row, (0, width - row.shape[-1]), value=GAP) for row in rows]
    return F.pad(torch.cat(filled, dim=-2), (0, 1, 0, 1), value=GAP)


class _Controls:
    """The sliders: the true width, and the width that the network assumes."""

    def __init__(
        self, model: MismatchModel, sigma: float, assumed: float | None, layer: int
    ) -> None:
        self.convolutions = model.convolutions
        names = list(model.networks)
        ends = [end for m in model.networks.values() for end in paper.SIGMA_RANGE[m.scale]]
        low, high = min(ends), max(ends)
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
        self.layer = slider("DA convolution", 1, count, 1, layer, "which one is shown")
        tip = "the width that the network assumes"
        self.true = slider("true σ, HR pixels", low, high, 0.1, sigma, "the width of the blur")
        self.assumed = slider("assumed σ, HR pixels", low, high, 0.1, start, tip)
        self.mode = buttons("network assumes", ["the true σ", "another σ"], tip)
        self.mode.index = 0 if assumed is None else 1
        self.mode.observe(lambda change: self._fit(), names="value")
        self.network.observe(lambda change: self._fit(), names="value")
        self._fit()
        self.all = [self.picture, self.network, self.layer, self.true, self.mode, self.assumed]

    def _fit(self) -> None:
        show_if(self.mode.index == 1, self.assumed)
        self.layer.max = len(self.convolutions[self.network.value])

    @property
    def case(self) -> MismatchCase:
        """What the controls say; their steps are tenths."""
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

    def draw() -> Figure:
        case, layer = controls.case, controls.layer.value
        above = _kernel_panels(model, case, layer) + _coefficient_panels(model, case, layer)
        return first_frame([above, _sr_panels(model, case)], model.verdict(case))

    above = ipw.HBox([kernels, coefficients], layout=ipw.Layout(flex_flow="row wrap"))
    frame = InteractiveFigure(controls.all, [above, sr], draw)
    frame.on_change(controls.all, predict)
    frame.on_idle(controls.all, restore, lambda result: result[0].set_trait("value", result[1]))
    return frame


def _words(case: MismatchCase) -> str:
    return "true σ assumed" if case == case.matched else f"σ = {case.assumed:.1f} assumed"


def _both(case: MismatchCase) -> list[MismatchCase]:
    """The case, and the one without a mismatch where that is another one."""
    return list(dict.fromkeys([case, case.matched]))


def _kernel_panels(model: MismatchModel, case: MismatchCase, layer: int) -> list[Panel]:
    """What is quick: LR, and the kernels, beside those of the true width if they differ."""
    lr, limit = model.lr(case), model.limit(case.network, case.picture, layer)
    h, w = lr.shape[-2:]
    alt = f"the picture {case.picture}, blurred with a kernel of width {case.true:.1f}"
    panels = [Panel(f"LR, true σ = {case.true:.1f}", lr, alt, SIZE, f"{w}×{h} pixels")]
    matched, _ = model.predicted(case.matched, layer)
    for each in _both(case):
        kernels, _ = model.predicted(each, layer)
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
    values, matched = (model.predicted(c, layer)[1] for c in (case, case.matched))
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
    number = "PSNR-Y {:.2f} dB".format

    def panel(title: str, image: Tensor, note: str) -> Panel:
        return Panel(title, image, f"the picture {case.picture}: {title}, {note}", SIZE, note)

    found = [panel(f"SR, {_words(c)}", model.sr(c), number(model.psnr(c))) for c in _both(case)]
    return [*found, panel("HR", model.hr(case), "the original")]
