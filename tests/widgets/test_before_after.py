"""§4.4's divider: what the browser is sent is the right part of the upscaled picture; it can be
cancelled, and what goes wrong shows."""

from __future__ import annotations

import asyncio
import base64
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from smooth_pictures import picture, pixels
from waiting import until

from dasrlib import data, inference, widgets
from dasrlib.degradation import quantise, resize_bicubic
from dasrlib.network import BlindSR, build
from dasrlib.widgets.base.interactive_figure import WORKER
from dasrlib.widgets.divider import upscale_job
from dasrlib.widgets.divider import widget as module
from dasrlib.widgets.divider.pyramid import ImagePyramid, reduced

TILE = 32


@pytest.fixture
def model() -> BlindSR:
    torch.manual_seed(1)
    return build("model4", 4, "smoke").eval()


class Browser:
    """A front end without a screen: it opens a view and keeps what it is sent."""

    def __init__(self, frame: widgets.BeforeAfter) -> None:
        self.frame, self.windows, self.stages, self.kinds = frame, [], [], []
        frame.viewer.send = self.hear
        frame.viewer.observe(lambda change: self.stages.append(change.new), names="progress")

    def hear(self, message: dict, buffers: list | None = None) -> None:
        self.kinds.append(message["kind"])
        if message["kind"] == "window":
            images = [np.asarray(Image.open(io.BytesIO(part))) for part in buffers]
            self.windows.append((message, *images))

    def tell(self, kind: str, *buffers: bytes, **message) -> None:
        self.frame._on_message(self.frame.viewer, {"kind": kind, **message}, list(buffers))

    def open(self) -> None:
        self.tell("hello", view="a")
        self.wait()

    def wait(self) -> None:
        if self.frame.job is not None:
            self.frame.job.thread.join(60)
            assert not self.frame.job.thread.is_alive()

    def look(self, top: int, left: int, bottom: int, right: int, width: int, view: str = "a"):
        box = {"top": top, "left": left, "bottom": bottom, "right": right, "pixels": width}
        self.tell("look", view=view, box=box, once=False)
        return self.windows[-1]

    def upload(self, name: str, content: bytes, part: int = 1000) -> None:
        for offset in range(0, max(1, len(content)), part):
            piece = content[offset : offset + part]
            self.tell("upload", piece, name=name, size=len(content), offset=offset)
        self.wait()


@pytest.fixture
def browser(model, monkeypatch, tmp_path) -> Browser:
    monkeypatch.setattr(module, "TILE", TILE)
    monkeypatch.chdir(tmp_path)
    pictures = [("one", picture(50, 70)), ("two", picture(40, 33, seed=1))]
    return Browser(widgets.before_after(pictures, model))


# What is seen


def test_the_picture_is_that_of_upscale_in_tiles(browser, model):
    browser.open()
    expected = pixels(inference.upscale(picture(50, 70), model, tile=TILE))
    assert np.array_equal(browser.frame.job.sr.sizes[1], expected)
    assert browser.frame.viewer.picture["width"] == 280
    assert browser.frame.viewer.picture["height"] == 200


@pytest.mark.parametrize(
    ("part", "width"),
    [((20, 30, 90, 131), 101), ((0, 0, 200, 280), 280), ((20, 30, 90, 131), 40),
     ((0, 0, 200, 280), 50), ((0, 0, 200, 280), 17)],
)  # fmt: skip
def test_a_window_is_that_part_at_the_resolution_of_the_screen(browser, model, part, width):
    browser.open()
    message, before, after = browser.look(*part, width)
    top, left, bottom, right = message["box"]
    assert top <= part[0]
    assert left <= part[1]
    assert bottom >= part[2]
    assert right >= part[3]
    factor = browser.frame.job.sr.factor((part[3] - part[1]) / width)
    assert factor == 1 or width <= before.shape[1] <= 2 * width + 2
    lr = picture(50, 70)
    wholes = (resize_bicubic(lr[None], 4)[0], inference.upscale(lr, model, tile=TILE))
    for whole, seen in zip(wholes, (before, after), strict=True):
        expected = reduced(pixels(quantise(whole))[top:bottom, left:right], factor)
        assert seen.shape == expected.shape
        # Pillow rounds between the rows and the columns, and a level is the mean of rounded ones.
        assert np.abs(seen.astype(int) - expected).max() <= 2


