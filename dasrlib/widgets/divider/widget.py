"""Before and after: bicubic and DASR on the two sides of a divider, for pictures of any size."""

from __future__ import annotations

import asyncio
import itertools
import os
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
from dasrlib.data import centre_crop
from dasrlib.degradation import quantise, resize_bicubic
from dasrlib.network import BlindSR
from dasrlib.plots.panels import pictures as draw_pictures
from dasrlib.records.atomic_write import check_writable
from dasrlib.systems import DEFAULT_WEIGHTS
from dasrlib.widgets.base.interactive_figure import InteractiveFigure, Throttled
from dasrlib.widgets.base.uploads import open_upload
from dasrlib.widgets.divider.pyramid import align_to_grid, encode_png_or_jpeg
from dasrlib.widgets.divider.upscale_job import Tile, UpscaleJob

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


class BeforeAfter(InteractiveFigure):
    """The widget: the viewer, and the job that upscales behind it.

    Nothing is computed before a page shows it: a notebook that is only executed stays quick.
    """

    def __init__(self, images: Sequence[tuple[str, Tensor]], model: BlindSR, folder: Path) -> None:
        self.pictures = dict(images)
        self.model, self.folder = model, folder
        self.job: UpscaleJob | None = None
        self.views: set[str] = set()
        self.looks: dict[str, dict[str, float]] = {}  # by view: the part it shows, SR pixels
        self._stale: set[str] = set()  # views that do not show the newest tile yet
        self._refresh = Throttled(self._show_stale, REFRESH)
        self._upload = bytearray()
        self._saved: set[Path] = set()  # also those that are still being written
        self._loop = _loop()
        self.viewer = Viewer(names=list(self.pictures))
        super().__init__([], [self.viewer], self._draw)
        self.viewer.on_msg(self._on_message)

    def _draw(self) -> Figure:
        name, image = next(iter(self.pictures.items()))
        lr, s = centre_crop(image, FIRST), self.model.scale
        bicubic = quantise(resize_bicubic(lr[None], s))[0]
        sr = inference.upscale(lr, self.model, TILE)
        return draw_pictures({f"{name}: bicubic ×{s}": bicubic, f"DASR ×{s}": sr}, height=4)

    # What the browser sends

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
        error = self.run_safely(lambda: answers[message["kind"]]())
        if message["kind"] == "upload":
            viewer.send({"kind": "refused" if error else "received"})

    def hello(self, view: str) -> None:
        """A view was opened; the first one starts the first picture."""
        self.views.add(view)
        if self.job is None:
            self.choose(next(iter(self.pictures)))

    def look(self, view: str, box: dict[str, float], once: bool = False) -> None:
        """A view asks for a part: top, left, bottom, right in SR pixels, and its width on the
        screen in "pixels". once: it does not want later tiles of it."""
        if not once:
            self.looks.pop(view, None)
            self.looks[view] = box  # the newest is the last
        self._show(view, box, once)

    def gone(self, view: str) -> None:
        """A view was closed; after the last one the work stops."""
        self.views.discard(view)
        self.looks.pop(view, None)
        if not self.views:
            self.cancel()

    def choose(self, name: str) -> None:
        """Starts with a picture of the list."""
        self._start(name, self.pictures[name])

    def receive(self, part: dict[str, Any], content: bytes) -> None:
        """The next part of an uploaded file; after the last one the upscaling starts.

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
        if len(self._upload) == size:
            file, self._upload = bytes(self._upload), bytearray()
            # 8-bit: of a phone's picture, a quarter of the memory.
            picture = open_upload(name, file, data.load_image_uint8)
            self._start(name, picture)
            self.pictures[name] = picture
            self.viewer.names = list(self.pictures)

    def again(self) -> None:
        """Starts once more with the picture that was cancelled."""
        if self.job is not None:
            self.choose(self.job.name)

    def cancel(self) -> None:
        """Ends the job, within the tile that it is at."""
        if self.job is not None:
            self.job.cancel()

    def save(self) -> None:
        """Writes the finished picture beside the notebook, as NAME-x4.png. No file is replaced:
        where there is one, the name is NAME-x4-2.png, and so on."""
        if self.job is None or not self.job.finished:
            raise ValueError("there is nothing to save before the picture is finished")
        wanted = self.folder / f"{Path(self.job.name).stem}-x{self.model.scale}.png"
        numbered = (wanted.with_stem(f"{wanted.stem}-{i}") for i in itertools.count(2))
        names = itertools.chain([wanted], numbered)
        path = next(p for p in names if p not in self._saved and not os.path.lexists(p))
        check_writable(path)
        self._saved.add(path)
        kept = f"; {wanted.name} was there already and is unchanged" if path != wanted else ""
        done = f"written: {path.name}, in the notebook's folder{kept}"
        self.set_status(f"writing {path.name} …")
        self.job.save(
            path, lambda error: self._soon(lambda: self.set_status(error or done, bool(error)))
        )

    # What the job reports

    def _start(self, name: str, picture: Tensor) -> None:
        job = UpscaleJob(name, picture, self.model, TILE, self._wanted)
        self.cancel()
        self.set_status("")
        self.job = job
        self.looks.clear()  # they were of another picture
        self.viewer.picture = {
            "name": name, "number": job.number, "scale": self.model.scale,
            "width": job.sr.width, "height": job.sr.height,
        }  # fmt: skip
        self._changed(job, None)
        job.start(lambda tile: self._soon(lambda: self._changed(job, tile)))

    def _soon(self, function: Callable[[], None]) -> None:
        """Runs it where widgets may be changed: in the kernel's loop, where there is one."""
        if self._loop is None or self._loop.is_closed():
            self.run_safely(function)
        else:
            self._loop.call_soon_threadsafe(self.run_safely, function)

    def _changed(self, job: UpscaleJob, tile: Tile | None) -> None:
        if job is not self.job:
            return  # another picture was chosen meanwhile
        with self.viewer.hold_sync():
            self.viewer.stage, self.viewer.progress = job.stage, job.progress
            self.viewer.running, self.viewer.finished = job.running, job.finished
        if job.error:
            self.set_status(job.error, error=True)
        if tile is not None:
            self._stale |= {view for view, box in self.looks.items() if _overlap(box, tile)}
            self._refresh()

    def _show_stale(self) -> None:
        stale, self._stale = self._stale & set(self.looks), set()
        for view in stale:
            self.run_safely(partial(self._show, view, self.looks[view]))

    def _wanted(self) -> tuple[float, float]:
        """The LR pixel in the middle of the part that was looked at last: upscaled first."""
        boxes = list(self.looks.values())
        if not boxes:
            return 0.0, 0.0
        box, s = boxes[-1], 2 * self.model.scale
        return (box["top"] + box["bottom"]) / s, (box["left"] + box["right"]) / s

    def _show(self, view: str, look: dict[str, float], once: bool = False) -> None:
        """Sends a view the part that it shows."""
        if self.job is None:
            return
        before, after, box = window(self.job, look)
        message = {
            "kind": "window", "view": view, "once": once, "number": self.job.number,
            "box": list(box),
        }  # fmt: skip
        images = [encode_png_or_jpeg(before), encode_png_or_jpeg(after)]
        self.viewer.send(message, buffers=images)


