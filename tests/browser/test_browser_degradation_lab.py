"""Notebook 01's degradation lab, with mouse and keyboard: what a slider changes on the screen."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="Playwright is not installed")

from lab import PARAMETERS, Lab, Widget
from playwright.sync_api import expect

LR = "the picture, blurred"
FAILING = """
import ipywidgets
from dasrlib import plots
from dasrlib.widgets import InteractiveFigure
import torch

slider = ipywidgets.FloatSlider(description="width", max=5)
shown = ipywidgets.HTML()

def compute():
    if slider.value > 2:
        raise ValueError(f"width {slider.value} is more than 2")
    shown.value = f"<b>the width is {slider.value}</b>"

grey = {"grey": torch.full((3, 8, 8), 0.5)}
frame = InteractiveFigure([slider], [shown], lambda: plots.pictures(grey))
frame.on_change([slider], compute)
frame
"""


def stripes(width: int = 128) -> bytes:
    """A png by rule: stripes of one pixel, black and green; blurred, an even dark green."""
    picture = np.zeros((width, width, 3), np.uint8)
    picture[:, ::2] = (0, 255, 0)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()


BACKGROUND = "it => getComputedStyle(it).backgroundColor"
COLOUR = "it => getComputedStyle(it).color"


def brightness(colour: str) -> float:
    """The mean of a CSS colour's red, green and blue, 0 to 255."""
    return float(np.mean([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]))


def contrast(pixels: np.ndarray) -> float:
    """The mean step between horizontal neighbours: less where there is more blur."""
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


@pytest.fixture(scope="module")
def notebook(opened: Lab) -> Lab:
    opened.open("01_degradation")
    for code in (PARAMETERS, "import matplotlib.pyplot"):
        opened.run_cell(code)
    return opened


@pytest.fixture
def widget(notebook: Lab) -> Widget:
    """The lab, as the cell of notebook 01 has just put it on the page."""
    notebook.run_cell("degradation_lab")
    return notebook.widget("degradation_lab")


def blurred(widget: Widget, width: float) -> np.ndarray:
    """The pixels of the LR picture once its alt text says this width."""
    return widget.image(f"the picture, blurred with a round kernel of width {width:.1f}").pixels()


def test_the_mouse_drags_blur_into_the_picture(widget: Widget) -> None:
    sigma = widget.slider("σ, HR pixels")
    sigma.drag(to=0.05)
    little = blurred(widget, sigma.value)
    assert sigma.value < 1
    sigma.drag(to=0.9)
    much = blurred(widget, sigma.value)
    assert sigma.value > 4
    assert contrast(much) < 0.8 * contrast(little)
    widget.wait_for_equation(f"kσ={sigma.value:.1f}")
    widget.screenshot("degradation-lab")


def test_the_keyboard_moves_a_slider_by_its_step(widget: Widget) -> None:
    sigma = widget.slider("σ, HR pixels")
    assert "kσ=2.0" in widget.equation()
    before = blurred(widget, 2.0)
    sigma.press("ArrowRight", times=3)
    assert np.abs(blurred(widget, 2.3) - before).max() > 2
    widget.wait_for_equation("kσ=2.3")
    for key, value in (("End", "5.0"), ("Home", "0.0")):
        sigma.press(key)
        widget.wait_for_equation(f"kσ={value}")


def test_the_angle_turns_the_kernel(widget: Widget) -> None:
    widget.click("anisotropic")
    widget.wait_for_equation("λ1=4.0,λ2=1.0,θ=30∘")
    kernel = widget.image("blurred with a kernel 4.0 by 1.0 wide, turned by 30 degrees")
    lying = kernel.pixels()[..., 1]
    angle = widget.slider("θ, degrees")
    angle.press("ArrowRight", times=60)
    assert angle.value == 90
    standing = widget.image("turned by 90 degrees").pixels()[..., 1]
    # Green is what grows in these colours. The first axis points to the right, and then down.
    bright = [pixels > 100 for pixels in (lying, standing)]
    assert np.ptp(bright[0].nonzero()[1]) > 1.2 * np.ptp(bright[0].nonzero()[0])
    assert np.ptp(bright[1].nonzero()[0]) > 2 * np.ptp(bright[1].nonzero()[1])


