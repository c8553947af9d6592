"""Before and after: bicubic and DASR on the two sides of a divider, for pictures of any size."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from dasrlib import data, inference
from dasrlib import weights as weights_module
from dasrlib.data import centre_crop
from dasrlib.degradation import quantise, resize_bicubic
from dasrlib.network import BlindSR
from dasrlib.plots.panels import pictures as draw_pictures
from dasrlib.systems import PHOTO_WEIGHTS
from dasrlib.widgets.base.interactive_figure import (
    WORKER,
    InteractiveFigure,
    Throttled,
    error_text,
    running_loop,
)
from dasrlib.widgets.base.uploads import open_upload
from dasrlib.widgets.divider.pyramid import Look, encode_png_or_jpeg
from dasrlib.widgets.divider.upscale_job import Tile, UpscaleJob

HERE = Path(__file__).parent
FIRST = 64  # LR pixels: the side of the part that the first frame shows
REFRESH = 0.2  # seconds in which new tiles become one picture for the browser
TILE = 96  # LR pixels; measured the fastest, and each takes a fraction of a second


class Viewer(anywidget.AnyWidget):
    """The divider, and what stands around it.

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

    def __init__(self, images: Sequence[tuple[str, Tensor]], model: BlindSR) -> None:
        self.pictures, self.model = dict(images), model
        self.job: UpscaleJob | None = None
        self.looks: dict[str, Look | None] = {}  # by view: the part it shows, the newest last
        self._refresh = Throttled(self._show_all, REFRESH)
        self._upload = bytearray()
        self._saved: set[Path] = set()  # also those that are still being written
        self._loop = running_loop()
        self.viewer = Viewer(names=list(self.pictures))
        super().__init__([], [self.viewer], self._draw)
        self.viewer.on_msg(self._on_message)

    def _draw(self) -> Figure:
        name, image = next(iter(self.pictures.items()))
        lr, s = centre_crop(image, FIRST), self.model.scale
        bicubic = quantise(resize_bicubic(lr[None], s))[0]
        sr = inference.upscale(lr, self.model, TILE)
        return draw_pictures({f"{name}: bicubic ×{s}": bicubic, f"DASR ×{s}": sr}, height=4)

    # What the browser sends: "kind" is one of these methods, and the rest are its arguments

    def _on_message(self, viewer: Any, message: dict[str, Any], buffers: list[Any]) -> None:
        self._loop = running_loop() or self._loop
        answers: dict[str, Callable[..., None]] = {
            "hello": self.hello, "look": self.look, "gone": self.gone, "choose": self.choose,
            "upload": self.upload, "cancel": self.cancel, "save": self.save,
        }  # fmt: skip
        given = dict(message)
        answer = answers[given.pop("kind")]
        if answer == self.upload:
            given["content"] = bytes(buffers[0]) if buffers else b""
        error = self.run_safely(lambda: answer(**given))
        if answer == self.upload:
            viewer.send({"kind": "refused" if error else "received"})

    def hello(self, view: str) -> None:
        """A view was opened; the first one starts the first picture."""
        self.looks[view] = None
        if self.job is None:
            self.choose(next(iter(self.pictures)))

    def look(self, view: str, box: Look, once: bool) -> None:
        """A view asks for a part. once: it does not want later tiles of it."""
        if not once:
            self.looks.pop(view, None)
            self.looks[view] = box
        self._show(view, box, once)

    def gone(self, view: str) -> None:
        """A view was closed; after the last one the work stops."""
        self.looks.pop(view, None)
        if not self.looks:
            self.cancel()

    def choose(self, name: str) -> None:
        """Starts with a picture of the list."""
        self._start(name, self.pictures[name])

    def upload(self, name: str, size: int, offset: int, content: bytes) -> None:
        """The next part of an uploaded file; after the last one the upscaling starts.

        In parts, because a server may close the connection on a message above 10 MB.
        """
        name = Path(name).name
        if offset == 0:
            self._upload = bytearray()
        if offset != len(self._upload):
            raise ValueError(f"a part of {name} was lost on the way: upload it again")
        self._upload += content
        if len(self._upload) == size:
            file, self._upload = bytes(self._upload), bytearray()
            # 8-bit: of a phone's picture, a quarter of the memory.
            picture = data.to_uint8(open_upload(name, file))
            self._start(name, picture)
            self.pictures[name] = picture
            self.viewer.names = list(self.pictures)

    def cancel(self) -> None:
        """Ends the job, within the tile that it is at."""
        if self.job is not None:
            self.job.cancelled = True

    def save(self) -> None:
        """Writes the finished picture beside the notebook, as NAME-x4.png or, where there is one
        already, as NAME-x4-2.png, and so on: no file is replaced."""
        if self.job is None or not self.job.finished:
            raise ValueError("there is nothing to save before the picture is finished")
        wanted = Path.cwd() / f"{Path(self.job.name).stem}-x{self.model.scale}.png"
        numbered = (wanted.with_stem(f"{wanted.stem}-{i}") for i in itertools.count(2))
        names = itertools.chain([wanted], numbered)
        path = next(p for p in names if p not in self._saved and not os.path.lexists(p))
        self._saved.add(path)
        self.set_status(f"writing {path.name} …")

        def report(written: Future[None]) -> None:
            error = written.exception()
            text = error_text(error) if error else f"written: {path.name}, in the notebook's folder"
            self._soon(lambda: self.set_status(text, error is not None))

        whole = torch.from_numpy(self.job.sr.sizes[1]).permute(2, 0, 1)
        WORKER.submit(data.save_image, whole, path).add_done_callback(report)

    def _start(self, name: str, picture: Tensor) -> None:
        job = UpscaleJob(name, picture, self.model, TILE, self._wanted)
        self.cancel()
        self.set_status("")
        self.job = job
        self.looks = dict.fromkeys(self.looks)  # they were of another picture
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
            for trait in ("stage", "progress", "running", "finished"):
                self.viewer.set_trait(trait, getattr(job, trait))
        if job.error:
            self.set_status(job.error, error=True)
        if tile is not None and any(_overlap(look, tile) for look in [*self.looks.values()]):
            self._refresh()

    def _show_all(self) -> None:
        for view, look in [*self.looks.items()]:  # a copy: views come and go
            if look is not None:
                self.run_safely(partial(self._show, view, look))

    def _wanted(self) -> tuple[float, float]:
        """The LR pixel in the middle of the part that was looked at last: upscaled first."""
        looks, s = [look for look in [*self.looks.values()] if look], 2 * self.model.scale
        if not looks:
            return 0.0, 0.0
        newest = looks[-1]
        return (newest["top"] + newest["bottom"]) / s, (newest["left"] + newest["right"]) / s

    def _show(self, view: str, look: Look, once: bool = False) -> None:
        """Sends a view the part that it shows."""
        if self.job is None:
            return
        *images, box = self.job.window(look)
        number = self.job.number
        message = {"kind": "window", "view": view, "once": once, "number": number, "box": list(box)}
        self.viewer.send(message, buffers=[encode_png_or_jpeg(image) for image in images])


def _overlap(look: Look | None, tile: Tile) -> bool:
    rows, columns = tile
    return look is not None and (
        rows.start < look["bottom"] and rows.stop > look["top"]
        and columns.start < look["right"] and columns.stop > look["left"]
    )  # fmt: skip


def before_after(
    images: Sequence[tuple[str, Tensor]], weights: str | Path | BlindSR = PHOTO_WEIGHTS
) -> BeforeAfter:
    """A divider to drag between a picture upscaled by bicubic and by DASR, with an upload (§4.4).

    A phone's picture is upscaled in tiles, in the background.

    Args:
        images: (name, LR picture (3, H, W) in [0, 1]) pairs to choose from.
        weights: a bundled name, a .safetensors file, or a blind network; by default the one for
            photographs with noise or JPEG.

    Raises:
        ValueError: no pictures, or Model 5.
    """
    if not images:
        raise ValueError("expected at least one picture to upscale, got none")
    model = weights if isinstance(weights, BlindSR) else weights_module.load(weights)
    return BeforeAfter(images, model)