def test_what_is_sent_does_not_grow_with_the_picture(browser):
    browser.open()
    wide = browser.look(0, 0, 200, 280, 60)
    near = browser.look(0, 0, 43, 60, 60)
    for _, before, after in (wide, near):
        assert before.shape == after.shape
        assert before.shape[1] <= 2 * 60


# While it runs


class Gate:
    """Lets a job take so many steps, then holds it until `go_on` is set."""

    def __init__(self, monkeypatch, steps: int) -> None:
        self.left, self.held, self.go_on = steps, threading.Event(), threading.Event()
        self.taken = 0
        upscale_tiles = inference.upscale_tiles

        def counted(*arguments):
            for step in upscale_tiles(*arguments):
                if self.taken == self.left:
                    self.held.set()
                    assert self.go_on.wait(60)
                self.taken += 1
                yield step

        monkeypatch.setattr(inference, "upscale_tiles", counted)


def test_progress_only_grows_and_ends_at_one(browser):
    browser.open()
    assert browser.stages == sorted(browser.stages)
    assert len(browser.stages) >= 6
    assert browser.stages[-1] == 1.0
    assert browser.frame.viewer.finished


def test_tiles_appear_as_they_are_done_and_cancel_stops_at_the_next(browser, monkeypatch, model):
    expected = pixels(inference.upscale(picture(50, 70), model, tile=TILE))
    gate = Gate(monkeypatch, 8)  # six tiles: all are read, two upscaled
    browser.tell("hello", view="a")
    assert gate.held.wait(60)
    _, before, after = browser.look(0, 0, 200, 280, 280)
    done = browser.frame.job.done
    assert done.sum() == 2
    shown = np.repeat(np.repeat(done, 128, 0), 128, 1)[:200, :280]
    assert np.array_equal(after[shown], expected[shown])
    assert np.array_equal(after[~shown], before[~shown] // 2)

    browser.tell("cancel")
    gate.go_on.set()
    browser.wait()
    assert gate.taken == 9  # the tile it was at, and no other
    assert browser.frame.viewer.stage == "cancelled"
    assert not browser.frame.viewer.running
    assert not browser.frame.viewer.finished
    assert browser.frame.job.done.sum() == 2


def test_after_a_cancel_it_can_start_again(browser, monkeypatch):
    with monkeypatch.context() as patch:
        gate = Gate(patch, 7)
        browser.tell("hello", view="a")
        assert gate.held.wait(60)
        browser.tell("cancel")
        gate.go_on.set()
        browser.wait()
    browser.tell("choose", name=browser.frame.viewer.picture["name"])
    browser.wait()
    assert browser.frame.viewer.finished


def test_what_is_looked_at_is_upscaled_first(browser, monkeypatch):
    gate = Gate(monkeypatch, 6)  # all read, none upscaled
    browser.tell("hello", view="a")
    assert gate.held.wait(60)
    browser.look(150, 240, 200, 280, 40)  # the last corner
    order = []
    put = ImagePyramid.put
    monkeypatch.setattr(
        ImagePyramid, "put", lambda self, y, x, part: (order.append((y, x)), put(self, y, x, part))
    )
    gate.go_on.set()
    browser.wait()
    # The first tile was chosen before anybody looked.
    assert order[1] == (128, 256)


def test_with_two_views_it_follows_the_one_that_moved_last(browser):
    browser.open()
    browser.look(0, 0, 40, 40, 40, view="a")
    browser.look(150, 240, 200, 280, 40, view="b")
    assert browser.frame._wanted() == (350 / 8, 520 / 8)
    browser.look(0, 0, 40, 60, 40, view="a")
    assert browser.frame._wanted() == (40 / 8, 60 / 8)


def test_what_goes_wrong_with_a_new_tile_shows(browser, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no more memory")

    async def session() -> None:
        browser.tell("hello", view="a")
        await until(lambda: gate.held.is_set() and browser.frame.job)
        browser.look(0, 0, 200, 280, 280)
        monkeypatch.setattr(module, "encode_png_or_jpeg", broken)
        gate.go_on.set()
        await until(lambda: "no more memory" in browser.frame.status.value)
        await until(lambda: browser.frame.viewer.finished)

    gate = Gate(monkeypatch, 6)  # all read, none upscaled
    asyncio.run(session())


def test_with_the_last_view_the_work_ends(browser, monkeypatch):
    gate = Gate(monkeypatch, 2)
    browser.tell("hello", view="a")
    browser.tell("hello", view="b")
    assert gate.held.wait(60)
    browser.tell("gone", view="b")
    assert not browser.frame.job.cancelled
    browser.tell("gone", view="a")
    gate.go_on.set()
    browser.wait()
    assert gate.taken == 3


def test_another_picture_takes_its_place(browser):
    browser.open()
    browser.look(0, 0, 200, 280, 280)
    browser.tell("choose", name="two")
    browser.wait()
    assert browser.frame.viewer.picture["name"] == "two"
    message, before, _ = browser.look(0, 0, 160, 132, 132)
    assert message["box"] == [0, 0, 160, 132]
    assert before.shape == (160, 132, 3)


# Files


def png_file(h: int, w: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(picture(h, w, seed=2))).save(file, "PNG")
    return file.getvalue()


def test_an_upload_in_parts_is_upscaled(browser, model):
    browser.open()
    browser.upload("mine.png", png_file(20, 30))
    assert browser.kinds.count("received") > 1
    assert browser.frame.viewer.picture["name"] == "mine.png"
    assert browser.frame.viewer.names == ["one", "two", "mine.png"]
    expected = pixels(inference.upscale(picture(20, 30, seed=2), model))
    assert np.array_equal(browser.frame.job.sr.sizes[1], expected)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"Dear reader,", "mine.png cannot be read as a picture"),
        (b"", "mine.png cannot be read as a picture"),
        (png_file(2, 9), "a picture of 2×9 is too small"),
    ],
    ids=["letter", "empty", "small"],
)
def test_what_cannot_be_upscaled_shows_and_the_picture_before_it_stays(browser, content, sentence):
    browser.open()
    browser.upload("mine.png", content)
    assert sentence in browser.frame.status.value
    assert 'role="alert"' in browser.frame.status.value
    assert browser.frame.viewer.picture["name"] == "one"
    assert browser.frame.viewer.finished
    browser.look(0, 0, 200, 280, 280)
    browser.tell("choose", name="two")
    browser.wait()
    assert browser.frame.status.value == ""


