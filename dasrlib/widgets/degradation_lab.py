"""§3.1 The degradation lab: sliders for the kernel and the noise, and everything they change."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib.degradation import SCALES, Degradations, degrade, resize_bicubic
from dasrlib.plots.style import image_axes
from dasrlib.widgets.frame import Frame, figure_html, row_html, uploaded

SIZE = 256  # HR pixels; a multiple of 4, and cut to a multiple of 3


def middle(image: Tensor, size: int = SIZE) -> Tensor:
    """The middle of a picture (3, H, W), at most size × size."""
    h, w = image.shape[-2:]
    top, left = max(0, h - size) // 2, max(0, w - size) // 2
    return image[..., top : top + size, left : left + size]


def spectrum(image: Tensor) -> Tensor:
    """How strong each frequency of a picture (3, H, W) is, (H, W): 0 in the middle is the mean.

    The logarithm of the luminance's Fourier magnitude, from 0 (a thousandth of a grey level) to 1.
    """
    y = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    # A window, so that the border of the picture does not draw a cross.
    window = torch.hann_window(y.shape[0])[:, None] * torch.hann_window(y.shape[1])
    magnitude = torch.fft.fftshift(torch.fft.fft2((y - y.mean()) * window).abs()) / y.numel() ** 0.5
    return ((magnitude + 1e-6).log10() / 4 + 0.75).clamp(0, 1)


def equation(degradation: Degradations) -> str:
    """I_LR = (I_HR ⊗ k) ↓s + n with a degradation's own numbers in it, as LaTeX."""
    l1, l2 = degradation.lambda1.item(), degradation.lambda2.item()
    angle, noise = math.degrees(degradation.theta.item()), degradation.noise.item()
    kernel = rf"k_{{\sigma={l1:.1f}}}"
    if l1 != l2 or not degradation.is_separable:
        kernel = rf"k_{{\lambda_1={l1:.1f},\,\lambda_2={l2:.1f},\,\theta={angle:.0f}^\circ}}"
    added = rf" + n_{{\sigma={noise:.0f}}}" if noise else ""
    return rf"$$I_{{LR}} = (I_{{HR}} \otimes {kernel})\downarrow_{{{degradation.scale}}}{added}$$"


def _heat(array: Tensor) -> np.ndarray:
    """(H, W) in [0, 1] -> (3, H, W) in colours that stay in order for the colour-blind."""
    return plt.get_cmap("viridis")(array.numpy())[..., :3].transpose(2, 0, 1)


class _Controls:
    """The sliders, and the degradation they stand for."""

    def __init__(self, names: Sequence[str], scale: int) -> None:
        style = {"description_width": "110px"}

        def slider(
            text: str, low: float, high: float, step: float, start: float, tip: str
        ) -> ipw.FloatSlider:
            return ipw.FloatSlider(
                start, min=low, max=high, step=step, description=text, tooltip=tip,
                style=style, readout_format=".1f",
            )  # fmt: skip

        self.picture = ipw.Dropdown(options=list(names), description="picture", style=style)
        self.upload = ipw.FileUpload(accept="image/*", multiple=False, description="your own")
        self.kind = ipw.ToggleButtons(
            options=["isotropic", "anisotropic"], description="kernel", style=style
        )
        self.sigma = slider("σ, HR pixels", 0.0, 5.0, 0.1, 2.0, "width of the round kernel")
        self.lambda1 = slider("λ₁, HR pixels", 0.2, 5.0, 0.1, 4.0, "width along the first axis")
        self.lambda2 = slider("λ₂, HR pixels", 0.2, 5.0, 0.1, 1.0, "width along the second axis")
        self.theta = slider("θ, degrees", 0.0, 180.0, 1.0, 30.0, "angle of the first axis")
        self.noise = slider("noise, of 255", 0.0, 50.0, 1.0, 0.0, "standard deviation")
        self.scale = ipw.ToggleButtons(
            options=[(f"×{s}", s) for s in SCALES], value=scale, description="scale", style=style
        )
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

    def degradation(self) -> Degradations:
        if self.kind.value == "isotropic":
            return Degradations.isotropic(self.sigma.value, self.scale.value, self.noise.value)
        angle = math.radians(self.theta.value)
        return Degradations.anisotropic(
            self.lambda1.value, self.lambda2.value, angle, self.scale.value, self.noise.value
        )


