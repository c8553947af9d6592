"""§4.2 The ablation explorer: pick models and σ, see their curves and the same crop from each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets as ipw
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib import evaluation, figures, paper
from dasrlib.degradation import DegradationSpace
from dasrlib.network import BlindSR
from dasrlib.systems import short
from dasrlib.widgets.ablation_explorer import first_frame as draw
from dasrlib.widgets.ablation_explorer.restoration_cache import BICUBIC, Key, Restorations, bundled
from dasrlib.widgets.ablation_explorer.svg_curves import curves_svg, key_html
from dasrlib.widgets.base.degradation_controls import SIZE
from dasrlib.widgets.base.frame import REST, Frame, figure_html, in_words, row_html
from dasrlib.widgets.base.worker import computed

HIGH = 5.0  # HR pixels: the supplement's widest unseen kernel
FINE = [round(0.2 * i, 1) for i in range(26)]  # what the curves are refined to
CROP = 80  # HR pixels


class _Explorer:
    """The controls, what they show, and the work that is still to be done."""

    def __init__(
        self,
        restorations: Restorations,
        kept: Mapping[str, Any] | None,
        sigma: float,
    ) -> None:
        self.restored, self.kept = restorations, kept
        methods = [BICUBIC, *restorations.models]
        self.looks = draw.styles(methods)
        self.trained = DegradationSpace.isotropic(restorations.scale).widths[1]
        self.coarse = [*paper.kernel_widths(restorations.scale), HIGH]
        style = {"description_width": "90px"}
        self.picture = ipw.Dropdown(
            options=list(restorations.pictures), description="picture", style=style
        )
        self.sigma = ipw.FloatSlider(
            sigma, min=0, max=HIGH, step=0.1, description="σ, HR pixels", style=style,
            readout_format=".1f", tooltip="width of the blur that the models have to undo",
        )  # fmt: skip
        self.ticks = {
            method: ipw.Checkbox(
                True, description=f"{self.looks[method].symbol} {short(method)}",
                indent=False, layout=ipw.Layout(width="105px"),
                tooltip=f"show {short(method)}",
            )
            for method in methods
        }  # fmt: skip
        self.right, self.down = (
            ipw.IntSlider(
                0, 0, 0, step=restorations.scale, description=text, style=style,
                tooltip=f"where the crop begins, HR pixels {tip}",
            )
            for text, tip in (("crop, right", "to the right"), ("crop, down", "down"))
        )  # fmt: skip
        self.place, self.numbers, self.crops = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.plot = ipw.HTML(layout=ipw.Layout(flex="1 1 0%", min_width="300px"))
        self.failed: dict[Key, str] = {}
        self.touched = False  # nothing is computed behind the back of a page that nobody reads
        self.moved_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self.frame: Frame | None = None
        self.placed: tuple[str, int, int] | None = None  # the crop that `place` shows
        self.new_picture()

    def controls(self) -> list[ipw.Widget]:
        return [self.picture, self.sigma, *self.ticks.values(), self.right, self.down]

    # What is chosen

    def chosen(self) -> list[str]:
        return [method for method, tick in self.ticks.items() if tick.value]

    def key(self, method: str) -> Key:
        return self.picture.value, method, round(self.sigma.value, 1)

    def hr(self) -> Tensor:
        return self.restored.pictures[self.picture.value]

    def new_picture(self) -> None:
        """The crop starts in the middle of a picture that is new here."""
        h, w = self.hr().shape[-2:]
        self.side = min(CROP, h, w)
        step = self.restored.scale
        for slider, length in ((self.right, w), (self.down, h)):
            slider.max = length - self.side
            slider.value = (length - self.side) // 2 // step * step

    def cut(self, image: Tensor) -> Tensor:
        """The crop of a picture (3, H, W)."""
        top, left = self.down.value, self.right.value
        return image[..., top : top + self.side, left : left + self.side]

    # What is to be done

    def needed(self) -> list[Key]:
        """What must be there to show the current choice whole, the crops first."""
        chosen = self.chosen()
        crops = [self.key(m) for m in chosen if self.key(m) not in self.restored.images]
        curves = [(self.picture.value, m, width) for width in self.coarse for m in chosen]
        return self._possible(crops + [key for key in curves if key not in self.restored.psnr])

    def finer(self) -> list[Key]:
        """What makes the curves finer, from the current σ outwards."""
        widths = sorted(FINE, key=lambda width: abs(width - self.sigma.value))
        keys = [(self.picture.value, m, width) for width in widths for m in self.chosen()]
        return self._possible([key for key in keys if key not in self.restored.psnr])

    def _possible(self, keys: list[Key]) -> list[Key]:
        return [key for key in dict.fromkeys(keys) if key not in self.failed]

    def attempt(self, key: Key) -> tuple[Tensor, float] | str:
        """The result of a restoration, or in words why there is none."""
        try:
            return self.restored.restore(key)
        except Exception as error:  # whatever it is: it is told in the widget
            return f"{short(key[1])}, σ = {key[2]:g}: {in_words(error)}"

    def settle(self, key: Key, result: tuple[Tensor, float] | str) -> None:
        if isinstance(result, str):
            self.failed[key] = result
        else:
            self.restored.keep(key, result)
            self.restored.forget_others(self.picture.value)

    async def work(self) -> None:
        """Does what is to be done, one thing after another in a thread, while the kernel
        answers."""
        try:
            while self.frame is not None and self.frame.comm is not None:  # it is not closed
                needed = self.needed()
                todo = needed or self.finer()
                if not todo:
                    break
                rest = self.moved_at + REST - time.monotonic()
                if rest > 0:
                    await asyncio.sleep(rest)
                    continue
                self.tell(f"restoring at σ = {todo[0][2]:g} …" if needed else "")
                # What nobody waits for takes one core: the others answer the sliders.
                attempt = partial(self.attempt, todo[0])
                result = await computed(attempt, cores=None if needed else 1)
                self.settle(todo[0], result)
                self.show(crops=todo[0] == self.key(todo[0][1]))
            self.tell()
        except Exception as error:  # nobody waits for a task: what ends it must be told here
            self.failed[self.key("")] = in_words(error)
            self.tell()
        finally:
            self.task = None

    def tell(self, text: str = "") -> None:
        """What is being done, or what went wrong."""
        if self.frame is None:
            return
        error = next(iter(self.failed.values()), "")
        self.frame.say(error or text, error=bool(error))

    def moved(self) -> None:
        """A control has a new value: what is quick is shown now, the rest is begun."""
        self.moved_at = time.monotonic()
        self.failed.clear()
        self.show()
        if not (self.needed() or (self.touched and self.finer())):
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel: a plain script or a test
            self.catch_up()
            self.show()
            if self.failed:
                raise RuntimeError(next(iter(self.failed.values()))) from None
        else:
            self.task = self.task or loop.create_task(self.work())

    def catch_up(self) -> None:
        """All that is needed, now."""
        for key in self.needed():
            self.settle(key, self.attempt(key))

    # What is shown

    def show(self, crops: bool = True) -> None:
        if BICUBIC in self.chosen() and self.key(BICUBIC) not in self.restored.images:
            self.settle(self.key(BICUBIC), self.attempt(self.key(BICUBIC)))  # a millisecond
        self.plot.value, self.numbers.value = self.plot_html(), self.numbers_html()
        if crops:
            self.crops.value = self.crops_html()

    def panels(self) -> list[tuple[str, dict[str, list[tuple[float, float]]]]]:
        """The curves of the picture, and the kept means beside them, each under what it is."""
        name = self.picture.value
        h, w = self.hr().shape[-2:]
        own = {m: self.restored.curve(name, m) for m in self.chosen()}
        panels = [(f"{name}, {w}×{h} pixels, computed here", {m: c for m, c in own.items() if c})]
        if self.kept is not None:
            means = {m: c for m, c in self.kept["measured"].items() if m in self.chosen()}
            if means:
                panels.append((f"mean over {self.kept['dataset']}, from the kept run", means))
        return panels

    def values(self) -> dict[str, str]:
        found = {m: self.restored.psnr.get(self.key(m)) for m in self.chosen()}
        return {m: "…" if v is None else f"{v:.2f} dB" for m, v in found.items()}

    def plot_html(self) -> str:
        parts = []
        for heading, curves in self.panels():
            words = ", ".join(f"{short(m)} {c[0][1]:.1f} to {c[-1][1]:.1f} dB"
                              for m, c in curves.items())  # fmt: skip
            alt = f"PSNR over the kernel width: {heading}; from narrowest to widest {words}"
            parts.append(
                curves_svg(heading, curves, self.looks, self.sigma.value, self.trained, HIGH, alt)
            )
        return row_html(parts)

    def numbers_html(self) -> str:
        """What stands on the line: each method's number at the current σ."""
        unseen = ", never seen in training" if self.sigma.value > self.trained else ""
        looks = {m: self.looks[m] for m in self.chosen()}
        return key_html(looks, self.values(), f"σ = {self.sigma.value:.1f}{unseen}")

    def shown(self) -> list[tuple[str, Tensor, str, bool]]:
        """The crops: title, picture, note, and whether it is the one for the current σ."""
        hr = self.hr()
        found = [("HR", self.cut(hr), "the original", True)]
        for method in self.chosen():
            key = self.key(method)
            there = key if key in self.restored.images else self.restored.nearest(key)
            name = f"{self.looks[method].symbol} {short(method)}"
            if there is None:
                found.append((name, torch.full_like(self.cut(hr), 0.5), "not restored yet", False))
                continue
            crop = self.cut(self.restored.images[there]).float() / 255
            note = f"σ = {there[2]:g} until σ = {key[2]:g} is done"
            if there == key:
                here = evaluation.psnr_y(crop, self.cut(hr), 0)
                note = f"{self.restored.psnr[key]:.2f} dB, crop {here:.2f}"
            found.append((name, crop, note, there == key))
        return found

    def crops_html(self) -> str:
        where = (self.picture.value, self.right.value, self.down.value)
        if where != self.placed:
            self.place.value, self.placed = self.place_html(), where
        parts = []
        for name, crop, note, current in self.shown():
            alt = f"the crop, {name}, σ = {self.sigma.value:.1f}: {note}"
            figure = figure_html(name, crop, alt, 2 * CROP, note)
            parts.append(figure if current else f'<div style="opacity:.45">{figure}</div>')
        return row_html(parts)

    def place_html(self) -> str:
        """The whole picture with a frame where the crop is."""
        left, top = self.right.value, self.down.value
        image = self.hr().clone()
        # White in black, to be seen on any picture.
        for inset, grey in ((0, 0.0), (1, 1.0), (2, 1.0), (3, 0.0)):
            framed = self.cut(image)[..., inset : self.side - inset, inset : self.side - inset]
            framed[..., [0, -1], :] = grey
            framed[..., :, [0, -1]] = grey
        alt = f"{self.picture.value}, whole; the crop begins {left} from the left and {top} down"
        return figure_html("where the crop is", image, alt, 200)

    def figure(self) -> Figure:
        """The first frame."""
        return draw.explorer(
            {
                "panels": [{"title": t, "curves": curves} for t, curves in self.panels()],
                "sigma": self.sigma.value,
                "trained": self.trained,
                "high": HIGH,
                "crops": [(name, crop, note) for name, crop, note, _ in self.shown()],
            }
        )


