"""Before and after: bicubic and DASR on the two sides of a divider, for pictures of any size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib import data, inference
from dasrlib import weights as weights_module
from dasrlib.degradation import quantise, resize_bicubic
from dasrlib.network import BlindSR
from dasrlib.plots.degradation import pictures as drawn
from dasrlib.widgets.base.frame import Frame, Throttled, in_words, opened
from dasrlib.widgets.before_after.pyramid import aligned, encoded
from dasrlib.widgets.before_after.upscale_job import Enlargement, State

HERE = Path(__file__).parent
FIRST = 64  # LR pixels: the side of the part that the first frame shows
REFRESH = 0.2  # seconds in which new tiles become one picture for the browser
LARGEST_FILE = 200 * 2**20  # bytes of an upload
TILE = 96  # LR pixels; measured the fastest, and each takes a fraction of a second


class Viewer(anywidget.AnyWidget):
    """The divider, and what stands around it. It draws; what it shows, it asks for.

    The browser says which part it looks at, and gets two pictures of that part at the resolution
    of the screen: never the whole of a large picture.
    """

    _esm = HERE / "widget.js"
    _css = HERE / "widget.css"

    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # name, width and height in SR pixels, scale, and a number that is new with each picture
    picture = traitlets.Dict().tag(sync=True)
    stage = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Float(0.0).tag(sync=True)
    running = traitlets.Bool(False).tag(sync=True)
    finished = traitlets.Bool(False).tag(sync=True)


class BeforeAfter(Frame):
    """The widget: the viewer, and the enlargement that runs behind it.

    Nothing is computed before somebody looks: a page that is only executed stays quick.
    """

    def __init__(self, images: Sequence[tuple[str, Tensor]], model: BlindSR, folder: Path) -> None:
        self.pictures = dict(images)
        self.model, self.folder = model, folder
        self.enlargement: Enlargement | None = None  # the one that is seen
        self.reading: Enlargement | None = None  # the next one, before its picture is known good
        self.views: set[str] = set()
        self.looks: dict[str, dict[str, float]] = {}  # by view: the part it looks at, SR pixels
        self._stale: set[str] = set()  # views that do not show the newest tile yet
        self._refresh = Throttled(self._show_stale, REFRESH)
        self._upload = bytearray()
        self._loop = _loop()
        self.viewer = Viewer(names=list(self.pictures))
        super().__init__([], [self.viewer], self._first)
        self.viewer.on_msg(self._on_message)

    def _first(self) -> Figure:
        name, image = next(iter(self.pictures.items()))
        lr, s = data.centre_crop(image, FIRST), self.model.scale
        bicubic = quantise(resize_bicubic(lr[None], s))[0]
        sr = inference.upscale(lr, self.model, TILE)
        return drawn({f"{name}: bicubic ×{s}": bicubic, f"DASR ×{s}": sr}, height=4)

    # What the browser says

    def _on_message(self, viewer: Any, message: dict[str, Any], buffers: list[Any]) -> None:
        self._loop = _loop() or self._loop
        answers: dict[str, Callable[[], None]] = {
            "hello": lambda: self.hello(message["view"]),
            "look": lambda: self.look(message["view"], message["box"], message["once"]),
            "gone": lambda: self.gone(message["view"]),
            "choose": lambda: self.choose(message["name"]),
            "upload": lambda: self.receive(message, bytes(buffers[0]) if buffers else b""),
            "again": self.again,
            "cancel": self.cancel,
            "save": self.save,
        }
        wrong = self.attempt(lambda: answers[message["kind"]]())
        if wrong and message["kind"] == "upload":
            viewer.send({"kind": "refused"})

    def hello(self, view: str) -> None:
        """A view was opened; with the first one, the first picture is started."""
        self.views.add(view)
        if self.enlargement is None and self.reading is None:
            self.choose(next(iter(self.pictures)))

    def look(self, view: str, box: dict[str, float], once: bool = False) -> None:
        """A view looks at a part: top, left, bottom, right in SR pixels, and its width on the
        screen in "pixels". once: not when the part changes."""
        if not once:
            self.looks.pop(view, None)
            self.looks[view] = box  # the newest is the last
        self._show(view, box, once)

    def gone(self, view: str) -> None:
        """A view was closed; with the last one, what is computed for nobody ends."""
        self.views.discard(view)
        self.looks.pop(view, None)
        if not self.views:
            self.cancel()

    def choose(self, name: str) -> None:
        """Starts with a picture of the list."""
        image = self.pictures[name]
        self._start(name, lambda: image)

    def receive(self, part: dict[str, Any], content: bytes) -> None:
        """The next part of an uploaded file; with the last one the enlargement starts.

        In parts, because a server may close the connection on a message above 10 MB.
        """
        name, size = Path(part["name"]).name, int(part["size"])
        if size > LARGEST_FILE:
            raise ValueError(
                f"{name} has {size / 2**20:.0f} MB: choose a file of at most "
                f"{LARGEST_FILE // 2**20} MB"
            )
        if part["offset"] == 0:
            self._upload = bytearray()
        if part["offset"] != len(self._upload):
            raise ValueError(f"a part of {name} was lost on the way: upload it again")
        self._upload += content
        self.viewer.send({"kind": "received", "bytes": len(self._upload)})
        if len(self._upload) == size:
            file, self._upload = bytes(self._upload), bytearray()
            self._start(name, lambda: self._read(name, file))

    def _read(self, name: str, file: bytes) -> Tensor:
        # As bytes: of a phone's picture, a quarter of the memory.
        self.pictures[name] = image = opened(name, file, data.load_image_uint8)
        return image

    def again(self) -> None:
        """Starts once more with the picture that was cancelled."""
        if self.enlargement is not None:
            self._start(self.enlargement.name, self.enlargement.load)

    def cancel(self) -> None:
        """Ends the enlargement, within the tile that it is at."""
        for job in (self.reading, self.enlargement):
            if job is not None:
                job.cancel()

    def save(self) -> None:
        """Writes the finished picture beside the notebook, as NAME-x4.png."""
        done = self.enlargement
        if done is None or not done.state.finished:
            raise ValueError("there is nothing to save before the picture is finished")
        path = self.folder / f"{Path(done.name).stem}-x{self.model.scale}.png"
        self.say(f"writing {path.name} …")
        done.save(path, lambda error: self._soon(lambda: self._saved(path, error)))

    def _saved(self, path: Path, error: Exception | None) -> None:
        if error is None:
            self.say(f"written: {path.name}, in the notebook's folder")
        else:
            self.say(in_words(error), error=True)

    # What the enlargement says

    def _start(self, name: str, load: Callable[[], Tensor]) -> None:
        if self.reading is not None:
            self.reading.cancel()
        self.say("")
        job = Enlargement(name, load, self.model, TILE, self._wanted)
        self.reading = job
        job.start(lambda state: self._soon(lambda: self._changed(job, state)))

    def _soon(self, function: Callable[[], None]) -> None:
        """Runs it where widgets may be changed: in the kernel's loop, where there is one."""
        if self._loop is None or self._loop.is_closed():
            self.attempt(function)
        else:
            self._loop.call_soon_threadsafe(self.attempt, function)

    def _changed(self, job: Enlargement, state: State) -> None:
        if job not in (self.reading, self.enlargement):
            return  # another picture was chosen meanwhile
        if job is self.reading and job.sr is not None:
            if self.enlargement is not None:
                self.enlargement.cancel()
            self.enlargement, self.reading = job, None
            self._renew(job)
        elif job is self.reading and not state.running:
            # The picture before it is still there, and goes on.
            self.reading = None
            before = self.enlargement.state if self.enlargement else State("", running=False)
            self._tell(before)
        if job in (self.reading, self.enlargement):
            self._tell(state)
        if state.error:
            self.say(state.error, error=True)
        if job is self.enlargement and state.tile is not None:
            tile = state.tile
            self._stale |= {view for view, box in self.looks.items() if _overlap(box, tile)}
            self._refresh()

    def _show_stale(self) -> None:
        stale, self._stale = self._stale & set(self.looks), set()
        for view in stale:
            self.attempt(partial(self._show, view, self.looks[view]))

    def _tell(self, state: State) -> None:
        with self.viewer.hold_sync():
            self.viewer.stage, self.viewer.progress = state.stage, state.progress
            self.viewer.running, self.viewer.finished = state.running, state.finished

    def _renew(self, job: Enlargement) -> None:
        assert job.sr is not None
        self.looks.clear()  # they were of another picture
        with self.viewer.hold_sync():
            self.viewer.names = list(self.pictures)
            self.viewer.picture = {
                "name": job.name, "number": job.number, "scale": self.model.scale,
                "width": job.sr.width, "height": job.sr.height,
            }  # fmt: skip

    def _wanted(self) -> tuple[float, float]:
        """The LR pixel in the middle of what is looked at: enlarged first."""
        boxes = list(self.looks.values())
        if not boxes:
            return 0.0, 0.0
        box, s = boxes[-1], 2 * self.model.scale
        return (box["top"] + box["bottom"]) / s, (box["left"] + box["right"]) / s

    def _show(self, view: str, look: dict[str, float], once: bool = False) -> None:
        """Sends a view the part that it looks at."""
        job = self.enlargement
        if job is None:
            return
        before, after, box = window(job, look)
        message = {
            "kind": "window", "view": view, "once": once, "number": job.number, "box": list(box),
        }  # fmt: skip
        self.viewer.send(message, buffers=[encoded(before), encoded(after)])