def _overlap(box: dict[str, float], tile: Tile) -> bool:
    rows, columns = tile
    return (
        rows.start < box["bottom"] and rows.stop > box["top"]
        and columns.start < box["right"] and columns.stop > box["left"]
    )  # fmt: skip


def window(job: UpscaleJob, look: dict[str, float]) -> tuple[np.ndarray, np.ndarray, Any]:
    """A part of the picture before and after, (H, W, 3) of bytes each, and the part's true box.

    look: top, left, bottom, right, SR pixels, and "pixels", the width it has on the screen. Where
    nothing is upscaled yet, after is the bicubic picture, darkened.
    """
    factor = job.sr.factor((look["right"] - look["left"]) / max(1.0, look["pixels"]))
    ends = look["top"], look["left"], look["bottom"], look["right"]
    box = align_to_grid(ends, factor, job.sr.height, job.sr.width)
    before, after = job.bicubic.window(box, factor), job.sr.window(box, factor)
    done = job.done_at(box, factor)[..., None]
    return before, np.where(done, after, before // 2), box


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # no kernel: a plain script or a test
        return None


def before_after(
    images: Sequence[tuple[str, Tensor]],
    weights: str | Path | BlindSR = DEFAULT_WEIGHTS,
    folder: str | Path = ".",
) -> BeforeAfter:
    """A divider to drag between a picture upscaled by bicubic and by DASR, with an upload (§4.4).

    A phone's picture is upscaled in tiles, in the background.

    Args:
        images: (name, LR picture (3, H, W) in [0, 1]) pairs to choose from.
        weights: a bundled name, a .safetensors file, or a blind network.
        folder: where a finished picture is saved.

    Raises:
        ValueError: no pictures, or Model 5.
    """
    if not images:
        raise ValueError("expected at least one picture to upscale, got none")
    model = weights if isinstance(weights, BlindSR) else weights_module.load(weights)
    return BeforeAfter(images, model, Path(folder))
