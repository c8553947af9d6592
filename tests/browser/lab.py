"""The vocabulary of the browser tests: what a student does with a notebook, and what is then seen.

    def test_more_blur(lab: Lab) -> None:                # tests/browser/conftest.py makes the lab
        lab.open("01_degradation")                       # a notebook, by its name without .ipynb
        lab.run_all()                                    # Run > Run All Cells, until it is done
        widget = lab.widget("degradation_lab")           # what the cell with this code put out
        before = widget.image("the picture, blurred").pixels()   # an image, by part of its alt text
        widget.slider("σ, HR pixels").press("ArrowRight", times=5)
        after = widget.image("the picture, blurred").wait_for_change(before)
        widget.screenshot("more-blur")                   # build/browser/more-blur.png

Everything is done with the mouse and the keyboard, and everything is read off the page: `pixels()`
are the pixels of the screen, `value` is the number a slider shows. Nothing here knows the Python
behind a widget. Waiting is for a condition, never for a time; TIMEOUT is how long at most.

    lab.open(name)  run_all()  run_cell(code)  errors()  unexecuted()  pictures()  broken()
    lab.theme("dark")  resize(width)  menu(*path)  screenshot(name)
    lab.widget(code)    -> Widget
    lab.page            the Playwright page, for what has no word here
    widget.slider(label)    -> Slider:  value, drag(to), press(key, times), handle
    widget.image(alt)       -> Picture: pixels(), wait_for_change(before), alt, src
    widget.choose(label, option)    a drop-down list
    widget.click(text)              a button, one of several toggle buttons, a tick box
    widget.upload(button, name, content)
    widget.equation()  text()  alert()      what it says now
    widget.wait_for_equation(part)  wait_for_text(text)  wait_for_alert(text)
    widget.latency(act, picture)    seconds from the first event of act() to new pixels of a
                                    picture, or of the one with this in its alt text
    widget.find(css)                a Playwright locator inside the widget
    drag(page, handle, dx, dy)      any handle by so many pixels, a divider for example
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jupyterlab_process import ROOT, JupyterLab
from PIL import Image
from playwright.sync_api import Error, FilePayload, Locator, Page, expect

SCREENSHOTS = ROOT / "build" / "browser"
TIMEOUT = 20  # seconds for one thing to appear; a machine that trains at the same time is slow
RUN_TIMEOUT = 600  # seconds for a notebook in the smoke profile
PARAMETERS = "set DASR_PROFILE to choose"  # in each notebook's cell of parameters
INDICATOR = ".jp-Notebook-ExecutionIndicator"
# JupyterLab shows a traceback as it shows what a program wrote to stderr, but in colours.
ERROR = ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']:has(.ansi-red-fg)"

expect.set_options(timeout=TIMEOUT * 1000)

# Installed in the page: remembers the first key or mouse event, and when, after it, the picture
# that the selector finds became another one and was painted.
STOPWATCH = """([root, selector]) => {
  const seen = () => root.querySelector(selector)?.currentSrc;
  const watch = {before: seen(), start: null, milliseconds: null};
  const begin = event => { watch.start ??= event.timeStamp; };
  const kinds = ['keydown', 'pointerdown', 'pointermove'];
  kinds.forEach(kind => root.addEventListener(kind, begin, true));
  const observer = new MutationObserver(async () => {
    const image = root.querySelector(selector);
    if (watch.start === null || !image || image.src === watch.before) return;
    observer.disconnect();
    kinds.forEach(kind => root.removeEventListener(kind, begin, true));
    await image.decode().catch(() => {});
    // The task after a frame: by then the frame was painted.
    requestAnimationFrame(() => setTimeout(() => {
      watch.milliseconds = performance.now() - watch.start;
    }));
  });
  observer.observe(root, {childList: true, subtree: true, attributes: true});
  window.stopwatch = watch;
}"""


def until(
    page: Page, condition: Callable[[], Any], otherwise: str, seconds: float = TIMEOUT
) -> None:
    """Waits for a condition, while the page lives on; AssertionError if it never comes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{otherwise} within {seconds:g} s"
        page.wait_for_timeout(50)


