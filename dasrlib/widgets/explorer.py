"""§4.2 The ablation explorer: pick systems and σ, see their curves and the same crop from each."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets as ipw
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib import data, errors, evaluation, paper
from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, DegradationSpace, quantise
from dasrlib.plots.ablation import CHANGED
from dasrlib.systems import SYSTEMS, short
from dasrlib.widgets.base.controls import dropdown, slider
from dasrlib.widgets.base.degradation_controls import SIZE
from dasrlib.widgets.base.interactive_figure import InteractiveFigure, error_text
from dasrlib.widgets.base.panels import Panel, chart, chart_axes, first_frame, row_html

HIGH = 5.0  # HR pixels: the supplement's widest unseen kernel
CROP = 80  # HR pixels
SIGMA = 2.4  # HR pixels; where the slider starts
GREY = "#777777"  # bicubic's colour, to be seen on a dark page and on a light one
TICKED = 6  # systems that are shown before anyone chooses; each costs seconds
SYMBOLS = {
    "o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "x": "✕", "<": "◀", ">": "▶", ".": "•",
    "P": "✚", "p": "⬟", "h": "⬢", "1": "⅄", "d": "♦", "*": "★", "X": "✖", "+": "+",
}  # fmt: skip  # by matplotlib's marker


Key = tuple[str, str, float]  # picture, system, σ


def _symbol(system: str) -> str:
    return SYMBOLS[SYSTEMS[system].marker]


def _name(system: str) -> str:
    return f"{_symbol(system)} {short(system)}"


def _colour(system: str) -> str:
    """A system's colour, in the chart and beside its number."""
    return SYSTEMS[system].colour or GREY


class RestorationCache:
    """Pictures, the systems that restore them, and what was restored and measured so far (§4.2).

    Raises ValueError for no picture, no system, an unknown one, or systems of different scales.
    """

    def __init__(
        self, images: Sequence[tuple[str, Tensor]], systems: Mapping[str, evaluation.System]
    ) -> None:
        for name, system in systems.items():
            if name not in SYSTEMS:
                raise ValueError(errors.unknown_name_message("system", name, SYSTEMS))
            if isinstance(system, torch.nn.Module):
                system.eval()
        scales = {system.scale for system in systems.values()}
        if not images or len(scales) != 1:
            raise ValueError(
                "expected at least one picture, and systems of one scale; "
                f"got {len(images)} pictures and the scales {sorted(scales)}"
            )
        (self.scale,) = scales
        bicubic: evaluation.System = evaluation.Bicubic(self.scale)
        self.systems = {"bicubic": bicubic, **systems}
        self.pictures = {
            name: crop_to_multiple(centre_crop(image, SIZE), self.scale) for name, image in images
        }
        self.results: dict[Key, tuple[Tensor, float]] = {}  # of `restore`

    def restore(self, key: Key) -> tuple[Tensor, float]:
        """The restored picture (3, H, W), 8-bit, and its PSNR-Y, dB; it may run in a thread."""
        picture, system, sigma = key
        degradation = Degradations.isotropic(sigma, self.scale)
        hr, sr = evaluation.degrade_and_restore(
            self.systems[system], self.pictures[picture], degradation
        )
        return data.to_uint8(quantise(sr)), evaluation.psnr_y(sr, hr, self.scale)

    def curve(self, picture: str, system: str) -> list[tuple[float, float]]:
        """(σ, PSNR-Y in dB) of all that was measured, in the order of σ."""
        results = [*self.results.items()]  # a copy: it may run in a thread
        return sorted((k[2], psnr) for k, (_, psnr) in results if k[:2] == (picture, system))

    def nearest(self, key: Key) -> Key | None:
        """The restored picture with the nearest σ, to show until the right one is restored."""
        restored = [k for k in self.results if k[:2] == key[:2]]
        return min(restored, key=lambda k: abs(k[2] - key[2]), default=None)


