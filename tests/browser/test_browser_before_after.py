"""Notebook 00's before and after: the divider, the zoom and the upload, by mouse and keyboard."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="Playwright is not installed")

from lab import PARAMETERS, Lab, Picture, Widget, drag, until
from playwright.sync_api import FilePayload, Locator, expect

HANDLE = 24  # CSS pixels on each side of the divider that its handle and its focus ring can cover
LONG = 120_000  # milliseconds for an upscaling, on a machine that trains at the same time

# Installed in the page: remembers when, after the first key or mouse event, the canvas had other
# pixels than before.
STOPWATCH = """view => {
  const canvas = view.querySelector('canvas');
  const small = new OffscreenCanvas(64, 64).getContext('2d', {willReadFrequently: true});
  const seen = () => {
    small.clearRect(0, 0, 64, 64);
    small.drawImage(canvas, 0, 0, 64, 64);
    return small.getImageData(0, 0, 64, 64).data.join();
  };
  const watch = {before: seen(), start: null, milliseconds: null};
  const begin = event => { watch.start ??= event.timeStamp; };
  const kinds = ['keydown', 'pointermove'];
  kinds.forEach(kind => view.addEventListener(kind, begin, true));
  const frame = () => {
    if (watch.start === null || seen() === watch.before) return requestAnimationFrame(frame);
    watch.milliseconds = performance.now() - watch.start;
    kinds.forEach(kind => view.removeEventListener(kind, begin, true));
  };
  requestAnimationFrame(frame);
  window.canvasStopwatch = watch;
}"""


def stripes(width: int = 96, height: int = 64) -> bytes:
    """A png by rule: lying stripes of eight pixels, dark blue and yellow."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:] = np.where(np.arange(height)[:, None, None] // 8 % 2, (250, 210, 40), (10, 30, 90))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()


def borders(column: np.ndarray) -> np.ndarray:
    """The rows between the stripes, of pixels (H, W, 3) cut out of the middle of a side."""
    light = column[..., 0].mean(axis=1) > 130
    return np.diff(light.astype(int)).nonzero()[0]


def brightness(colour: str) -> float:
    """The mean of a CSS colour's red, green and blue, 0 to 255."""
    return float(np.mean([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]))


class BeforeAfter:
    """The widget's words: what it says, what its canvas shows, and where the divider stands."""

    def __init__(self, widget: Widget) -> None:
        self.widget, self.page = widget, widget.page
        self.canvas = Picture(widget.root, ".dasr-ba-view canvas")
        self.divider = widget.find(".dasr-ba [role=slider]")
        self.stage = widget.find(".dasr-ba-stage-text")
        self.bar = widget.find(".dasr-ba progress")

    def button(self, name: str) -> Locator:
        """A button by the name that a screen reader says."""
        return self.widget.root.get_by_role("button", name=name, exact=True)

    def upload(self, name: str, content: bytes) -> None:
        """Clicks "your own picture …", and chooses a file of this content in the dialog."""
        with self.page.expect_file_chooser() as chooser:
            self.widget.find(".dasr-ba-upload").click()
        file: FilePayload = {"name": name, "mimeType": "image/png", "buffer": content}
        chooser.value.set_files(file)

    def press(self, key: str, times: int = 1) -> None:
        """Presses a key on the divider."""
        self.divider.focus()
        for _ in range(times):
            self.page.keyboard.press(key)

    def place(self) -> int:
        """Where the divider stands on the screen: a column of the canvas's pixels."""
        handle, canvas = self.divider.bounding_box(), self.canvas.locator.bounding_box()
        assert handle is not None
        assert canvas is not None
        return round(handle["x"] + handle["width"] / 2 - canvas["x"]) - 2

    def finish(self, picture: str, size: str) -> None:
        """Until this picture is finished, and no part of it waits in the dark any more."""
        label = re.compile(f"^{re.escape(picture)}, upscaled to {size} pixels")
        expect(self.canvas.locator).to_have_attribute("aria-label", label, timeout=LONG)
        expect(self.stage).to_have_text("finished", timeout=LONG)
        assert self.bar.evaluate("it => it.value") == 1
        until(self.page, lambda: not self._dark(), "the right side stayed dark")

    def _dark(self) -> bool:
        bicubic, dasr = self.sides()
        return float(dasr.mean()) < bicubic.mean() - 10

    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """The pixels with the divider at the right end, and at the left; then it is halfway."""
        self.press("End")
        bicubic = self.canvas.pixels()
        self.press("Home")
        dasr = self.canvas.pixels()
        self.press("PageUp", times=5)
        return bicubic, dasr

    def latency(self, act: Callable[[], None]) -> float:
        """Seconds from the first event of act() to the first new pixels."""
        self.widget.find(".dasr-ba-view").evaluate(STOPWATCH)
        act()
        self.page.wait_for_function("window.canvasStopwatch.milliseconds !== null")
        return self.page.evaluate("window.canvasStopwatch.milliseconds") / 1000


