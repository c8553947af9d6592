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


class DegradationControls:
    """The sliders of a widget that degrades a picture, and the degradation they set (§3.1).

    names: the pictures to choose from. scale: of a trained network; None: the student chooses.
    """

    def __init__(self, names: Sequence[str], scale: int | None = None) -> None:
        self.picture = dropdown("picture", names, "the picture to degrade")
        self.upload = ipw.FileUpload(
            accept="image/*", multiple=False, description="your own", tooltip="a picture of yours",
            layout=ipw.Layout(width="180px", margin="2px 2px 2px 150px"),
        )  # fmt: skip
        kinds = ["isotropic", "anisotropic"]
        self.kind = buttons("kernel", kinds, "the same in all directions, or not")
        self.sigma = slider("σ, HR pixels", 0.0, 5.0, 0.1, 2.0, "width of the round kernel")
        self.axes = [
            slider("λ₁, HR pixels", 0.2, 5.0, 0.1, 4.0, "width along the first axis"),
            slider("λ₂, HR pixels", 0.2, 5.0, 0.1, 1.0, "width along the second axis"),
            slider("θ, degrees", 0.0, 180.0, 1.0, 30.0, "angle of the first axis"),
        ]
        self.noise = slider("noise, of 255", 0.0, 50.0, 1.0, 0.0, "standard deviation")
        self.quality = slider("JPEG quality", 0, 100, 1, 0, "of the file at the end; 0: no JPEG")
        scales = [(f"×{s}", s) for s in SCALES]
        self.scale = buttons("scale", scales, "how many times smaller LR is")
        self.scale.value = scale or 4
        show_if(scale is None, self.scale)
        self.kind.observe(lambda change: self._show(), names="value")
        self._show()
        sliders = [self.kind, self.sigma, *self.axes, self.noise, self.quality, self.scale]
        self.all = [self.picture, self.upload, *sliders]
        self.live = [self.picture, *sliders]  # these change LR; an upload does through `picture`

    def _show(self) -> None:
        isotropic = self.kind.value == "isotropic"
        show_if(isotropic, self.sigma)
        show_if(not isotropic, *self.axes)

    def degradation(self) -> Degradations:
        scale, noise = self.scale.value, self.noise.value
        if self.kind.value == "isotropic":
            chosen = Degradations.isotropic(self.sigma.value, scale, noise)
        else:
            l1, l2, theta = (axis.value for axis in self.axes)
            chosen = Degradations.anisotropic(l1, l2, math.radians(theta), scale, noise)
        return chosen.with_jpeg(self.quality.value)

    def accept_uploads(self, frame: InteractiveFigure, pictures: dict[str, Tensor]) -> None:
        """An uploaded picture joins `pictures`, cropped like them, and is chosen."""

        def add() -> None:
            file = self.upload.value[-1]
            name = Path(file["name"]).name
            picture = centre_crop(open_upload(name, file["content"]), SIZE)
            # A new name: the list must change, or the new picture would not be shown.
            copies = (f"{name} ({i})" for i in itertools.count(2))
            name = next(n for n in itertools.chain([name], copies) if n not in pictures)
            pictures[name] = picture
            self.picture.options = list(pictures)
            self.picture.value = name

        self.upload.observe(lambda change: frame.update(add), names="value")


def degradation_text(degradation: Degradations) -> str:
    """One degradation in words, for an alt text."""
    l1, l2 = degradation.lambda1.item(), degradation.lambda2.item()
    noise = degradation.noise.item()
    angle = math.degrees(degradation.theta.item())
    blur = f"blurred with a round kernel of width {l1:.1f}"
    if l1 != l2:
        blur = f"blurred with a kernel {l1:.1f} by {l2:.1f} wide, turned by {angle:.0f} degrees"
    words = blur + (f", noise of {noise:.0f} grey levels" if noise else "")
    quality = 0 if degradation.quality is None else degradation.quality.item()
    return words + (f", JPEG of quality {quality:.0f}" if quality else "")
