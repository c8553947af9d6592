"""§3.1 The sliders of the widgets that degrade a picture, and a degradation in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as ipw
from torch import Tensor

from dasrlib.data import centre_crop
from dasrlib.degradation import Degradations
from dasrlib.paper import SCALES
from dasrlib.widgets.base.controls import buttons, dropdown, show_if, slider
from dasrlib.widgets.base.interactive_figure import InteractiveFigure
from dasrlib.widgets.base.uploads import open_upload

SIZE = 256  # HR pixels; a multiple of 4, and cut to a multiple of 3
SMALLEST = 48  # HR pixels; of an uploaded picture


class DegradationControls:
    """The sliders of a widget that degrades a picture, and the degradation they set (§3.1).

    names: the pictures to choose from. scale: 2, 3 or 4. choose_scale: whether the student can
    change it; a trained network has one scale.
    """

    def __init__(self, names: Sequence[str], scale: int, choose_scale: bool = True) -> None:
        self.picture = dropdown("picture", names, "the picture to degrade")
        self.upload = ipw.FileUpload(
            accept="image/*", multiple=False, description="your own", tooltip="a picture of yours",
            layout=ipw.Layout(width="180px", margin="2px 2px 2px 150px"),
        )  # fmt: skip
        kinds = ["isotropic", "anisotropic"]
        self.kind = buttons("kernel", kinds, "the same in all directions, or not")
        numbers = {
            "σ, HR pixels": (0.0, 5.0, 0.1, 2.0, "width of the round kernel"),
            "λ₁, HR pixels": (0.2, 5.0, 0.1, 4.0, "width along the first axis"),
            "λ₂, HR pixels": (0.2, 5.0, 0.1, 1.0, "width along the second axis"),
            "θ, degrees": (0.0, 180.0, 1.0, 30.0, "angle of the first axis"),
            "noise, of 255": (0.0, 50.0, 1.0, 0.0, "standard deviation"),
        }
        self.sigma, self.lambda1, self.lambda2, self.theta, self.noise = (
            slider(text, *options) for text, options in numbers.items()
        )
        scales = [(f"×{s}", s) for s in SCALES]
        self.scale = buttons("scale", scales, "how many times smaller LR is")
        self.scale.value = scale
        if not choose_scale:
            self.scale.layout.display = "none"
        self.kind.observe(lambda change: self._show(), names="value")
        self._show()

    def _show(self) -> None:
        isotropic = self.kind.value == "isotropic"
        show_if(isotropic, self.sigma)
        show_if(not isotropic, self.lambda1, self.lambda2, self.theta)

    def all(self) -> list[ipw.Widget]:
        return [
            self.picture, self.upload, self.kind, self.sigma, self.lambda1, self.lambda2,
            self.theta, self.noise, self.scale,
        ]  # fmt: skip

    def live(self) -> list[ipw.Widget]:
        """The controls that change the degraded picture; an upload does so through `picture`."""
        return [w for w in self.all() if w is not self.upload]

    def degradation(self) -> Degradations:
        if self.kind.value == "isotropic":
            return Degradations.isotropic(self.sigma.value, self.scale.value, self.noise.value)
        angle = math.radians(self.theta.value)
        return Degradations.anisotropic(
            self.lambda1.value, self.lambda2.value, angle, self.scale.value, self.noise.value
        )

    def accept_uploads(self, frame: InteractiveFigure, pictures: dict[str, Tensor]) -> None:
        """An uploaded picture joins `pictures`, cropped like them, and is chosen. Its errors show
        in the frame."""

        def add() -> None:
            file = self.upload.value[-1]
            name = Path(file["name"]).name
            picture = centre_crop(open_upload(name, file["content"]), SIZE)
            if min(picture.shape[-2:]) < SMALLEST:
                raise ValueError(
                    f"the picture is {picture.shape[-1]}×{picture.shape[-2]}: "
                    f"choose one of at least {SMALLEST}×{SMALLEST} pixels"
                )
            if name in pictures:  # the list must change, or the new picture would not be shown
                copies = (f"{name} ({i})" for i in itertools.count(2))
                name = next(copy for copy in copies if copy not in pictures)
            pictures[name] = picture
            self.picture.options = list(pictures)
            self.picture.value = name

        run = frame.safely(add)
        self.upload.observe(lambda change: run(), names="value")


def degradation_text(degradation: Degradations) -> str:
    """One degradation in words, for an alt text."""
    l1, l2 = degradation.lambda1.item(), degradation.lambda2.item()
    noise = degradation.noise.item()
    angle = math.degrees(degradation.theta.item())
    blur = f"blurred with a round kernel of width {l1:.1f}"
    if l1 != l2:
        blur = f"blurred with a kernel {l1:.1f} by {l2:.1f} wide, turned by {angle:.0f} degrees"
    return blur + (f", noise of {noise:.0f} grey levels" if noise else "")