def ablation_explorer(
    images: Sequence[tuple[str, Tensor]],
    models: Mapping[str, BlindSR | str] | None = None,
    kept: Mapping[str, Any] | None = None,
    sigma: float = 2.4,
    size: int = SIZE,
) -> Frame:
    """Boxes to pick models and a slider for σ; shows their PSNR-Y over σ and the same crop from
    each (§4.2).

    images: (name, (3, H, W) in [0, 1]) pairs to choose from; their middle size×size pixels are
    used. models: by name, networks or names of bundled weights, of one scale; the bundled ones
    where it is None. kept: the ablation's means, as ablation.AblationData holds them, drawn
    beside the picture's own curves; those of figures/ablation.json for the bundled models. sigma:
    where the slider starts, HR pixels in [0, 5]. A few widths are measured at once, the rest when
    the first control is touched, while the sliders rest.
    Raises ValueError for no picture, no model, models of different scales, or a σ outside [0, 5].
    """
    if not 0 <= sigma <= HIGH:
        raise ValueError(f"sigma must be in [0, {HIGH:g}], got {sigma}")
    if models is None:
        models, file = bundled(), figures.folder() / "ablation.json"
        if kept is None and file.is_file():
            kept = json.loads(file.read_text())["data"]
    explorer = _Explorer(Restorations(images, models, size), kept, sigma)
    explorer.catch_up()
    beside = ipw.VBox([explorer.place, explorer.numbers], layout=ipw.Layout(width="216px"))
    above = ipw.HBox([beside, explorer.plot], layout=ipw.Layout(flex_flow="row wrap"))
    frame = Frame(explorer.controls(), [above, explorer.crops], explorer.figure)
    explorer.frame = frame
    explorer.picture.observe(lambda change: explorer.new_picture(), names="value")
    frame.answer(explorer.controls(), explorer.moved)
    explorer.touched = True
    return frame
