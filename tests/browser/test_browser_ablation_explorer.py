"""Notebook 05's ablation explorer with two bundled models: what boxes and σ change on the page.

In the smoke profile that notebook trains its models before it shows them: here is a shorter one.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")

from lab import Lab, Picture, Widget, until
from playwright.sync_api import Locator, expect

# Model 4 can be made slow, and made to fail: what the page shows then is no matter of luck.
READY = """
import time
from dasrlib import data, weights, widgets

pictures = data.images("samples")[:2]
small = [(name, data.centre_crop(picture, 128)) for name, picture in pictures]
models = {m: weights.load(f"laptop/{m}-x4-iso") for m in ("model1", "model4")}

pause = 0
broken = False

def before_model4(*given):
    time.sleep(pause)
    if broken:
        raise MemoryError("no room for the features")

models["model4"].register_forward_pre_hook(before_model4);
"""
SOUND, SLOW, BROKEN = (f"pause, broken = {it}" for it in ("0, False", "2, False", "0, True"))
SMALL = "widgets.ablation_explorer(small, models)"
USUAL = "widgets.ablation_explorer(pictures, models)"
METHODS = ("bicubic", "Model 1", "Model 4")
PLOT = "img[alt^='PSNR over the kernel width']"
BICUBIC = "bicubic, σ ="


@pytest.fixture(scope="module")
def notebook(opened: Lab) -> Lab:
    opened.server.write("explorer", [READY, SOUND, SLOW, BROKEN, SMALL, USUAL])
    opened.open("explorer")
    opened.run_cell("import data, weights")
    return opened


@pytest.fixture
def widget(notebook: Lab) -> Widget:
    """The explorer of small pictures, as its cell has just put it on the page."""
    notebook.run_cell(SOUND)
    return explorer(notebook, SMALL)


def explorer(notebook: Lab, code: str) -> Widget:
    notebook.run_cell(code)
    shown = notebook.widget(code)
    expect(shown.find(PLOT)).to_have_count(1)
    return shown


def restored(widget: Widget, method: str, sigma: float) -> Picture:
    """A method's crop for exactly this σ: a number stands in its alt text, and not "until"."""
    exact = f"img[alt*='{method}, σ = {sigma:.1f}: '][alt*='dB, crop']"
    expect(widget.find(exact)).to_have_count(1)
    return Picture(widget.root, exact)


def box(widget: Widget, method: str) -> Locator:
    """The tick box of a method."""
    return widget.root.get_by_role("checkbox", name=method)


def colour(widget: Widget, method: str) -> np.ndarray:
    """The colour of a method's line, as the table of numbers shows it."""
    mark = widget.find("table tr").filter(has_text=method).locator("td").first
    rgb = mark.evaluate("it => getComputedStyle(it).color")
    return np.array([int(part) for part in re.findall(r"\d+", rgb)[:3]])


def ink(widget: Widget, shade: np.ndarray) -> int:
    """How many of the plot's pixels on the screen have about this colour."""
    pixels = Picture(widget.root, PLOT).pixels()
    return int((np.abs(pixels - shade).max(axis=2) < 25).sum())


def line_at(widget: Widget, sigma: float) -> float:
    """How far the line of this σ is from the plot's left side, once it is drawn, CSS pixels."""
    widget.wait_for_text(f"line at σ = {sigma:.1f}")
    dark = Picture(widget.root, PLOT).pixels().max(axis=2) < 130
    dark[:, :60] = False  # the axis and its numbers
    return float(dark.sum(axis=0).argmax())


def contrast(pixels: np.ndarray) -> float:
    """The mean step between horizontal neighbours: less where there is more blur."""
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


@pytest.mark.parametrize("method", ["Model 4", "Model 1"])
def test_a_method_unticked_is_gone_from_the_page(widget: Widget, method: str) -> None:
    (other,) = {"Model 1", "Model 4"} - {method}
    shades = {name: colour(widget, name) for name in (method, other)}
    assert min(ink(widget, shade) for shade in shades.values()) > 60, "no curve to begin with"
    box(widget, method).click()
    expect(widget.find(f"img[alt*='{method}']")).to_have_count(0)
    expect(widget.find("table tr").filter(has_text=method)).to_have_count(0)
    until(widget.page, lambda: ink(widget, shades[method]) < 5, "the curve is still there")
    assert ink(widget, shades[other]) > 60
    restored(widget, other, 2.4)
    box(widget, method).click()
    restored(widget, method, 2.4)
    until(widget.page, lambda: ink(widget, shades[method]) > 60, "the curve is not back")


