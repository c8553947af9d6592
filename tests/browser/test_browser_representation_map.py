"""Notebook 02's representation map, with mouse and keyboard: where the point goes on the screen."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="Playwright is not installed")

from lab import PARAMETERS, Lab, Picture, Widget, until
from playwright.sync_api import Locator, expect

# What notebook 02 needs for its map: the samples, and squares of them. Nothing is trained.
CELLS = (PARAMETERS, "import inspect", "tiny = profile", "def squares(")
MAP = "widgets.representation_map("
DRAWING = ".dasr-map > svg"
STAR = ".dasr-map-yours path"
MARK = f"{DRAWING} .dasr-map-mark"
YOURS = "blurred with a round kernel"
CHOSEN = ", σ = "  # in the alt text of the chosen point's square, and of no other picture
ORANGE = (213, 94, 0)  # the star and its trail

# The middles of all marks on the screen, and what each is called.
MIDDLES = """marks => marks.map(mark => {
  const box = mark.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})"""


@pytest.fixture(scope="module")
def notebook(opened: Lab) -> Lab:
    opened.open("02_representation")
    for code in CELLS:
        opened.run_cell(code)
    return opened


@pytest.fixture
def widget(notebook: Lab) -> Widget:
    """The map, as the cell of notebook 02 has just put it on the page."""
    notebook.run_cell(MAP)
    shown = notebook.widget(MAP)
    expect(shown.find(STAR)).to_have_count(1)
    shown.find(DRAWING).scroll_into_view_if_needed()
    return shown


def middle(thing: Locator, within: Locator) -> np.ndarray:
    """Where the middle of a thing is, in CSS pixels from another's upper left corner."""
    box, frame = thing.bounding_box(), within.bounding_box()
    assert box is not None
    assert frame is not None
    return np.array(
        [box[at] - frame[at] + box[size] / 2 for at, size in (("x", "width"), ("y", "height"))]
    )


def star(widget: Widget, sigma: float) -> np.ndarray:
    """Where the star is once the picture beside the map is blurred with this width."""
    expect(widget.find(f"img[alt*='{YOURS} of width {sigma:.1f}']")).to_be_visible()
    return middle(widget.find(STAR), widget.find(DRAWING))


def marks(widget: Widget) -> np.ndarray:
    """The middles of all known points in the window, (N, 2)."""
    return np.array(widget.find(MARK).evaluate_all(MIDDLES))


def orange(widget: Widget) -> int:
    """How many pixels of the map are in the colour of the star and its trail."""
    pixels = Picture(widget.root, DRAWING).pixels()
    return int((np.abs(pixels - ORANGE).max(axis=2) < 60).sum())


def chosen(widget: Widget, text: str) -> np.ndarray:
    """The pixels of the chosen point's square, once its alt text is this."""
    picture = widget.image(CHOSEN)
    expect(picture.locator).to_have_attribute("alt", text)
    expect(widget.find(f"{MARK}[aria-selected=true]")).to_have_attribute("aria-label", text)
    return picture.pixels()


def lonely(widget: Widget) -> int:
    """The number of the mark that is farthest from all others: a click cannot mean another."""
    places = marks(widget)
    away = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(away, np.inf)
    return int(away.min(axis=1).argmax())


def contrast(pixels: np.ndarray) -> float:
    """The mean step between horizontal neighbours: less where there is more blur."""
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


def stripes(width: int) -> bytes:
    """A png of stripes, four pixels black and four white: every blur gives another picture."""
    picture = np.zeros((width, width, 3), np.uint8)
    picture[:, np.arange(width) % 8 < 4] = 255
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()


def grey(width: int) -> bytes:
    """A png of one grey."""
    file = io.BytesIO()
    Image.new("RGB", (width, width), (128, 128, 128)).save(file, "png")
    return file.getvalue()


def test_keys_move_the_point_and_it_leaves_a_trail(widget: Widget) -> None:
    sigma = widget.slider("σ, HR pixels")
    start, alone = star(widget, 2.0), orange(widget)
    sigma.press("ArrowRight", times=15)
    more = star(widget, 3.5)
    assert more[0] > start[0] + 10, "more blur lies to the right"
    assert orange(widget) > alone + 20, "the trail has no colour of its own on the map"
    sigma.press("Home")
    assert star(widget, 0.0)[0] < start[0] - 10
    widget.screenshot("representation-map-trail")