def curves_panel(
    heading: str, curves: Mapping[str, Sequence[tuple[float, float]]], sigma: float, trained: float
) -> Panel:
    """PSNR over σ, with a line at the current σ and the widths never seen in training.

    curves: by system, points (σ in HR pixels, PSNR-Y in dB). trained: the widest kernel seen.
    """
    ends = ", ".join(
        f"{short(system)} {points[0][1]:.1f} to {points[-1][1]:.1f} dB"
        for system, points in curves.items()
    )
    alt = f"PSNR over the kernel width: {heading}; from narrowest to widest {ends}"
    ax = chart_axes(440, 290)
    ax.axvspan(trained, HIGH, color=CHANGED, alpha=0.7)
    ax.text(trained + 0.05, 0.98, "never seen\nin training", va="top", fontsize=8,
            transform=ax.get_xaxis_transform())  # fmt: skip
    for system, points in curves.items():
        ax.plot(
            *zip(*points, strict=True), color=_colour(system), marker=SYSTEMS[system].marker, ms=5,
            ls=SYSTEMS[system].line, label=short(system),
        )  # fmt: skip
    if curves:
        ax.legend(frameon=False, fontsize=8, loc="lower left", ncols=2)
    ax.axvline(sigma, color="0.2", lw=1)
    ax.set(xlabel="kernel width σ, HR pixels", ylabel="PSNR-Y, dB", xlim=(0, HIGH))
    return chart(ax, heading, alt, f"line at σ = {sigma:.1f}")


class _Explorer:
    """The controls, and what they show."""

    def __init__(self, cache: RestorationCache, kept: Mapping[str, Any] | None) -> None:
        self.cache, self.kept = cache, kept
        self.trained = DegradationSpace.isotropic(cache.scale).widths[1]
        self.picture = dropdown("picture", list(cache.pictures), "what is restored")
        tip = "width of the blur that the systems have to undo"
        self.sigma = slider("σ, HR pixels", 0, HIGH, 0.1, SIGMA, tip)
        self.ticks = {
            system: ipw.Checkbox(
                place < TICKED, description=_name(system), indent=False,
                layout=ipw.Layout(width="auto", min_width="105px"),
                tooltip=f"show {short(system)}",
            )
            for place, system in enumerate(cache.systems)
        }  # fmt: skip
        self.right, self.down = (
            slider(f"crop, {way}", 0, 0, cache.scale, 0, "where the crop begins, HR pixels")
            for way in ("right", "down")
        )
        self.place, self.numbers, self.crops = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.plot = ipw.HTML(layout=ipw.Layout(flex="1 1 0%", min_width="300px"))
        self.charts: list[Panel] = []
        self.slow = [self.picture, self.sigma, *self.ticks.values()]
        self.picture.observe(lambda change: self.new_picture(), names="value")
        self.new_picture()

    def chosen(self) -> list[str]:
        return [system for system, tick in self.ticks.items() if tick.value]

    def key(self, system: str) -> Key:
        return self.picture.value, system, round(self.sigma.value, 1)

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
        top, left = self.down.value, self.right.value
        return image[..., top : top + self.side, left : left + self.side]

    def steps(self) -> Iterator[Callable[[], None]]:
        """Restores and measures what is missing, the crops first, and draws the curves anew.

        Each step gives what is to be done with its result in the kernel's thread.
        """
        name, sigma = self.picture.value, round(self.sigma.value, 1)
        chosen, failed = self.chosen(), []
        for width in dict.fromkeys([sigma, *paper.kernel_widths(self.cache.scale), HIGH]):
            keys = [(name, system, width) for system in chosen]
            missing = [key for key in keys if key not in self.cache.results]
            for key in missing:
                try:
                    result = self.cache.restore(key)
                except Exception as error:  # of any type: the other systems go on
                    failed.append(f"{short(key[1])}, σ = {width:g}: {error_text(error)}")
                else:
                    yield partial(self.settle, key, result)
            if missing or width == sigma:
                yield partial(self.show_charts, self.draw_charts(name, chosen, sigma))
        if failed:
            raise RuntimeError(failed[0])

    def settle(self, key: Key, result: tuple[Tensor, float]) -> None:
        self.cache.results[key] = result
        self.show()

    def draw_charts(self, name: str, chosen: list[str], sigma: float) -> list[Panel]:
        """The curves of the picture, and the stored means beside them."""
        h, w = self.cache.pictures[name].shape[-2:]
        own = {system: self.cache.curve(name, system) for system in chosen}
        found = {f"{name}, {w}×{h} pixels": {m: points for m, points in own.items() if points}}
        if self.kept is not None:
            means = {m: c for m, c in self.kept["measured"].items() if m in chosen}
            found[f"mean over {self.kept['dataset']}, stored run"] = means
        return [curves_panel(head, c, sigma, self.trained) for head, c in found.items()]

    def show_charts(self, charts: list[Panel]) -> None:
        self.charts, self.plot.value = charts, row_html(charts)

    def show(self) -> None:
        bicubic = self.key("bicubic")
        if self.ticks["bicubic"].value and bicubic not in self.cache.results:
            self.cache.results[bicubic] = self.cache.restore(bicubic)  # quick
        self.numbers.value = self.numbers_html()
        self.place.value = self.place_panel().html()
        self.crops.value = row_html(self.crop_panels())

    def numbers_html(self) -> str:
        """A table of the systems and their numbers at the current σ."""
        unseen = ", never seen in training" if self.sigma.value > self.trained else ""
        rows = ""
        for system in self.chosen():
            result = self.cache.results.get(self.key(system))
            value = f"{result[1]:.2f} dB" if result else "…"
            rows += (
                f'<tr><td style="color:{_colour(system)}" aria-hidden="true">{_symbol(system)}</td>'
                f'<td style="padding:0 10px 0 6px">{html.escape(short(system))}</td>'
                f'<td style="text-align:right">{value}</td></tr>'
            )
        return (
            '<table style="margin:4px;line-height:1.5"><caption style="text-align:left;'
            f'font-weight:600">σ = {self.sigma.value:.1f}{unseen}</caption>{rows}</table>'
        )

    def crop_panels(self) -> list[Panel]:
        """The same crop of HR and of what each system restored; pale if of another σ."""
        hr, sigma = self.cut(self.hr()), self.sigma.value

        def panel(name: str, crop: Tensor, note: str, pale: bool = False) -> Panel:
            alt = f"the crop, {name}, σ = {sigma:.1f}: {note}"
            return Panel(name, crop, alt, 2 * CROP, note, pale)

        def of(system: str) -> Panel:
            key = self.key(system)
            found = self.cache.nearest(key)
            if found is None:
                return panel(_name(system), torch.full_like(hr, 0.5), "not restored yet", True)
            image, psnr = self.cache.results[found]
            crop = self.cut(image).float() / 255
            note = f"{psnr:.2f} dB, crop {evaluation.psnr_y(crop, hr, 0):.2f}"
            if found != key:
                note = f"σ = {found[2]:g} until σ = {key[2]:g} is done"
            return panel(_name(system), crop, note, found != key)

        return [panel("HR", hr, "the original"), *map(of, self.chosen())]

    def place_panel(self) -> Panel:
        """The whole picture, grey but for the crop."""
        left, top = self.right.value, self.down.value
        image = 0.3 * self.hr() + 0.35
        self.cut(image)[:] = self.cut(self.hr())
        alt = f"{self.picture.value}, whole; the crop begins {left} from the left and {top} down"
        return Panel("where the crop is", image, alt, 200)