def degradation_lab(images: Sequence[tuple[str, Tensor]], scale: int = 4) -> Frame:
    """Sliders for σ or λ1, λ2, θ, for noise and scale; shows the kernel, the LR picture enlarged,
    the spectrum before and after, and the equation with the current numbers (§3.1).

    images: (name, (3, H, W) in [0, 1]) pairs to choose from; their middle 256×256 pixels are shown.
    """
    pictures = {name: middle(image) for name, image in images}
    controls = _Controls(list(pictures), scale)
    formula, shown = ipw.HTMLMath(), ipw.HTML()

    def parts() -> tuple[Degradations, Tensor, Tensor]:
        degradation = controls.degradation()
        s = degradation.scale
        hr = pictures[controls.picture.value]
        hr = hr[..., : hr.shape[-2] // s * s, : hr.shape[-1] // s * s]
        lr = degrade(hr[None], degradation, torch.Generator().manual_seed(0))[0]
        return degradation, hr, lr

    def draw() -> Figure:
        degradation, hr, lr = parts()
        panels = [
            ("HR", hr), ("kernel", degradation.kernels[0] / degradation.kernels[0].max()),
            (f"LR, enlarged {degradation.scale} times", lr), ("spectrum, HR", spectrum(hr)),
            ("spectrum, LR enlarged", spectrum(_enlarged(lr, degradation.scale))),
        ]  # fmt: skip
        figure, axes = plt.subplots(1, len(panels), figsize=(13, 3.2))
        for ax, (title, image) in zip(axes, panels, strict=True):
            image_axes(ax, image, title)
        figure.suptitle(equation(degradation).replace("$$", "$"))
        return figure

    def compute() -> None:
        degradation, hr, lr = parts()
        kernel = degradation.kernels[0]
        h, w = lr.shape[-2:]
        formula.value = equation(degradation)
        shown.value = row_html(
            [
                figure_html("HR", hr, f"the picture {controls.picture.value}", SIZE),
                figure_html(
                    "kernel k", _heat(kernel / kernel.max()), _describe(degradation), 150,
                    f"21×21, largest {kernel.max():.3f}",
                ),
                figure_html(
                    "LR, enlarged", lr, f"the picture, {_describe(degradation)}", SIZE,
                    f"{w}×{h} pixels",
                ),
                figure_html("spectrum, HR", _heat(spectrum(hr)), "frequencies before", 170),
                figure_html(
                    "spectrum, LR", _heat(spectrum(_enlarged(lr, degradation.scale))),
                    "frequencies after: the outer ones, fine detail, are weaker", 170,
                    "outside: fine detail",
                ),
            ]
        )  # fmt: skip

    frame = Frame(controls.all(), [formula, shown], draw)

    def add_upload(change: object) -> None:
        def add() -> None:
            name, picture = uploaded(controls.upload)
            picture = middle(picture)
            if min(picture.shape[-2:]) < 48:
                raise ValueError(
                    f"the picture is {picture.shape[-1]}×{picture.shape[-2]}: "
                    "choose one of at least 48×48 pixels"
                )
            pictures[name] = picture
            controls.picture.options = list(pictures)
            controls.picture.value = name

        frame.guarded(add)()

    controls.upload.observe(add_upload, names="value")
    moved = [w for w in controls.all() if w is not controls.upload]
    frame.answer(moved, compute)
    return frame


def _enlarged(lr: Tensor, scale: int) -> Tensor:
    return resize_bicubic(lr[None], scale)[0]


def _describe(degradation: Degradations) -> str:
    l1, l2 = degradation.lambda1.item(), degradation.lambda2.item()
    noise = degradation.noise.item()
    angle = math.degrees(degradation.theta.item())
    blur = f"blurred with a round kernel of width {l1:.1f}"
    if l1 != l2:
        blur = f"blurred with a kernel {l1:.1f} by {l2:.1f} wide, turned by {angle:.0f} degrees"
    return blur + (f", noise of {noise:.0f} grey levels" if noise else "")