def test_noise_and_scale_change_the_picture_and_its_size(widget: Widget) -> None:
    clean = blurred(widget, 2.0)
    widget.slider("noise, of 255").drag(to=0.6)
    noisy = widget.image(f"{LR} with a round kernel of width 2.0, noise").pixels()
    assert contrast(noisy) > 1.5 * contrast(clean)
    assert "+nσ=" in widget.equation()
    widget.click("×2")
    widget.wait_for_text("128×128 pixels")
    widget.wait_for_equation("↓2")


def test_a_screen_reader_finds_names_for_all_it_meets(widget: Widget) -> None:
    widget.click("anisotropic")
    for name in ("λ₁, HR pixels", "λ₂, HR pixels", "θ, degrees", "noise, of 255"):
        slider = widget.root.get_by_role("slider", name=name, exact=True)
        expect(slider.and_(widget.slider(name).handle)).to_have_count(1)
    unnamed = widget.find("img:not([alt]), img[alt='']")
    assert unnamed.count() == 0


def test_an_uploaded_picture_is_degraded(widget: Widget) -> None:
    widget.upload("your own", "stripes.png", stripes())
    given = widget.image("the picture stripes.png").pixels()
    assert widget.chosen("picture") == "stripes.png"
    assert contrast(given) > 40
    even = blurred(widget, 2.0)
    assert contrast(even) < 2
    assert np.abs(even.mean((0, 1)) - (0, 128, 0)).max() < 4


def test_what_is_no_picture_is_refused_on_the_page(widget: Widget) -> None:
    widget.upload("your own", "letter.png", b"Dear network,")
    widget.wait_for_alert("letter.png cannot be read as a picture")
    widget.screenshot("degradation-lab-refuses")
    widget.slider("σ, HR pixels").press("ArrowRight")
    widget.wait_for_alert("")


def test_it_can_be_seen_in_the_dark_and_in_a_narrow_window(notebook: Lab, widget: Widget) -> None:
    light = widget.find(".widget-label").first
    colours = {}
    for theme in ("light", "dark"):
        notebook.theme(theme)
        paper = notebook.page.locator("body").evaluate(BACKGROUND)
        colours[theme] = (light.evaluate(COLOUR), paper)
        widget.screenshot(f"degradation-lab-{theme}")
    assert brightness(colours["light"][0]) < brightness(colours["light"][1]) - 100
    assert brightness(colours["dark"][0]) > brightness(colours["dark"][1]) + 100
    notebook.theme("light")
    notebook.resize(800)
    widget.find("img").first.scroll_into_view_if_needed()
    notebook.screenshot("degradation-lab-narrow")
    room = notebook.notebook.evaluate("it => it.clientWidth")
    assert widget.find("img").evaluate_all("all => all.map(it => it.clientWidth)") < [room] * 5
    notebook.resize(1400)


@pytest.mark.slow
def test_times_from_slider_to_pixels(widget: Widget, timings: dict[str, list[float]]) -> None:
    """For the record: no time is asserted, but that there is an answer to every move."""
    sigma = widget.slider("σ, HR pixels")
    moves = {"σ": sigma, "noise": widget.slider("noise, of 255")}
    for name, slider in moves.items():
        timings[f"degradation lab, {name}, a key"] = [
            widget.latency(lambda slider=slider: slider.press("ArrowRight"), LR) for _ in range(10)
        ]
    widget.click("anisotropic")
    widget.wait_for_equation("θ=")
    for name in ("λ₁, HR pixels", "λ₂, HR pixels", "θ, degrees"):
        slider = widget.slider(name)
        timings[f"degradation lab, {name[:2].strip(',')}, a key"] = [
            widget.latency(lambda slider=slider: slider.press("ArrowRight"), LR) for _ in range(10)
        ]
    assert all(timings.values())


def test_a_computation_that_fails_shows_it_in_the_page(lab: Lab) -> None:
    lab.server.write("failing", [FAILING])
    lab.open("failing")
    lab.run_all()
    widget = lab.widget("FloatSlider")
    widget.wait_for_text("the width is 0.0")
    slider = widget.slider("width")
    slider.drag(to=0.95)
    # On the way there other widths are too much as well: the last one is to stay.
    widget.wait_for_alert(f"width {slider.value:g} is more than 2")
    widget.screenshot("failing")
    slider.drag(to=0.1)
    widget.wait_for_alert("")
    widget.wait_for_text(f"the width is {slider.value:g}")
    assert lab.errors() == []
