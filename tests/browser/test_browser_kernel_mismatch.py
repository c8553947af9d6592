"""Notebook 03's widget "what the network was told": what the true and the told width change."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")

from lab import Lab, Picture, Widget
from playwright.sync_api import expect

KERNELS = "kernels that DA convolution"
TRUE, TOLD, LAYER = "true σ, HR pixels", "told σ, HR pixels", "DA convolution"


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
        "set DASR_PROFILE to choose",
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
def truth(notebook: Lab) -> Iterator[Widget]:
    """The widget as the notebook's first cell puts it on the page: told the truth, σ = 1.4."""
    yield from put(notebook, "chosen = [(name")


@pytest.fixture
def lie(notebook: Lab) -> Iterator[Widget]:
    """As the second cell puts it: told σ = 3.0 where 1.4 is true, with two networks."""
    yield from put(notebook, "sigma=1.4, told=3.0")


def test_the_true_width_changes_the_kernels_and_the_picture(truth: Widget) -> None:
    kernels, bars = truth.image(KERNELS), Picture(truth.root, "svg[role=img]")
    before, bars_before = kernels.pixels(), bars.pixels()
    lr = contrast(truth.image("blurred with a kernel of width 1.4").pixels())
    restored = truth.image("SR, told the truth")
    psnr, sharp = decibels(restored), restored.pixels()
    sigma = truth.slider(TRUE)
    sigma.press("ArrowRight", times=15)
    assert sigma.value == 2.9
    blurred = truth.image("blurred with a kernel of width 2.9").pixels()
    assert contrast(blurred) < 0.95 * lr
    assert differ(kernels.pixels(), before)
    assert differ(bars.pixels(), bars_before)
    truth.wait_for_text("The network is told the truth: σ = 2.9.")
    assert decibels(restored) < psnr
    assert differ(restored.pixels(), sharp)


def test_the_mouse_drags_the_true_width(truth: Widget) -> None:
    kernels = truth.image(KERNELS)
    before = kernels.pixels()
    sigma = truth.slider(TRUE)
    sigma.drag(to=0.9)
    assert sigma.value > 3
    truth.image(f"blurred with a kernel of width {sigma.value:.1f}").pixels()
    assert differ(kernels.pixels(), before)
    truth.wait_for_text(f"told the truth: σ = {sigma.value:.1f}.")


def test_a_lie_over_sharpens_or_blurs(truth: Widget) -> None:
    honest = truth.image("SR, told the truth").pixels()
    told = truth.slider(TOLD)
    expect(told.root).to_be_hidden()
    truth.click("something else")
    expect(told.root).to_be_visible()
    told.press("ArrowRight", times=16)
    truth.wait_for_text("told of more blur than there is: σ = 3.0, and it is 1.4. Over-sharpened")
    lied, right = truth.image("SR, told σ = 3.0"), truth.image("SR, told the truth")
    sharp, cost = lied.pixels(), decibels(right) - decibels(lied)
    assert not differ(right.pixels(), honest)
    assert contrast(sharp) > 1.05 * contrast(honest)
    assert cost > 0.5
    truth.wait_for_text(f"its PSNR is {cost:.2f} dB below")
    truth.screenshot("told-over-sharpened")
    told.press("Home")
    truth.wait_for_text("told of less blur than there is: σ = 0.2, and it is 1.4. Too soft")
    soft = truth.image("SR, told σ = 0.2").pixels()
    assert contrast(soft) < contrast(honest)
    assert differ(soft, sharp)
    truth.screenshot("told-too-soft")
    truth.click("the truth")
    truth.wait_for_text("The network is told the truth: σ = 1.4.")
    expect(truth.find("img[alt*='SR, told']")).to_have_count(1)