def drag(page: Page, handle: Locator, dx: float, dy: float = 0, steps: int = 10) -> None:
    """The mouse takes a handle by its middle and carries it so many CSS pixels, in steps."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    assert box is not None, "the handle is not on the page"
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=steps)
    page.mouse.up()


class Slider:
    """A slider of ipywidgets: a label, a track with a handle, and the number it stands at."""

    def __init__(self, widget: Widget, root: Locator) -> None:
        self.widget, self.root = widget, root
        self.handle, self.track = root.locator(".noUi-handle"), root.locator(".noUi-target")

    @property
    def value(self) -> float:
        """The number shown beside the slider."""
        return float(self.root.locator(".widget-readout").inner_text())

    def drag(self, to: float, steps: int = 10) -> None:
        """Carries the handle with the mouse to a place on the track, from 0 (left) to 1 (right)."""
        self.track.scroll_into_view_if_needed()
        track, handle = self.track.bounding_box(), self.handle.bounding_box()
        assert track is not None
        assert handle is not None
        here = handle["x"] + handle["width"] / 2 - track["x"]
        drag(self.widget.page, self.handle, to * track["width"] - here, steps=steps)

    def press(self, key: str, times: int = 1) -> None:
        """Presses a key on the handle: ArrowRight, ArrowLeft, PageUp, Home, End, ..."""
        self.handle.focus()
        for _ in range(times):
            self.widget.page.keyboard.press(key)


class Picture:
    """An image on the page, found by a part of its alt text, whichever stands there now."""

    def __init__(self, root: Locator, selector: str) -> None:
        self.root, self.selector = root, selector
        self.locator = root.locator(selector).first

    @property
    def alt(self) -> str:
        """The whole alt text."""
        return self.locator.get_attribute("alt") or ""

    @property
    def src(self) -> str:
        """The address, for most widgets the picture itself."""
        return self.locator.get_attribute("src") or ""

    def pixels(self) -> np.ndarray:
        """What the screen shows where the picture is: (H, W, 3), 0 to 255.

        Two pixels less on each side: a border between two pixels is half the page's colour.
        """
        end = time.monotonic() + TIMEOUT
        while True:
            try:
                png = self.locator.screenshot()
                break
            except Error:  # the widget put another picture in its place just now
                if time.monotonic() > end:
                    raise
        with Image.open(io.BytesIO(png)) as shown:
            return np.asarray(shown.convert("RGB")).astype(np.int16)[2:-2, 2:-2]

    def wait_for_change(self, before: np.ndarray, seconds: float = TIMEOUT) -> np.ndarray:
        """The pixels, as soon as they are not those of before; AssertionError if they stay."""
        now = before

        def changed() -> bool:
            nonlocal now
            now = self.pixels()
            return now.shape != before.shape or bool(np.abs(now - before).max() > 2)

        until(self.root.page, changed, f"{self.selector} did not change", seconds)
        return now


class Widget:
    """What one cell put out: its controls by their labels, its pictures by their alt texts."""

    def __init__(self, root: Locator) -> None:
        self.root, self.page = root, root.page

    def find(self, selector: str) -> Locator:
        """Anything else in the widget, by a CSS selector."""
        return self.root.locator(selector)

    def _labelled(self, kind: str, label: str) -> Locator:
        text = self.page.locator(".widget-label", has_text=re.compile(f"^{re.escape(label)}$"))
        return self.root.locator(kind).filter(has=text).first

    def slider(self, label: str) -> Slider:
        """The slider with exactly this label."""
        return Slider(self, self._labelled(".widget-slider", label))

    def image(self, alt: str) -> Picture:
        """The first image whose alt text has this in it."""
        return Picture(self.root, f"img[alt*={json.dumps(alt, ensure_ascii=False)}]")

    def choose(self, label: str, option: str) -> None:
        """Takes an option of the drop-down list with this label."""
        self._labelled(".widget-dropdown", label).locator("select").select_option(option)

    def chosen(self, label: str) -> str:
        """The option that the drop-down list with this label shows."""
        select = self._labelled(".widget-dropdown", label).locator("select")
        return select.locator("option:checked").inner_text()

    def click(self, text: str) -> None:
        """Clicks a button, one of several toggle buttons, or the label of a tick box."""
        exact = re.compile(rf"^\s*{re.escape(text)}\s*$")
        self.root.locator("button, label").filter(has_text=exact).first.click()

    def upload(self, button: str, name: str, content: bytes, kind: str = "image/png") -> None:
        """Clicks the upload button, and chooses a file of this name and content in the dialog."""
        with self.page.expect_file_chooser() as chooser:
            self.root.locator("button", has_text=button).first.click()
        file: FilePayload = {"name": name, "mimeType": kind, "buffer": content}
        chooser.value.set_files(file)

    def text(self) -> str:
        """All the text that the widget shows."""
        return self.root.inner_text()

    def equation(self) -> str:
        """The typeset equation as its characters stand on the page, such as ILR=(IHR⊗kσ=2.0)↓4."""
        # MathJax draws glyphs by CSS; the same formula stands beside them as MathML, for screen
        # readers, and its text is what they read.
        formula = self.root.locator("mjx-container mjx-assistive-mml").first
        return re.sub(r"\s+", "", formula.text_content() or "")

    def wait_for_equation(self, part: str) -> None:
        """Until the typeset equation has this in it."""
        until(self.page, lambda: part in self.equation(), f"no {part} in the equation")

    def alert(self) -> str:
        """The error that the widget shows, or nothing."""
        alerts = self.root.get_by_role("alert")
        return alerts.first.inner_text() if alerts.count() else ""

    def wait_for_alert(self, text: str) -> None:
        """Until an error with this text shows; with an empty text, until no error does."""
        alert = self.root.get_by_role("alert")
        if text:
            expect(alert.filter(has_text=text).first).to_be_visible(timeout=TIMEOUT * 1000)
        else:
            expect(alert).to_have_count(0)

    def wait_for_text(self, text: str) -> None:
        """Until the widget shows this text."""
        expect(self.root).to_contain_text(text)

    def latency(self, act: Callable[[], Any], shown: str | Picture) -> float:
        """Seconds from the first key or mouse event of act() until a new image is painted.

        shown: the image, or a part of its alt text.
        """
        picture = self.image(shown) if isinstance(shown, str) else shown
        root = self.root.element_handle()
        self.page.evaluate(STOPWATCH, [root, picture.selector])
        act()
        self.page.wait_for_function(
            "window.stopwatch.milliseconds !== null", timeout=TIMEOUT * 1000
        )
        return self.page.evaluate("window.stopwatch.milliseconds") / 1000

    def screenshot(self, name: str) -> Path:
        """The widget as it stands, in build/browser/NAME.png."""
        self.root.scroll_into_view_if_needed()
        return saved(self.root, name)


def saved(what: Page | Locator, name: str) -> Path:
    """A screenshot of the page or a part of it, in build/browser/NAME.png."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    what.screenshot(path=path)
    return path