def _overlap(box: dict[str, float], tile: tuple[slice, slice]) -> bool:
    rows, columns = tile
    return (
        rows.start < box["bottom"] and rows.stop > box["top"]
        and columns.start < box["right"] and columns.stop > box["left"]
    )  # fmt: skip


def window(job: Enlargement, look: dict[str, float]) -> tuple[np.ndarray, np.ndarray, Any]:
    """A part of the picture before and after, (H, W, 3) of bytes each, and the part's true box.

    look: top, left, bottom, right, SR pixels, and "pixels", the width it has on the screen. What is
    not enlarged yet is, after, the bicubic one, darkened.
    """
    sr, bicubic = job.sr, job.bicubic
    assert sr is not None
    assert bicubic is not None
    factor = sr.factor((look["right"] - look["left"]) / max(1.0, look["pixels"]))
    box = aligned(
        look["top"], look["left"], look["bottom"], look["right"], factor, sr.height, sr.width
    )
    before, after = bicubic.window(box, factor), sr.window(box, factor)
    done = job.done_at(box, factor)[..., None]
    return before, np.where(done, after, before // 2), box


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # no kernel: a plain script or a test
        return None


def before_after(
    images: Sequence[tuple[str, Tensor]],
    weights: str | Path | BlindSR = inference.DEFAULT,
    folder: str | Path = ".",
) -> BeforeAfter:
    """A divider to drag between the bicubic enlargement of a picture and DASR's, with an upload
    (§4.4).

    images: (name, LR picture (3, H, W) in [0, 1]) pairs to choose from. weights: a bundled name, a
    .safetensors file, or a blind network. folder: where a finished picture is saved. A phone's
    picture is enlarged in tiles, in the background. Raises ValueError for no pictures or Model 5.
    """
    if not images:
        raise ValueError("expected at least one picture to enlarge, got none")
    model = weights if isinstance(weights, BlindSR) else weights_module.load(weights)
    return BeforeAfter(images, model, Path(folder))
