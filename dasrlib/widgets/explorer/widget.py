"""§4.2 The ablation explorer: pick models and σ, see their curves and the same crop from each."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets as ipw
import torch
from torch import Tensor

from dasrlib import evaluation, figures, paper
from dasrlib.degradation import DegradationSpace
from dasrlib.network import BlindSR
from dasrlib.systems import short
from dasrlib.widgets.base.controls import dropdown, slider
from dasrlib.widgets.base.degradation_controls import SIZE
from dasrlib.widgets.base.interactive_figure import InteractiveFigure, error_text
from dasrlib.widgets.base.panels import Panel, first_frame, row_html
from dasrlib.widgets.explorer.curves import Curves, curves_panel, styles
from dasrlib.widgets.explorer.restoration_cache import BICUBIC, Key, RestorationCache, bundled

HIGH = 5.0  # HR pixels: the supplement's widest unseen kernel
CROP = 80  # HR pixels


class _Explorer:
    """The controls, and what they show."""

    def __init__(
        self, cache: RestorationCache, kept: Mapping[str, Any] | None, sigma: float
    ) -> None:
        self.cache, self.kept = cache, kept
        methods = [BICUBIC, *cache.models]
        self.looks = styles(methods)
        self.trained = DegradationSpace.isotropic(cache.scale).widths[1]
        self.picture = dropdown("picture", list(cache.pictures), "what is restored")
        tip = "width of the blur that the models have to undo"
        self.sigma = slider("σ, HR pixels", 0, HIGH, 0.1, sigma, tip)
        self.ticks = {
            method: ipw.Checkbox(
                True, description=self.name(method), indent=False,
                layout=ipw.Layout(width="105px"), tooltip=f"show {short(method)}",
            )
            for method in methods
        }  # fmt: skip
        self.right, self.down = (
            slider(f"crop, {way}", 0, 0, cache.scale, 0, "where the crop begins, HR pixels")
            for way in ("right", "down")
        )
        self.place, self.numbers, self.crops = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.plot = ipw.HTML(layout=ipw.Layout(flex="1 1 0%", min_width="300px"))
        self.drawn: tuple[list[Curves], float] | None = None  # what the charts show
        self.charts: list[Panel] = []
        self.picture.observe(lambda change: self.new_picture(), names="value")
        self.new_picture()

    def controls(self) -> list[ipw.Widget]:
        return [self.picture, self.sigma, *self.ticks.values(), self.right, self.down]

    # What is chosen

    def name(self, method: str) -> str:
        return f"{self.looks[method].symbol} {short(method)}"

    def chosen(self) -> list[str]:
        return [method for method, tick in self.ticks.items() if tick.value]

    def key(self, method: str) -> Key:
        return self.picture.value, method, round(self.sigma.value, 1)

    def hr(self) -> Tensor:
        return self.cache.pictures[self.picture.value]

    def new_picture(self) -> None:
        """The crop starts in the middle of a new picture."""
        h, w = self.hr().shape[-2:]
        self.side = min(CROP, h, w)
        step = self.cache.scale
        for where, length in ((self.right, w), (self.down, h)):
            where.max = length - self.side
            where.value = (length - self.side) // 2 // step * step

    def cut(self, image: Tensor) -> Tensor:
        """The crop of a picture (3, H, W)."""
        top, left = self.down.value, self.right.value
        return image[..., top : top + self.side, left : left + self.side]

    # What takes time

    def steps(self) -> Iterator[Callable[[], None]]:
        """Restores and measures what is missing, the crops first, and draws the curves anew.

        Each step gives what is to be done with its result in the kernel's thread.
        """
        name, sigma = self.picture.value, round(self.sigma.value, 1)
        widths = dict.fromkeys([sigma, *paper.kernel_widths(self.cache.scale), HIGH])
        errors = []
        for width in widths:
            for method in self.chosen():
                key = (name, method, width)
                if key in (self.cache.images if width == sigma else self.cache.psnr):
                    continue
                try:
                    result = self.cache.restore(key)
                except Exception as error:  # of any type: the other models go on
                    errors.append(f"{short(method)}, σ = {width:g}: {error_text(error)}")
                else:
                    yield partial(self.settle, key, result)
            wanted = (self.curves(), sigma)
            if wanted != self.drawn:
                charts = [curves_panel(c, sigma, self.trained, HIGH) for c in wanted[0]]
                yield partial(self.show_charts, wanted, charts)
        if errors:
            raise RuntimeError(errors[0])

    def settle(self, key: Key, result: tuple[Tensor, float]) -> None:
        self.cache.keep(key, result)
        self.show()

    def show_charts(self, wanted: tuple[list[Curves], float], charts: list[Panel]) -> None:
        self.drawn, self.charts = wanted, charts
        self.plot.value = row_html(charts)

    def curves(self) -> list[Curves]:
        """The curves of the picture, and the kept means beside them."""
        name, chosen = self.picture.value, self.chosen()
        h, w = self.hr().shape[-2:]
        own = {m: self.cache.curve(name, m) for m in chosen}
        found = [Curves(f"{name}, {w}×{h} pixels", {m: c for m, c in own.items() if c})]
        if self.kept is not None:
            means = {m: c for m, c in self.kept["measured"].items() if m in chosen}
            found += [Curves(f"mean over {self.kept['dataset']}, stored run", means)]
        return found

    # What is shown at once

    def show(self) -> None:
        if BICUBIC in self.chosen() and self.key(BICUBIC) not in self.cache.images:
            self.cache.keep(self.key(BICUBIC), self.cache.restore(self.key(BICUBIC)))  # quick
        self.numbers.value = self.numbers_html()
        self.place.value = self.place_panel().html()
        self.crops.value = row_html(self.crop_panels())

    def numbers_html(self) -> str:
        """A table of the methods and their numbers at the current σ."""
        unseen = ", never seen in training" if self.sigma.value > self.trained else ""
        rows = ""
        for method in self.chosen():
            number = self.cache.psnr.get(self.key(method))
            value = "…" if number is None else f"{number:.2f} dB"
            rows += (
                f'<tr><td style="color:{self.looks[method].colour}" aria-hidden="true">'
                f"{self.looks[method].symbol}</td>"
                f'<td style="padding:0 10px 0 6px">{html.escape(short(method))}</td>'
                f'<td style="text-align:right">{value}</td></tr>'
            )
        return (
            '<table style="margin:4px;line-height:1.5"><caption style="text-align:left;'
            f'font-weight:600">σ = {self.sigma.value:.1f}{unseen}</caption>{rows}</table>'
        )

    def crop_panels(self) -> list[Panel]:
        """The same crop of HR and of what each method restored; pale if of another σ."""
        hr, sigma = self.cut(self.hr()), self.sigma.value
        found = [("HR", hr, "the original", False)]
        for method in self.chosen():
            key = self.key(method)
            there = key if key in self.cache.images else self.cache.nearest(key)
            if there is None:
                grey = torch.full_like(hr, 0.5)
                found.append((self.name(method), grey, "not restored yet", True))
                continue
            crop = self.cut(self.cache.images[there]).float() / 255
            note = f"σ = {there[2]:g} until σ = {key[2]:g} is done"
            if there == key:
                here = evaluation.psnr_y(crop, hr, 0)
                note = f"{self.cache.psnr[key]:.2f} dB, crop {here:.2f}"
            found.append((self.name(method), crop, note, there != key))
        return [
            Panel(name, crop, f"the crop, {name}, σ = {sigma:.1f}: {note}", 2 * CROP, note, pale)
            for name, crop, note, pale in found
        ]

    def place_panel(self) -> Panel:
        """The whole picture with a frame where the crop is."""
        left, top = self.right.value, self.down.value
        image = self.hr().clone()
        # White in black, to be seen on any picture.
        for inset, grey in ((0, 0.0), (1, 1.0), (2, 1.0), (3, 0.0)):
            framed = self.cut(image)[..., inset : self.side - inset, inset : self.side - inset]
            framed[..., [0, -1], :] = grey
            framed[..., :, [0, -1]] = grey
        alt = f"{self.picture.value}, whole; the crop begins {left} from the left and {top} down"
        return Panel("where the crop is", image, alt, 200)


def ablation_explorer(
    images: Sequence[tuple[str, Tensor]],
    models: Mapping[str, BlindSR | str] | None = None,
    kept: Mapping[str, Any] | None = None,
    sigma: float = 2.4,
    size: int = SIZE,
) -> InteractiveFigure:
    """Boxes to pick models and a slider for σ; shows their PSNR-Y over σ and the same crop from
    each (§4.2).

    The paper's widths are measured for each picture, and every σ that the slider rests at.

    Args:
        images: (name, (3, H, W) in [0, 1]) pairs to choose from; their middle size×size pixels are
            used.
        models: by name, networks or names of bundled weights, of one scale; None for the bundled
            ones.
        kept: the ablation's means, as ablation.AblationData holds them, drawn beside the
            picture's own curves. For the bundled models those of figures/ablation.json.
        sigma: where the slider starts, HR pixels in [0, 5].
        size: HR pixels.

    Raises:
        ValueError: no picture, no model, models of different scales, or a σ outside [0, 5].
    """
    if not 0 <= sigma <= HIGH:
        raise ValueError(f"sigma must be in [0, {HIGH:g}], got {sigma}")
    if models is None:
        models, file = bundled(), figures.folder() / "ablation.json"
        if kept is None and file.is_file():
            kept = json.loads(file.read_text())["data"]
    explorer = _Explorer(RestorationCache(images, models, size), kept, sigma)
    for update in explorer.steps():
        update()
    beside = ipw.VBox([explorer.place, explorer.numbers], layout=ipw.Layout(width="216px"))
    above = ipw.HBox([beside, explorer.plot], layout=ipw.Layout(flex_flow="row wrap"))
    rows = [explorer.charts, explorer.crop_panels()]
    frame = InteractiveFigure(
        explorer.controls(), [above, explorer.crops], lambda: first_frame(rows)
    )
    frame.on_change(explorer.controls(), explorer.show)
    slow = [explorer.picture, explorer.sigma, *explorer.ticks.values()]
    frame.on_idle(slow, explorer.steps, lambda update: update())
    return frame