def test_nothing_but_the_original_is_left_without_a_tick(widget: Widget) -> None:
    for method in METHODS:
        box(widget, method).focus()
        widget.page.keyboard.press("Space")
        expect(box(widget, method)).not_to_be_checked()
    expect(widget.find("img[alt^='the crop, ']")).to_have_count(1)
    expect(widget.find("img[alt^='the crop, HR']")).to_have_count(1)
    assert widget.alert() == ""
    box(widget, "bicubic").click()
    restored(widget, "bicubic", 2.4)


def test_keys_move_the_line_and_the_crops_follow(widget: Widget) -> None:
    sigma = widget.slider("σ, HR pixels")
    before = {method: restored(widget, method, 2.4).pixels() for method in METHODS}
    here = line_at(widget, 2.4)
    sigma.press("ArrowRight", times=9)
    for method in METHODS:
        assert np.abs(restored(widget, method, 3.3).pixels() - before[method]).max() > 2
    assert line_at(widget, 3.3) > here + 20
    sigma.press("Home")
    restored(widget, "Model 4", 0.0)
    sigma.press("End")
    restored(widget, "Model 4", 5.0)
    widget.wait_for_text("never seen in training")
    widget.screenshot("ablation-explorer-unseen")


def test_bicubic_answers_while_the_mouse_drags_and_the_models_afterwards(widget: Widget) -> None:
    sigma, page = widget.slider("σ, HR pixels"), widget.page
    crop = widget.image(BICUBIC).pixels()
    handle, track = sigma.handle.bounding_box(), sigma.track.bounding_box()
    assert handle is not None
    assert track is not None
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.3 * track["width"], y, steps=10)
    # The button is still down.
    blurred = restored(widget, "bicubic", sigma.value).pixels()
    held = sigma.value
    assert held > 3.4
    assert contrast(blurred) < 0.9 * contrast(crop)
    page.mouse.move(x - 0.3 * track["width"], y, steps=10)
    page.mouse.up()
    assert sigma.value < 1.4
    for method in METHODS:
        restored(widget, method, sigma.value)
    widget.wait_for_text(f"line at σ = {sigma.value:.1f}")
    assert contrast(widget.image(BICUBIC).pixels()) > 1.1 * contrast(blurred)


def test_a_slow_model_keeps_nobody_waiting_and_says_so(notebook: Lab, widget: Widget) -> None:
    before = restored(widget, "Model 4", 2.4).pixels()
    notebook.run_cell(SLOW)
    widget.slider("σ, HR pixels").press("ArrowRight")
    pale = widget.image("Model 4, σ = 2.5: σ = 2.4 until σ = 2.5 is done")
    expect(pale.locator).to_be_visible()
    restored(widget, "bicubic", 2.5)
    restored(widget, "Model 1", 2.5)
    assert contrast(pale.pixels()) < 0.7 * contrast(before), "the old crop looks like a new one"
    widget.wait_for_text("computing…")
    widget.screenshot("ablation-explorer-waiting")
    restored(widget, "Model 4", 2.5)
    assert contrast(widget.image("Model 4, σ = 2.5").pixels()) > 0.9 * contrast(before)


def test_a_model_that_fails_shows_it_and_the_others_go_on(notebook: Lab, widget: Widget) -> None:
    notebook.run_cell(BROKEN)
    sigma = widget.slider("σ, HR pixels")
    sigma.press("ArrowRight")
    widget.wait_for_alert("Model 4, σ = 2.5: no room for the features")
    restored(widget, "bicubic", 2.5)
    restored(widget, "Model 1", 2.5)
    widget.screenshot("ablation-explorer-fails")
    notebook.run_cell(SOUND)
    sigma.press("ArrowLeft")
    widget.wait_for_alert("")
    sigma.press("ArrowRight")
    restored(widget, "Model 4", 2.5)


