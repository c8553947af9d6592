"""§3.1 The degradation lab: sliders for the kernel and the noise, and everything they change."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, degrade, resize_bicubic
from dasrlib.plots.degradation import spectrum
from dasrlib.widgets.base.degradation_controls import SIZE, DegradationControls, degradation_text
from dasrlib.widgets.base.interactive_figure import InteractiveFigure
from dasrlib.widgets.base.panels import Panel, first_frame, row_html

SMALL = 126  # CSS pixels of the kernel, six to a weight, and of the spectra


def equation(degradation: Degradations) -> str:
    """I_LR = (I_HR ⊗ k) ↓s + n with a degradation's own numbers in it, as LaTeX."""
    l1, l2 = degradation.lambda1.item(), degradation.lambda2.item()
    angle, noise = math.degrees(degradation.theta.item()), degradation.noise.item()
    kernel = rf"k_{{\sigma={l1:.1f}}}"
    if l1 != l2:
        kernel = rf"k_{{\lambda_1={l1:.1f},\,\lambda_2={l2:.1f},\,\theta={angle:.0f}^\circ}}"
    added = rf" + n_{{\sigma={noise:.0f}}}" if noise else ""
    lr = rf"(I_{{HR}} \otimes {kernel})\downarrow_{{{degradation.scale}}}{added}"
    if degradation.quality is not None and degradation.has_jpeg:
        lr = rf"\mathrm{{JPEG}}_{{{degradation.quality.item():.0f}}}\left({lr}\right)"
    return rf"$$I_{{LR}} = {lr}$$"


def _heat(array: Tensor) -> Tensor:
    """(H, W) in [0, 1] -> (3, H, W) in colours whose order the colour-blind see as well."""
    return torch.from_numpy(plt.get_cmap("viridis")(array.numpy())[..., :3].transpose(2, 0, 1))


def _spectrum_panel(title: str, image: Tensor, alt: str, note: str) -> Panel:
    """The logarithm of the spectrum of a picture (3, H, W), four frequencies to a pixel."""
    magnitude = spectrum(image)[0] / image[0].numel() ** 0.5
    # 0 is a thousandth of a grey level, 1 is ten of 255 at this frequency.
    shown = torch.from_numpy(np.log10(magnitude + 1e-6) / 4 + 0.75).clamp(0, 1)
    return Panel(title, _heat(F.avg_pool2d(shown[None, None], 2)[0, 0]), alt, SMALL, note)


def degradation_lab(images: Sequence[tuple[str, Tensor]]) -> InteractiveFigure:
    """Sliders for σ or λ1, λ2, θ, for noise and scale; shows the kernel, the LR picture upsampled,
    the spectrum before and after, and the equation with the current numbers (§3.1).

    images: (name, (3, H, W) in [0, 1]) pairs to choose from; their middle 256×256 pixels are shown.
    Raises ValueError without any.
    """
    if not images:
        raise ValueError("expected at least one picture to degrade, got none")
    pictures = {name: centre_crop(image, SIZE) for name, image in images}
    controls = DegradationControls(list(pictures))
    formula, shown = ipw.HTMLMath(), ipw.HTML()

    def panels() -> list[Panel]:
        name, degradation = controls.picture.value, controls.degradation()
        s, kernel = degradation.scale, degradation.kernels[0]
        words = degradation_text(degradation)
        hr = crop_to_multiple(pictures[name], s)
        lr = degrade(hr[None], degradation, torch.Generator().manual_seed(0), "fast")[0]
        size = f"{lr.shape[-1]}×{lr.shape[-2]} pixels"
        largest = f"largest {kernel.max():.3f}"
        up, after = resize_bicubic(lr[None], s)[0], "frequencies after: the outer ones are weaker"
        return [
            Panel("HR", hr, f"the picture {name}", SIZE, "the original"),
            Panel("kernel k", _heat(kernel / kernel.max()), words, SMALL, largest),
            Panel("LR", lr, f"the picture, {words}", SIZE, size),
            _spectrum_panel("spectrum, HR", hr, "frequencies before", "middle: coarse shapes"),
            _spectrum_panel("spectrum, LR", up, after, "outside: fine detail"),
        ]

    def compute() -> None:
        # On so small a picture several threads gain nothing, and on a busy machine they wait for
        # each other: four times as long on two cores that also trained.
        with threadpool_limits(1, "openmp"):
            shown.value = row_html(panels())
        formula.value = equation(controls.degradation())  # last: the page takes long to typeset it

    frame = InteractiveFigure(controls.all, [formula, shown], lambda: first_frame([panels()]))
    controls.accept_uploads(frame, pictures)
    frame.on_change(controls.live, compute)
    return frame