class Lab:
    """JupyterLab in a browser's page, and the notebook that is open in it."""

    def __init__(self, server: JupyterLab, page: Page) -> None:
        self.server, self.page = server, page
        page.set_default_timeout(TIMEOUT * 1000)

    def open(self, notebook: str) -> None:
        """Opens a notebook, by its name without .ipynb, with a fresh kernel that is ready."""
        self.server.end_kernels()
        path = f"lab/tree/notebooks/{notebook}.ipynb?reset&token={self.server.token}"
        self.page.goto(self.server.url + path)
        self.notebook = self.page.locator(".jp-NotebookPanel .jp-Notebook")
        expect(self.notebook).to_be_visible(timeout=3 * TIMEOUT * 1000)
        # The page calls a kernel idle that has not been started: ask the server as well.
        until(self.page, self.server.ready, "the kernel did not start", 3 * TIMEOUT)
        expect(self.page.locator(f"{INDICATOR}[data-status=idle]")).to_have_count(1)

    def menu(self, *path: str) -> None:
        """Clicks through the menu bar: menu("Run", "Run All Cells")."""
        top, *rest = path
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{top}$")).click()
        for entry in rest:
            item = self.page.locator(".lm-Menu-item", has_text=re.compile(f"^{re.escape(entry)}$"))
            item.first.click()

    def run_all(self, seconds: float = RUN_TIMEOUT) -> None:
        """Run > Run All Cells, until the kernel is idle and nothing is left to run.

        A cell that fails ends it as well: see errors() and unexecuted().
        """
        self.menu("Run", "Run All Cells")
        self._wait_for_the_run(seconds)

    def run_cell(self, code: str, seconds: float = RUN_TIMEOUT) -> None:
        """Clicks into the one cell whose code has this in it, and runs it with Ctrl+Enter."""
        cell = self._cell(code)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self._wait_for_the_run(seconds)

    def _wait_for_the_run(self, seconds: float) -> None:
        self.page.wait_for_function(
            """indicator => {
              const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
              const texts = prompts.map(prompt => prompt.textContent).join();
              const idle = document.querySelector(indicator)?.dataset.status === 'idle';
              return idle && /[0-9]/.test(texts) && !texts.includes('*');
            }""",
            arg=INDICATOR,
            timeout=seconds * 1000,
        )

    def errors(self) -> list[str]:
        """The text of every error output on the page."""
        return self.notebook.locator(ERROR).all_inner_texts()

    def unexecuted(self) -> list[str]:
        """The code of every code cell that has no execution count."""
        cells = self.notebook.locator(".jp-CodeCell").all()
        return [
            cell.locator(".cm-content").inner_text()
            for cell in cells
            if not re.search(r"\d", cell.locator(".jp-InputPrompt").inner_text())
        ]

    def pictures(self) -> int:
        """How many pictures stand on the page: images and canvases that have a size."""
        return self.notebook.locator("img, canvas").evaluate_all(
            """found => found.filter(it => it.clientWidth * it.clientHeight > 0 &&
                                           (it.naturalWidth ?? it.width) > 0).length"""
        )

    def broken(self) -> list[str]:
        """What is missing on the page: images that did not load, widgets without a view."""
        images = self.notebook.locator("img").evaluate_all(
            "all => all.filter(it => it.complete && !it.naturalWidth).map(it => it.src)"
        )
        views = self.notebook.get_by_text(re.compile("Error displaying widget|Loading widget"))
        return images + views.all_inner_texts()

    def _cell(self, code: str) -> Locator:
        source = self.page.locator(".jp-InputArea", has_text=code)
        cells = self.notebook.locator(".jp-CodeCell").filter(has=source)
        expect(cells).to_have_count(1)
        return cells

    def widget(self, code: str) -> Widget:
        """What the one cell whose code has this in it put out."""
        output = self._cell(code).locator(".jp-OutputArea").first
        view = output.locator(".jupyter-widgets").first
        expect(view).to_be_visible(timeout=TIMEOUT * 1000)
        view.scroll_into_view_if_needed()
        return Widget(output)

    def theme(self, name: str) -> None:
        """Settings > Theme > JupyterLab Dark or Light, and waits for it. name: light or dark."""
        light = "true" if name == "light" else "false"
        body = self.page.locator(f'body[data-jp-theme-light="{light}"]')
        if not body.count():
            paper = "() => getComputedStyle(document.body).getPropertyValue('--jp-layout-color1')"
            before = self.page.evaluate(paper)
            self.menu("Settings", "Theme", f"JupyterLab {name.capitalize()}")
            expect(body).to_have_count(1)
            # The mark on the body comes first, then the colours, and a frame later the pixels.
            until(self.page, lambda: self.page.evaluate(paper) != before, "the colours stayed")
            self.page.evaluate(
                "() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))"
            )

    def resize(self, width: int) -> None:
        """A window of this width, in CSS pixels."""
        self.page.set_viewport_size({"width": width, "height": 1000})

    def screenshot(self, name: str) -> Path:
        """The window as it stands, in build/browser/NAME.png."""
        return saved(self.page, name)