def test_what_does_not_fit_into_memory_is_refused(browser, monkeypatch):
    browser.open()
    monkeypatch.setattr(upscale_job, "free_memory", lambda: 20_000.0)
    browser.upload("mine.png", png_file(20, 30))
    said = browser.frame.status.value
    assert "mine.png has 30×20 pixels" in said
    assert "shrink it or crop it" in said


def test_free_memory_is_a_number_of_this_machine():
    assert upscale_job.free_memory() > 2**20


def test_a_file_that_lost_a_part_is_refused(browser):
    browser.open()
    browser.tell("upload", b"abc", name="part.png", size=2000, offset=1000)
    assert browser.kinds[-1] == "refused"
    assert "a part of part.png was lost on the way" in browser.frame.status.value


def wait_for_files() -> None:
    WORKER.submit(lambda: None).result(60)  # there is one thread, and it writes in order


def test_the_finished_picture_is_saved(browser, model, tmp_path):
    browser.tell("save")
    assert "nothing to save" in browser.frame.status.value
    browser.open()
    browser.tell("save")
    wait_for_files()
    assert "written: one-x4.png, in the notebook" in browser.frame.status.value
    expected = inference.upscale(picture(50, 70), model, tile=TILE)
    assert torch.equal(data.load_image(tmp_path / "one-x4.png"), expected)


def test_no_file_is_replaced_by_a_saved_picture(browser, tmp_path):
    (tmp_path / "one-x4.png").write_bytes(b"a picture of last week")
    (tmp_path / "one-x4-2.png").symlink_to(tmp_path / "nowhere.png")
    browser.open()
    browser.tell("save")
    browser.tell("save")  # the first may not be on the disk yet
    wait_for_files()
    assert (tmp_path / "one-x4.png").read_bytes() == b"a picture of last week"
    assert not (tmp_path / "nowhere.png").exists()
    images = [data.load_image(tmp_path / f"one-x4-{number}.png") for number in (3, 4)]
    assert torch.equal(*images)
    assert "written: one-x4-" in browser.frame.status.value


# Where no kernel runs


def test_without_a_kernel_there_is_the_first_frame_and_nothing_is_computed(browser):
    bundle = browser.frame._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as shown:
        assert shown.size[0] > 800
        assert np.asarray(shown).std() > 20
    assert browser.frame.job is None


def test_no_pictures_and_model_5_are_refused():
    with pytest.raises(ValueError, match="at least one picture"):
        widgets.before_after([], build("model4", 4, "smoke"))
    with pytest.raises(ValueError, match="model5 is not blind"):
        widgets.before_after([("one", picture(40, 40))], build("model5", 4, "smoke"))