def ablation_explorer(
    images: Sequence[tuple[str, Tensor]],
    systems: Mapping[str, evaluation.System],
    kept: Mapping[str, Any] | None = None,
) -> InteractiveFigure:
    """Boxes to pick systems and a slider for σ; shows their PSNR-Y over σ and the same crop from
    each (§4.2).

    The paper's widths are measured for each picture, and every σ that the slider rests at. Of many
    systems the first ones are ticked. A system that is not blind is told the true kernel.

    Args:
        images: (name, (3, H, W) in [0, 1]) pairs to choose from; their middle 256×256 pixels are
            used.
        systems: of one scale, by their names in systems.SYSTEMS; compositions.load gives them.
        kept: the means of a stored run, drawn beside the picture's own curves: dataset, and
            measured, by system, as ablation.AblationData holds them.

    Raises:
        ValueError: no picture, no system, an unknown one, or systems of different scales.
    """
    explorer = _Explorer(RestorationCache(images, systems), kept)

    def draw() -> Figure:
        for update in explorer.steps():
            update()
        return first_frame([explorer.charts, explorer.crop_panels()])

    beside = ipw.VBox([explorer.place, explorer.numbers], layout=ipw.Layout(width="216px"))
    above = ipw.HBox([beside, explorer.plot], layout=ipw.Layout(flex_flow="row wrap"))
    controls = [*explorer.slow, explorer.right, explorer.down]
    frame = InteractiveFigure(controls, [above, explorer.crops], draw)
    frame.on_change(controls, explorer.show)
    frame.on_idle(explorer.slow, explorer.steps, lambda update: update())
    return frame