@pytest.fixture(scope="module")
def notebook(opened: Lab) -> Lab:
    opened.open("00_quickstart")
    for code in (
        PARAMETERS,
        "import matplotlib.pyplot",
        "photo = dict(data.images",
        "model = weights.load(",
    ):
        opened.run_cell(code)
    return opened


@pytest.fixture
def shown(notebook: Lab) -> BeforeAfter:
    """The widget, as the cell of notebook 00 has just put it on the page, with its first picture
    finished."""
    notebook.run_cell("widgets.before_after(")
    shown = BeforeAfter(notebook.widget("widgets.before_after("))
    shown.finish("motorcycle", "256 by 256")
    return shown


def beside(pixels: np.ndarray) -> np.ndarray:
    """The pixels without those of the divider in the middle, which has a ring when it has focus."""
    middle = pixels.shape[1] // 2
    return np.delete(pixels, np.s_[middle - HANDLE : middle + HANDLE], axis=1)


def same(these: np.ndarray, those: np.ndarray) -> bool:
    """As good as the same pixels: cut at another place, a picture is scaled a little otherwise."""
    return bool(np.abs(these - those).max() <= 10)


def test_the_mouse_drags_the_divider(shown: BeforeAfter) -> None:
    bicubic, dasr = shown.sides()
    middle = bicubic.shape[1] // 2
    seen = []
    for dx in (-150, 300):
        drag(shown.page, shown.divider, dx)
        x, pixels = shown.place(), shown.canvas.pixels()
        assert same(pixels[:, : x - HANDLE], bicubic[:, : x - HANDLE])
        assert same(pixels[:, x + HANDLE :], dasr[:, x + HANDLE :])
        seen.append((x, pixels))
    (left, before), (right, after) = seen
    assert left == pytest.approx(middle - 150, abs=3)
    assert right == pytest.approx(middle + 150, abs=3)
    uncovered = slice(left + HANDLE, right - HANDLE)
    assert np.abs(after - before)[:, uncovered].mean() > 1
    percent = round(100 * right / bicubic.shape[1])
    assert abs(int(shown.divider.get_attribute("aria-valuenow") or 0) - percent) <= 1
    shown.widget.screenshot("before-after")


def test_the_keyboard_moves_the_divider(shown: BeforeAfter) -> None:
    bicubic, dasr = shown.sides()
    expect(shown.divider).to_have_attribute("aria-valuetext", "50 % bicubic, 50 % DASR")
    before, start = shown.canvas.pixels(), shown.place()
    shown.press("ArrowRight", times=5)
    expect(shown.divider).to_have_attribute("aria-valuenow", "60")
    after, end = shown.canvas.pixels(), shown.place()
    assert end - start == pytest.approx(bicubic.shape[1] / 10, abs=3)
    assert same(after[:, : start - HANDLE], before[:, : start - HANDLE])
    assert same(after[:, end + HANDLE :], before[:, end + HANDLE :])
    uncovered = slice(start + HANDLE, end - HANDLE)
    assert same(before[:, uncovered], dasr[:, uncovered])
    assert same(after[:, uncovered], bicubic[:, uncovered])
    assert not same(after[:, uncovered], before[:, uncovered])


def test_both_sides_zoom_together(shown: BeforeAfter) -> None:
    shown.upload("stripes.png", stripes())
    shown.finish("stripes.png", "384 by 256")
    zoom = shown.widget.find(".dasr-ba output")

    def measured() -> list[np.ndarray]:
        pixels = shown.canvas.pixels()[8:-8]
        quarter = pixels.shape[1] // 20  # 5 % of the width, in the middle of each side of it
        middle = pixels.shape[1] // 2
        return [
            borders(pixels[:, middle + at : middle + at + quarter])
            for at in (-4 * quarter, 3 * quarter)
        ]

    whole, percent = measured(), zoom.inner_text()
    shown.canvas.locator.focus()
    shown.page.keyboard.press("+")
    expect(zoom).not_to_have_text(percent)
    closer = measured()
    for side, closer_side in zip(whole, closer, strict=True):
        assert np.diff(closer_side).mean() == pytest.approx(1.5 * np.diff(side).mean(), rel=0.03)
    assert np.abs(closer[0] - closer[1]).max() <= 4
    shown.widget.screenshot("before-after-zoom")
    shown.button("zoom out").click()
    expect(zoom).to_have_text(percent)
    assert [len(side) for side in measured()] == [len(side) for side in whole]
    shown.button("zoom in").click()
    expect(zoom).not_to_have_text(percent)
    shown.canvas.locator.focus()
    shown.page.keyboard.press("0")
    expect(zoom).to_have_text(percent)