def test_the_lie_is_seen_in_the_kernels_and_bars(lie: Widget) -> None:
    lied = lie.image(f"{KERNELS} 8 predicts, told σ = 3.0")
    honest = lie.image(f"{KERNELS} 8 predicts, told the truth")
    before = lied.pixels()
    assert differ(before, honest.pixels())
    bars = lie.find("svg[role=img]")
    expect(bars).to_have_attribute("aria-label", re.compile("the truth's differ by up to"))
    lie.slider(TOLD).press("ArrowLeft", times=16)
    expect(lie.find("img[alt*='told σ = 3.0']")).to_have_count(0)
    expect(bars).not_to_have_attribute("aria-label", re.compile("the truth's differ"))
    lie.wait_for_text("told the truth: σ = 1.4.")


def test_another_layer_and_another_network(lie: Widget) -> None:
    lied, psnr = lie.image("SR, told σ = 3.0"), lie.image("SR, told σ = 3.0")
    eighth, restored, before = lie.image(KERNELS).pixels(), lied.pixels(), decibels(psnr)
    lie.slider(LAYER).press("ArrowLeft", times=3)
    fifth = lie.image(f"{KERNELS} 5 predicts, told σ = 3.0").pixels()
    assert differ(fifth, eighth)
    assert not differ(lied.pixels(), restored)
    lie.choose("network", "laptop/model5-x4-iso")
    other = lied.wait_for_change(restored)
    assert differ(lie.image(KERNELS).pixels(), fifth)
    assert differ(other, restored)
    assert decibels(psnr) != before
    lie.screenshot("told-model5")


def test_another_picture(truth: Widget) -> None:
    kernels = truth.image(KERNELS).pixels()
    truth.choose("picture", "coffee")
    lr = truth.image("the picture coffee, blurred with a kernel of width 1.4")
    assert lr.pixels().size
    assert differ(truth.image(KERNELS).pixels(), kernels)
    assert decibels(truth.image("the picture coffee: SR, told the truth")) > 10


def test_a_screen_reader_finds_names_for_all_it_meets(lie: Widget) -> None:
    for name in (LAYER, TRUE, TOLD):
        slider = lie.root.get_by_role("slider", name=name, exact=True)
        expect(slider.and_(lie.slider(name).handle)).to_have_count(1)
    assert lie.find("img:not([alt]), img[alt=''], svg[role=img]:not([aria-label])").count() == 0


def test_it_can_be_seen_in_the_dark(notebook: Lab, lie: Widget) -> None:
    text = lie.find("svg[role=img] text").first
    colours = {}
    for theme in ("light", "dark"):
        notebook.theme(theme)
        paper = notebook.page.locator("body").evaluate("it => getComputedStyle(it).backgroundColor")
        written = text.evaluate("it => getComputedStyle(it).fill")
        colours[theme] = brightness(written), brightness(paper)
        lie.screenshot(f"told-{theme}")
    notebook.theme("light")
    assert colours["light"][0] < colours["light"][1] - 100
    assert colours["dark"][0] > colours["dark"][1] + 100


def test_times_from_slider_to_pixels(truth: Widget, timings: dict[str, list[float]]) -> None:
    """For the record: no time is asserted, but that there is an answer to every move."""
    true, layer = truth.slider(TRUE), truth.slider(LAYER)
    timings["told, true σ, a key, kernels"] = [
        truth.latency(lambda: true.press("ArrowRight"), KERNELS) for _ in range(6)
    ]
    timings["told, layer, a key, kernels"] = [
        truth.latency(lambda: layer.press("ArrowLeft"), KERNELS) for _ in range(6)
    ]
    assert all(timings.values())


def test_times_from_the_told_width_to_the_restored_picture(
    lie: Widget, timings: dict[str, list[float]]
) -> None:
    """From the key to the pixels, with the quarter of a second in which a slider comes to rest."""
    told = lie.slider(TOLD)
    timings["told, told σ, a key, the restored"] = [
        lie.latency(lambda: told.press("ArrowLeft"), "SR, told σ") for _ in range(5)
    ]
    assert all(timings.values())