def test_the_crop_is_taken_where_the_sliders_say(widget: Widget) -> None:
    original, whole = (
        widget.image("the crop, HR").pixels(),
        widget.image("whole; the crop").pixels(),
    )
    crops = {method: restored(widget, method, 2.4).pixels() for method in METHODS}
    widget.slider("crop, right").press("End")
    expect(widget.find("img[alt*='begins 48 from the left']")).to_be_visible()
    assert np.abs(widget.image("whole; the crop").pixels() - whole).max() > 60
    assert np.abs(widget.image("the crop, HR").pixels() - original).max() > 30
    for method, before in crops.items():
        assert np.abs(restored(widget, method, 2.4).pixels() - before).max() > 30


def test_another_picture_has_its_own_curves_and_crops(widget: Widget) -> None:
    options = widget.find("select option").all_inner_texts()
    original = widget.image("the crop, HR").pixels()
    widget.choose("picture", options[1])
    expect(widget.find(f"{PLOT}[alt*='{options[1]}']")).to_be_visible()
    for method in METHODS:
        restored(widget, method, 2.4)
    assert np.abs(widget.image("the crop, HR").pixels() - original).max() > 30
    for model in ("Model 1", "Model 4"):
        shade = colour(widget, model)
        until(widget.page, lambda shade=shade: ink(widget, shade) > 60, f"no curve of {model}")


def test_a_screen_reader_finds_names_for_all_it_meets(widget: Widget) -> None:
    for name in ("σ, HR pixels", "crop, right", "crop, down"):
        slider = widget.root.get_by_role("slider", name=name, exact=True)
        expect(slider.and_(widget.slider(name).handle)).to_have_count(1)
    for method in METHODS:
        expect(box(widget, method)).to_be_checked()
    assert widget.find("img:not([alt]), img[alt='']").count() == 0


def test_it_can_be_seen_in_the_dark_and_in_a_narrow_window(notebook: Lab, widget: Widget) -> None:
    number = widget.find("table td").nth(1)
    for theme in ("light", "dark"):
        notebook.theme(theme)
        paper, text = (
            np.mean([int(part) for part in re.findall(r"\d+", place.evaluate(look))[:3]])
            for place, look in (
                (notebook.page.locator("body"), "it => getComputedStyle(it).backgroundColor"),
                (number, "it => getComputedStyle(it).color"),
            )
        )
        assert (paper - text > 100) if theme == "light" else (text - paper > 100)
        assert min(ink(widget, colour(widget, m)) for m in ("Model 1", "Model 4")) > 60
        widget.screenshot(f"ablation-explorer-{theme}")
    notebook.theme("light")
    notebook.resize(800)
    widget.find(PLOT).scroll_into_view_if_needed()
    notebook.screenshot("ablation-explorer-narrow")
    right = "it => it.getBoundingClientRect().right"
    ends = widget.find("img").evaluate_all(f"all => all.map({right})")
    assert max(ends) < notebook.notebook.evaluate(right)
    notebook.resize(1400)


@pytest.mark.slow
def test_times_from_slider_to_pixels(notebook: Lab, timings: dict[str, list[float]]) -> None:
    """For the record, with pictures of 256×256: bicubic at once, the models when σ rests."""
    widget = explorer(notebook, USUAL)
    sigma = widget.slider("σ, HR pixels")
    followed = []
    for _ in range(4):
        sigma.press("ArrowRight")
        restored(widget, "Model 4", sigma.value)
        goal = round(sigma.value + 0.1, 1)
        done = f"img[alt*='Model 4, σ = {goal:.1f}: '][alt*='dB, crop']"
        picture = Picture(widget.root, done)
        followed.append(widget.latency(lambda: sigma.press("ArrowRight"), picture))
    timings["ablation explorer, σ, a key, Model 4"] = followed
    timings["ablation explorer, σ, a key, bicubic"] = [
        widget.latency(lambda: sigma.press("ArrowLeft"), BICUBIC) for _ in range(10)
    ]
    assert all(timings.values())
