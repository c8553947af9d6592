"""§3.1 The degradation lab: sliders for the kernel and the noise, and everything they change."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib.data import centre_crop
from dasrlib.degradation import Degradations, degrade, resize_bicubic
from dasrlib.plots.style import image_axes
from dasrlib.widgets.base.degradation_controls import SIZE, Controls, describe
from dasrlib.widgets.base.frame import Frame, figure_html, row_html

SMALL = 126  # CSS pixels of the kernel, six to a weight, and of the spectra


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
    if l1 != l2 or not degradation.separable:
        kernel = rf"k_{{\lambda_1={l1:.1f},\,\lambda_2={l2:.1f},\,\theta={angle:.0f}^\circ}}"
    added = rf" + n_{{\sigma={noise:.0f}}}" if noise else ""
    return rf"$$I_{{LR}} = (I_{{HR}} \otimes {kernel})\downarrow_{{{degradation.scale}}}{added}$$"


def _heat(array: Tensor) -> np.ndarray:
    """(H, W) in [0, 1] -> (3, H, W) in colours that stay in order for the colour-blind."""
    return plt.get_cmap("viridis")(array.numpy())[..., :3].transpose(2, 0, 1)


def _spectrum_html(title: str, image: Tensor, alt: str, note: str = "") -> str:
    """The spectrum of a picture (3, H, W), a mean of four frequencies to a pixel."""
    small = F.avg_pool2d(spectrum(image)[None, None], 2)[0, 0]
    return figure_html(title, _heat(small), alt, SMALL, note)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several threads gain nothing on so small a picture, and wait for each other where the
    machine has other work: four times as long, measured on two cores that also train."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def degradation_lab(images: Sequence[tuple[str, Tensor]], scale: int = 4) -> Frame:
    """Sliders for σ or λ1, λ2, θ, for noise and scale; shows the kernel, the LR picture enlarged,
    the spectrum before and after, and the equation with the current numbers (§3.1).

    images: (name, (3, H, W) in [0, 1]) pairs to choose from; their middle 256×256 pixels are shown.
    """
    pictures = {name: centre_crop(image, SIZE) for name, image in images}
    controls = Controls(list(pictures), scale)
    formula, before, after = ipw.HTMLMath(), ipw.HTML(), ipw.HTML()

    def cut(name: str, s: int) -> Tensor:
        hr = pictures[name]
        return hr[..., : hr.shape[-2] // s * s, : hr.shape[-1] // s * s]

    @functools.lru_cache(maxsize=1)  # what no slider changes
    def given(name: str, s: int) -> tuple[str, str]:
        hr = cut(name, s)
        return (
            figure_html("HR", hr, f"the picture {name}", SIZE),
            _spectrum_html("spectrum, HR", hr, "frequencies before"),
        )

    def parts() -> tuple[Degradations, Tensor, Tensor]:
        degradation = controls.degradation()
        hr = cut(controls.picture.value, degradation.scale)
        lr = degrade(hr[None], degradation, torch.Generator().manual_seed(0), "fast")[0]
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
        with _one_thread():
            degradation, _, lr = parts()
            hr_html, hr_spectrum = given(controls.picture.value, degradation.scale)
            kernel, (h, w) = degradation.kernels[0], lr.shape[-2:]
            kernel_html = figure_html(
                "kernel k",
                _heat(kernel / kernel.max()),
                describe(degradation),
                SMALL,
                f"largest {kernel.max():.3f}",
            )
            lr_html = figure_html(
                "LR, enlarged",
                lr,
                f"the picture, {describe(degradation)}",
                SIZE,
                f"{w}×{h} pixels",
            )
            lr_spectrum = _spectrum_html(
                "spectrum, LR", _enlarged(lr, degradation.scale),
                "frequencies after: the outer ones, fine detail, are weaker",
                "outside: fine detail",
            )  # fmt: skip
        before.value = hr_html
        spectra = f"<div>{hr_spectrum}{lr_spectrum}</div>"
        after.value = row_html([kernel_html, lr_html, spectra])
        formula.value = equation(degradation)  # last, as the page takes long to typeset it

    seen = ipw.HBox([before, after], layout=ipw.Layout(flex_flow="row wrap"))
    frame = Frame(controls.all(), [formula, seen], draw)

    controls.accept_uploads(frame, pictures)
    frame.answer(controls.moved(), compute)
    return frame


def _enlarged(lr: Tensor, scale: int) -> Tensor:
    return resize_bicubic(lr[None], scale)[0]