def test_the_mouse_drags_the_point(widget: Widget) -> None:
    sigma = widget.slider("σ, HR pixels")
    said = widget.text()
    sigma.drag(to=0.02)
    little = star(widget, sigma.value)
    assert sigma.value < 0.5
    sigma.drag(to=0.8)
    much = star(widget, sigma.value)
    assert sigma.value > 3.5
    assert much[0] > little[0] + 20
    until(widget.page, lambda: widget.text() != said, "the words below the map did not change")


def test_a_click_shows_the_square_of_a_point(widget: Widget) -> None:
    drawing = Picture(widget.root, DRAWING)
    before, number = drawing.pixels(), lonely(widget)
    expect(widget.find(f"img[alt*='{CHOSEN}']")).to_have_count(0)
    widget.page.mouse.click(*marks(widget)[number])
    mark = widget.find(f"{MARK}[data-index='{number}']")
    chosen(widget, mark.get_attribute("aria-label") or "")
    # Its outline is another one; the screen's picture begins two pixels inside the map.
    x, y = (int(at) - 2 for at in middle(mark, widget.find(DRAWING)))
    changed = np.abs(drawing.wait_for_change(before) - before).max(axis=2) > 30
    assert changed[y - 9 : y + 10, x - 9 : x + 10].sum() > 20
    widget.screenshot("representation-map")


def test_a_click_beside_all_points_chooses_none(widget: Widget) -> None:
    box = widget.find(DRAWING).bounding_box()
    assert box is not None
    corners = [(box["x"] + x, box["y"] + y) for x in (4, box["width"] - 4) for y in (4, 20)]
    free = [np.linalg.norm(marks(widget) - corner, axis=1).min() for corner in corners]
    widget.page.mouse.click(*corners[int(np.argmax(free))])
    widget.slider("σ, HR pixels").press("ArrowRight")
    star(widget, 2.1)  # an answer to the click would have come before
    expect(widget.find(f"img[alt*='{CHOSEN}']")).to_have_count(0)


def test_arrow_keys_walk_through_the_points(widget: Widget) -> None:
    names = widget.find(MARK).evaluate_all("all => all.map(it => it.ariaLabel)")
    widths = widget.find(".dasr-map-legend > span").count()
    widget.find(DRAWING).focus()
    press = widget.page.keyboard.press
    press("ArrowRight")
    sharp = chosen(widget, names[0])
    for number in range(1, widths):
        press("ArrowRight")
        blurred = chosen(widget, names[number])
    assert names[0].split(",")[0] == names[widths - 1].split(",")[0]
    assert contrast(blurred) < 0.7 * contrast(sharp), "the same square under the widest kernel"
    for key, number in (
        ("ArrowDown", 2 * widths - 1), ("ArrowUp", widths - 1), ("ArrowLeft", widths - 2),
        ("End", len(names) - 1), ("ArrowRight", len(names) - 1), ("Home", 0),
    ):  # fmt: skip
        press(key)
        chosen(widget, names[number])
    # What a screen reader says: the focus is on the map, and there on this point.
    active = "it => document.getElementById(it.getAttribute('aria-activedescendant'))?.ariaLabel"
    assert widget.find(DRAWING).evaluate(active) == names[0]
    expect(widget.find(DRAWING)).to_be_focused()


def test_tsne_is_another_map_and_pca_comes_back(widget: Widget) -> None:
    def layout() -> np.ndarray:
        box = widget.find(DRAWING).bounding_box()
        assert box is not None
        return marks(widget) - (box["x"], box["y"])

    pca, here = layout(), star(widget, 2.0)
    widget.wait_for_text("first component")
    widget.click("t-SNE")
    widget.wait_for_text("t-SNE has no exact place for a new point")
    expect(widget.root).not_to_contain_text("first component")
    until(widget.page, lambda: np.abs(layout() - pca).max() > 20, "no mark has moved")
    assert np.abs(star(widget, 2.0) - here).max() > 2
    widget.screenshot("representation-map-tsne")
    widget.click("PCA")
    widget.wait_for_text("first component")
    until(widget.page, lambda: np.abs(layout() - pca).max() < 1, "the marks are not back")
    assert np.abs(star(widget, 2.0) - here).max() < 1


