"""Notebook 03's kernel mismatch: what the true and the assumed width change."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")

from lab import PARAMETERS, Lab, Picture, Widget
from playwright.sync_api import expect

KERNELS, BARS = "kernels that DA convolution", "coefficients that DA convolution"
TRUE, ASSUMED, LAYER = "true σ, HR pixels", "assumed σ, HR pixels", "DA convolution"
MATCHED = "SR, true σ assumed"


def brightness(colour: str) -> float:
    """The mean of a CSS colour's red, green and blue, 0 to 255."""
    return float(np.mean([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]))


def contrast(pixels: np.ndarray) -> float:
    """The mean step between horizontal neighbours: less where there is more blur."""
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


def differ(these: np.ndarray, those: np.ndarray) -> bool:
    return bool(np.abs(these - those).max() > 2)


def decibels(picture: Picture) -> float:
    """The PSNR below a restored picture, as it stands on the page."""
    (number,) = re.findall(r"PSNR-Y ([\d.]+) dB", picture.locator.locator("..").inner_text())
    return float(number)


@pytest.fixture(scope="module")
def notebook(opened: Lab) -> Lab:
    opened.page.set_viewport_size({"width": 1400, "height": 1500})  # all of it is on a screenshot
    opened.open("03_da_convolution")
    for code in (
        PARAMETERS,
        "import matplotlib.pyplot",
        "ramp, spot = ",
        "photos = dict(data.images",
        "chosen = [(name",
    ):
        opened.run_cell(code)
    return opened


def put(notebook: Lab, code: str) -> Iterator[Widget]:
    notebook.run_cell(code)
    widget = notebook.widget(code)
    yield widget
    assert widget.alert() == ""
    assert notebook.errors() == []


@pytest.fixture
def matched(notebook: Lab) -> Iterator[Widget]:
    """The widget as the notebook's first cell puts it on the page: no mismatch, σ = 1.4."""
    yield from put(notebook, "chosen = [(name")


@pytest.fixture
def mismatch(notebook: Lab) -> Iterator[Widget]:
    """As the second cell puts it: σ = 3.0 is assumed where 1.4 is true, with two networks."""
    yield from put(notebook, "sigma=1.4, assumed=3.0")


def test_the_true_width_changes_the_kernels_and_the_picture(matched: Widget) -> None:
    kernels, bars = matched.image(KERNELS), matched.image(BARS)
    before, bars_before = kernels.pixels(), bars.pixels()
    lr = contrast(matched.image("blurred with a kernel of width 1.4").pixels())
    restored = matched.image(MATCHED)
    psnr, sharp = decibels(restored), restored.pixels()
    sigma = matched.slider(TRUE)
    sigma.press("ArrowRight", times=15)
    assert sigma.value == 2.9
    blurred = matched.image("blurred with a kernel of width 2.9").pixels()
    assert contrast(blurred) < 0.95 * lr
    assert differ(kernels.pixels(), before)
    matched.wait_for_text("The network assumes the true width: σ = 2.9.")
    assert differ(bars.pixels(), bars_before)
    assert decibels(restored) < psnr
    assert differ(restored.pixels(), sharp)


def test_the_mouse_drags_the_true_width(matched: Widget) -> None:
    kernels = matched.image(KERNELS)
    before = kernels.pixels()
    sigma = matched.slider(TRUE)
    sigma.drag(to=0.9)
    assert sigma.value > 3
    matched.image(f"blurred with a kernel of width {sigma.value:.1f}").pixels()
    assert differ(kernels.pixels(), before)
    matched.wait_for_text(f"assumes the true width: σ = {sigma.value:.1f}.")


def test_a_mismatch_over_sharpens_or_blurs(matched: Widget) -> None:
    before = matched.image(MATCHED).pixels()
    assumed = matched.slider(ASSUMED)
    expect(assumed.root).to_be_hidden()
    matched.click("another σ")
    expect(assumed.root).to_be_visible()
    assumed.press("ArrowRight", times=16)
    matched.wait_for_text("more blur than there is: σ = 3.0; the true σ is 1.4. Over-sharpened")
    wrong, right = matched.image("SR, σ = 3.0 assumed"), matched.image(MATCHED)
    sharp, cost = wrong.pixels(), decibels(right) - decibels(wrong)
    assert not differ(right.pixels(), before)
    assert contrast(sharp) > 1.05 * contrast(before)
    assert cost > 0.5
    matched.wait_for_text(f"PSNR is {cost:.2f} dB lower")
    matched.screenshot("mismatch-over-sharpened")
    assumed.press("Home")
    matched.wait_for_text("less blur than there is: σ = 0.2; the true σ is 1.4. Too soft")
    soft = matched.image("SR, σ = 0.2 assumed").pixels()
    assert contrast(soft) < contrast(before)
    assert differ(soft, sharp)
    matched.screenshot("mismatch-too-soft")
    matched.click("the true σ")
    matched.wait_for_text("The network assumes the true width: σ = 1.4.")
    expect(matched.find("img[alt*=': SR, ']")).to_have_count(1)