def test_an_uploaded_picture_is_upscaled(shown: BeforeAfter) -> None:
    before = shown.canvas.pixels()
    shown.upload("stripes.png", stripes())
    shown.finish("stripes.png", "384 by 256")
    choice = shown.widget.find(".dasr-ba select")
    assert choice.locator("option:checked").inner_text() == "stripes.png"
    middle = before.shape[1] // 2
    for picture in shown.sides():
        rows = picture[8:-8, middle - 100 : middle + 100]
        assert len(borders(rows)) == 7
        light = rows[rows[..., 0] > 200]
        assert np.abs(light.mean(0) - (250, 210, 40)).max() < 10
    choice.select_option("motorcycle")
    shown.finish("motorcycle", "256 by 256")
    assert same(shown.canvas.pixels()[:, : middle - HANDLE], before[:, : middle - HANDLE])


def test_a_larger_upload_can_be_cancelled_and_started_again(shown: BeforeAfter) -> None:
    expect(shown.button("cancel the upscaling")).to_be_hidden()
    shown.upload("large.png", stripes(700, 500))
    label = re.compile("^large.png, upscaled to 2800 by 2000 pixels")
    expect(shown.canvas.locator).to_have_attribute("aria-label", label, timeout=LONG)
    expect(shown.stage).to_have_text(re.compile(r"^upscaling.*\d+ %"), timeout=LONG)
    shown.button("cancel the upscaling").click()
    expect(shown.stage).to_have_text("cancelled")
    expect(shown.button("cancel the upscaling")).to_be_hidden()
    assert 0 < shown.bar.evaluate("it => it.value") < 1
    shown.widget.screenshot("before-after-cancelled")
    bicubic, dasr = shown.sides()
    middle = slice(bicubic.shape[1] // 2 - 100, bicubic.shape[1] // 2 + 100)
    # Nothing more is upscaled: what was not reached waits in the dark.
    assert dasr[-60:, middle].mean() < 0.7 * bicubic[-60:, middle].mean()
    shown.button("start the upscaling again").click()
    expect(shown.stage).to_have_text(re.compile(r"%\)$"))
    shown.button("cancel the upscaling").click()
    expect(shown.stage).to_have_text("cancelled")


def test_what_is_no_picture_is_refused_on_the_page(shown: BeforeAfter) -> None:
    before = shown.canvas.pixels()
    shown.upload("letter.png", b"Dear network,")
    shown.widget.wait_for_alert("letter.png cannot be read as a picture")
    expect(shown.stage).to_have_text("finished")
    shown.widget.screenshot("before-after-refuses")
    assert same(beside(shown.canvas.pixels()), beside(before))
    shown.upload("stripes.png", stripes())
    shown.finish("stripes.png", "384 by 256")
    shown.widget.wait_for_alert("")


def test_a_screen_reader_finds_names_for_all_it_meets(shown: BeforeAfter) -> None:
    root = shown.widget.root
    name = "divider between bicubic and DASR"
    expect(root.get_by_role("slider", name=name, exact=True)).to_have_count(1)
    expect(root.get_by_role("img", name=re.compile("^motorcycle, upscaled"))).to_have_count(1)
    expect(root.get_by_role("progressbar", name="upscaling")).to_have_count(1)
    expect(root.get_by_role("combobox", name=re.compile("picture"))).to_have_count(1)
    for name in ("zoom in", "zoom out", "the whole picture"):
        expect(shown.button(name)).to_have_count(1)


def test_it_can_be_seen_in_the_dark(notebook: Lab, shown: BeforeAfter) -> None:
    colours = {}
    colour = "it => getComputedStyle(it)."
    for theme in ("light", "dark"):
        notebook.theme(theme)
        paper = notebook.page.locator("body").evaluate(f"{colour}backgroundColor")
        colours[theme] = brightness(shown.stage.evaluate(f"{colour}color")), brightness(paper)
        shown.widget.screenshot(f"before-after-{theme}")
    notebook.theme("light")
    assert colours["light"][0] < colours["light"][1] - 100
    assert colours["dark"][0] > colours["dark"][1] + 100


def test_times_from_key_and_mouse_to_pixels(
    shown: BeforeAfter, timings: dict[str, list[float]]
) -> None:
    """For the record: no time is asserted, but that there is an answer to every move."""
    timings["before and after, divider, a key"] = [
        shown.latency(lambda: shown.press("ArrowRight")) for _ in range(5)
    ]
    timings["before and after, divider, the mouse"] = [
        shown.latency(lambda: drag(shown.page, shown.divider, -20)) for _ in range(5)
    ]
    shown.canvas.locator.focus()
    timings["before and after, zoom, a key"] = [
        shown.latency(lambda: shown.page.keyboard.press("+")) for _ in range(4)
    ]
    assert all(timings.values())