def test_an_uploaded_picture_takes_its_place(widget: Widget) -> None:
    here = star(widget, 2.0)
    widget.upload("your own", "fog.png", grey(160))
    expect(widget.find("img[alt^='fog.png, blurred']")).to_be_visible()
    assert widget.chosen("picture") == "fog.png"
    assert np.ptp(widget.image("fog.png, blurred").pixels()) < 4
    assert np.abs(star(widget, 2.0) - here).max() > 5


def test_what_is_no_picture_is_refused_on_the_page(widget: Widget) -> None:
    widget.upload("your own", "letter.png", b"Dear network,")
    widget.wait_for_alert("letter.png cannot be read as a picture")
    widget.screenshot("representation-map-refuses")
    widget.slider("σ, HR pixels").press("ArrowRight")
    widget.wait_for_alert("")
    widget.upload("your own", "stamp.png", grey(8))
    widget.wait_for_alert("8×8 is too small for a 21×21 kernel")


def test_a_screen_reader_finds_names_for_all_it_meets(widget: Widget) -> None:
    widget.find(DRAWING).focus()
    widget.page.keyboard.press("Home")
    expect(widget.image(CHOSEN).locator).to_be_visible()
    for name in ("σ, HR pixels", "noise, of 255"):
        slider = widget.root.get_by_role("slider", name=name, exact=True)
        expect(slider.and_(widget.slider(name).handle)).to_have_count(1)
    expect(widget.root.get_by_role("listbox", name="map of known pictures")).to_have_count(1)
    unnamed = widget.find("img:not([alt]), img[alt=''], [role=option]:not([aria-label])")
    assert unnamed.count() == 0


def test_it_can_be_seen_in_the_dark_and_in_a_narrow_window(notebook: Lab, widget: Widget) -> None:
    widget.find(DRAWING).focus()
    widget.page.keyboard.press("Home")
    widget.slider("σ, HR pixels").press("ArrowRight", times=5)
    star(widget, 2.5)
    paper, marked = {}, {}
    for theme in ("light", "dark"):
        notebook.theme(theme)
        pixels = Picture(widget.root, DRAWING).pixels()
        paper[theme] = np.median(pixels)
        marked[theme] = (np.abs(pixels - paper[theme]).max(axis=2) > 100).mean()
        widget.screenshot(f"representation-map-{theme}")
    assert paper["light"] > 200
    assert paper["dark"] < 60
    assert min(marked.values()) > 0.005, "hardly anything stands out from the paper"
    notebook.theme("light")
    notebook.resize(800)
    widget.find(DRAWING).scroll_into_view_if_needed()
    notebook.screenshot("representation-map-narrow")
    room = notebook.notebook.evaluate("it => it.clientWidth")
    wide = widget.find(f"{DRAWING}, img").evaluate_all("all => all.map(it => it.clientWidth)")
    assert max(wide) < room
    notebook.resize(1400)


@pytest.mark.slow
def test_times_from_slider_to_pixels(widget: Widget, timings: dict[str, list[float]]) -> None:
    """For the record, with a picture of 256×256: it is sent after the star, and ends the time."""
    widget.upload("your own", "stripes.png", stripes(256))
    expect(widget.find("img[alt^='stripes.png, blurred']")).to_be_visible()
    for name in ("σ, HR pixels", "noise, of 255"):
        slider = widget.slider(name)
        timings[f"representation map, {name.split(',')[0]}, a key"] = [
            widget.latency(lambda slider=slider: slider.press("ArrowRight"), YOURS)
            for _ in range(10)
        ]
    widget.find(DRAWING).focus()
    timings["representation map, a point by key"] = [
        widget.latency(lambda: widget.page.keyboard.press("ArrowRight"), CHOSEN) for _ in range(10)
    ]
    assert all(timings.values())
