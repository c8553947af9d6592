"""§3.1 What the widgets that degrade a picture share: their sliders, and words for what they do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
from torch import Tensor

from dasrlib.data import centre_crop
from dasrlib.degradation import SCALES, Degradations
from dasrlib.widgets.base.frame import Frame, uploaded

SIZE = 256  # HR pixels; a multiple of 4, and cut to a multiple of 3
SMALLEST = 48  # HR pixels; of an uploaded picture


class Controls:
    """The sliders of a widget that degrades a picture, and the degradation they stand for (§3.1).

    names: the pictures to choose from. scale: 2, 3 or 4; choose_scale: whether the student may
    change it, which a trained network does not allow.
    """

    def __init__(self, names: Sequence[str], scale: int, choose_scale: bool = True) -> None:
        # Three controls to a row of JupyterLab's width, one below the other on a phone.
        style, wide = {"description_width": "90px"}, "290px"

        def slider(
            text: str, low: float, high: float, step: float, start: float, tip: str
        ) -> ipw.FloatSlider:
            return ipw.FloatSlider(
                start, min=low, max=high, step=step, description=text, tooltip=tip,
                style=style, readout_format=".1f", layout=ipw.Layout(width=wide),
            )  # fmt: skip

        def buttons(text: str, options: Sequence[Any], each: str, tip: str) -> ipw.ToggleButtons:
            return ipw.ToggleButtons(
                options=options, description=text, tooltip=tip,
                style={**style, "button_width": each},
                layout=ipw.Layout(width=wide, display="flex", margin="2px"),
            )  # fmt: skip

        self.picture = ipw.Dropdown(
            options=list(names), description="picture", tooltip="the picture to degrade",
            style=style, layout=ipw.Layout(width=wide),
        )  # fmt: skip
        self.upload = ipw.FileUpload(
            accept="image/*", multiple=False, description="your own", tooltip="a picture of yours",
            layout=ipw.Layout(width="192px", margin="2px 2px 2px 100px"),
        )  # fmt: skip
        kinds = ["isotropic", "anisotropic"]
        self.kind = buttons("kernel", kinds, "92px", "the same in all directions, or not")
        self.sigma = slider("σ, HR pixels", 0.0, 5.0, 0.1, 2.0, "width of the round kernel")
        self.lambda1 = slider("λ₁, HR pixels", 0.2, 5.0, 0.1, 4.0, "width along the first axis")
        self.lambda2 = slider("λ₂, HR pixels", 0.2, 5.0, 0.1, 1.0, "width along the second axis")
        self.theta = slider("θ, degrees", 0.0, 180.0, 1.0, 30.0, "angle of the first axis")
        self.noise = slider("noise, of 255", 0.0, 50.0, 1.0, 0.0, "standard deviation")
        scales = [(f"×{s}", s) for s in SCALES]
        self.scale = buttons("scale", scales, "60px", "how many times smaller LR is")
        self.scale.value = scale
        if not choose_scale:
            self.scale.layout.display = "none"
        self.kind.observe(lambda change: self._show(), names="value")
        self._show()

    def _show(self) -> None:
        round_one = self.kind.value == "isotropic"
        for slider in (self.lambda1, self.lambda2, self.theta):
            slider.layout.display = "none" if round_one else None
        self.sigma.layout.display = None if round_one else "none"

    def all(self) -> list[ipw.Widget]:
        return [
            self.picture, self.upload, self.kind, self.sigma, self.lambda1, self.lambda2,
            self.theta, self.noise, self.scale,
        ]  # fmt: skip

    def moved(self) -> list[ipw.Widget]:
        """What changes the degraded picture at once; an upload does so through `picture`."""
        return [w for w in self.all() if w is not self.upload]

    def degradation(self) -> Degradations:
        if self.kind.value == "isotropic":
            return Degradations.isotropic(self.sigma.value, self.scale.value, self.noise.value)
        angle = math.radians(self.theta.value)
        return Degradations.anisotropic(
            self.lambda1.value, self.lambda2.value, angle, self.scale.value, self.noise.value
        )

    def accept_uploads(self, frame: Frame, pictures: dict[str, Tensor]) -> None:
        """An uploaded picture joins `pictures`, cut like them, and is chosen; what is wrong with
        it shows in the frame."""

        def add() -> None:
            name, picture = uploaded(self.upload)
            picture = centre_crop(picture, SIZE)
            if min(picture.shape[-2:]) < SMALLEST:
                raise ValueError(
                    f"the picture is {picture.shape[-1]}×{picture.shape[-2]}: "
                    f"choose one of at least {SMALLEST}×{SMALLEST} pixels"
                )
            if name in pictures:  # a list that does not change would not show another picture
                copies = (f"{name} ({i})" for i in itertools.count(2))
                name = next(copy for copy in copies if copy not in pictures)
            pictures[name] = picture
            self.picture.options = list(pictures)
            self.picture.value = name

        run = frame.guarded(add)
        self.upload.observe(lambda change: run(), names="value")


def describe(degradation: Degradations) -> str:
    """One degradation in words, for an alt text."""
    l1, l2 = degradation.lambda1.item(), degradation.lambda2.item()
    noise = degradation.noise.item()
    angle = math.degrees(degradation.theta.item())
    blur = f"blurred with a round kernel of width {l1:.1f}"
    if l1 != l2:
        blur = f"blurred with a kernel {l1:.1f} by {l2:.1f} wide, turned by {angle:.0f} degrees"
    return blur + (f", noise of {noise:.0f} grey levels" if noise else "")