def test_a_mismatch_is_seen_in_the_kernels_and_bars(mismatch: Widget) -> None:
    wrong = mismatch.image(f"{KERNELS} 8 predicts, σ = 3.0 assumed")
    right = mismatch.image(f"{KERNELS} 8 predicts, true σ assumed")
    assert differ(wrong.pixels(), right.pixels())
    bars = mismatch.image(BARS).locator
    expect(bars).to_have_attribute("alt", re.compile("those of the true σ differ by up to"))
    mismatch.slider(ASSUMED).press("ArrowLeft", times=16)
    expect(mismatch.find("img[alt*='σ = 3.0 assumed']")).to_have_count(0)
    expect(bars).not_to_have_attribute("alt", re.compile("those of the true σ differ"))
    mismatch.wait_for_text("assumes the true width: σ = 1.4.")


def test_another_layer_and_another_network(mismatch: Widget) -> None:
    wrong, psnr = mismatch.image("SR, σ = 3.0 assumed"), mismatch.image("SR, σ = 3.0 assumed")
    eighth, restored, before = mismatch.image(KERNELS).pixels(), wrong.pixels(), decibels(psnr)
    mismatch.slider(LAYER).press("ArrowLeft", times=3)
    fifth = mismatch.image(f"{KERNELS} 5 predicts, σ = 3.0 assumed").pixels()
    assert differ(fifth, eighth)
    assert not differ(wrong.pixels(), restored)
    mismatch.choose("network", "laptop/model5-x4-iso")
    other = wrong.wait_for_change(restored)
    assert differ(mismatch.image(KERNELS).pixels(), fifth)
    assert differ(other, restored)
    assert decibels(psnr) != before
    mismatch.screenshot("mismatch-model5")


def test_another_picture(matched: Widget) -> None:
    kernels = matched.image(KERNELS).pixels()
    matched.choose("picture", "coffee")
    lr = matched.image("the picture coffee, blurred with a kernel of width 1.4")
    assert lr.pixels().size
    assert differ(matched.image(KERNELS).pixels(), kernels)
    assert decibels(matched.image(f"the picture coffee: {MATCHED}")) > 10


def test_a_screen_reader_finds_names_for_all_it_meets(mismatch: Widget) -> None:
    for name in (LAYER, TRUE, ASSUMED):
        slider = mismatch.root.get_by_role("slider", name=name, exact=True)
        expect(slider.and_(mismatch.slider(name).handle)).to_have_count(1)
    assert mismatch.find("img:not([alt]), img[alt='']").count() == 0


def test_it_can_be_seen_in_the_dark(notebook: Lab, mismatch: Widget) -> None:
    text = mismatch.find("figcaption").first
    colours = {}
    for theme in ("light", "dark"):
        notebook.theme(theme)
        paper = notebook.page.locator("body").evaluate("it => getComputedStyle(it).backgroundColor")
        written = text.evaluate("it => getComputedStyle(it).color")
        colours[theme] = brightness(written), brightness(paper)
        mismatch.screenshot(f"mismatch-{theme}")
    notebook.theme("light")
    assert colours["light"][0] < colours["light"][1] - 100
    assert colours["dark"][0] > colours["dark"][1] + 100


@pytest.mark.slow
def test_times_from_slider_to_pixels(matched: Widget, timings: dict[str, list[float]]) -> None:
    """For the record: no time is asserted, but that there is an answer to every move."""
    true, layer = matched.slider(TRUE), matched.slider(LAYER)
    timings["kernel mismatch, true σ, a key, kernels"] = [
        matched.latency(lambda: true.press("ArrowRight"), KERNELS) for _ in range(6)
    ]
    timings["kernel mismatch, layer, a key, kernels"] = [
        matched.latency(lambda: layer.press("ArrowLeft"), KERNELS) for _ in range(6)
    ]
    assert all(timings.values())


def test_times_from_the_assumed_width_to_the_sr_picture(
    mismatch: Widget, timings: dict[str, list[float]]
) -> None:
    """From the key to the pixels, with the quarter of a second in which a slider comes to rest."""
    assumed = mismatch.slider(ASSUMED)
    timings["kernel mismatch, assumed σ, a key, SR"] = [
        mismatch.latency(lambda: assumed.press("ArrowLeft"), "SR, σ =") for _ in range(5)
    ]
    assert all(timings.values())
