"""A picture that is upscaled in the background: it can be watched, looked into, and cancelled."""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from dasrlib import data, inference
from dasrlib.network import BlindSR
from dasrlib.widgets.base.interactive_figure import error_text
from dasrlib.widgets.divider.pyramid import Box, ImagePyramid, LazyBicubic, Look, align_to_grid

OFTEN = 0.1  # seconds between two reports of the encoder, which reads a tile in less

Tile = tuple[slice, slice]  # rows and columns, SR pixels

_numbers = itertools.count(1)


class UpscaleJob:
    """A picture on its way from LR to SR, in a thread of its own; it can be looked at meanwhile.

    picture: LR (3, H, W), in [0, 1] or 8-bit. tile, wanted: see inference.upscale_tiles. Raises
    ValueError for a picture that is too small or too large.
    """

    def __init__(
        self,
        name: str,
        picture: Tensor,
        model: BlindSR,
        tile: int,
        wanted: Callable[[], tuple[float, float]],
    ) -> None:
        h, w = picture.shape[-2:]
        s = model.scale
        self.name, self.number = name, next(_numbers)
        self.steps = inference.upscale_tiles(picture, model, tile, wanted)
        check_memory(name, h, w, s)
        self.sr, self.bicubic = ImagePyramid(s * h, s * w, s), LazyBicubic(_pixels(picture), s)
        self.side = s * tile  # of a tile, SR pixels
        self.done = np.zeros((-(-h // tile), -(-w // tile)), bool)  # by tile
        self.stage, self.progress, self.error = "estimating the degradation", 0.0, ""
        self.running, self.finished, self.cancelled = True, False, False
        self.thread: threading.Thread | None = None

    def start(self, report: Callable[[Tile | None], None]) -> None:
        """Starts the thread; report is called in it after each change, with the tile that is new,
        if any."""

        def run() -> None:
            _lower_priority()
            try:
                self._run(report)
            except Exception as error:  # of any type: it shows in the widget
                self.stage, self.error = "", error_text(error)
            self.running = False
            report(None)

        self.thread = threading.Thread(target=run, name=f"upscaling {self.name}", daemon=True)
        self.thread.start()

    def _run(self, report: Callable[[Tile | None], None]) -> None:
        begun = reported = time.perf_counter()
        report(None)
        for step in self.steps:
            if self.cancelled:
                self.stage = "cancelled"
                return
            self.progress = step.done
            if step.picture is None:
                if time.perf_counter() - reported > OFTEN:
                    reported = time.perf_counter()
                    report(None)
                continue
            top, left = step.rows.start, step.columns.start
            self.sr.put(top, left, _pixels(step.picture))
            self.done[top // self.side, left // self.side] = True
            left = (time.perf_counter() - begun) * (1 / step.done - 1)
            minutes = f"{left / 60:.0f} minutes" if left >= 90 else f"{left:.0f} s"
            self.stage = f"upscaling, about {minutes} left"
            report((step.rows, step.columns))
        self.stage, self.progress, self.finished = "finished", 1.0, True

    def window(self, look: Look) -> tuple[np.ndarray, np.ndarray, Box]:
        """A part of the picture before and after, (H, W, 3) of bytes each, and the part's true box.

        Where nothing is upscaled yet, after is the bicubic picture, darkened.
        """
        factor = self.sr.factor((look["right"] - look["left"]) / max(1.0, look["pixels"]))
        box = align_to_grid(look, factor, self.sr.height, self.sr.width)
        before, after = self.bicubic.window(box, factor), self.sr.window(box, factor)
        rows = np.arange(box.top, box.bottom, factor) // self.side
        columns = np.arange(box.left, box.right, factor) // self.side
        done = self.done[np.ix_(rows, columns)][..., None]
        return before, np.where(done, after, before // 2), box


def _lower_priority() -> None:
    """Lowers the priority of this thread and of those it starts to compute with, on Linux.

    The browser and the kernel then answer meanwhile, on a machine with two cores. Not the lowest
    priority: beside another computation the work would never end.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        priority = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, priority + 3))


def _pixels(picture: Tensor) -> np.ndarray:
    """(3, H, W) in [0, 1] or 8-bit -> (H, W, 3) of bytes."""
    return np.ascontiguousarray(data.to_uint8(picture).permute(1, 2, 0).numpy())


def check_memory(name: str, height: int, width: int, scale: int) -> None:
    """Raises ValueError where the upscaled picture does not fit into the free memory.

    It is kept as bytes, with two smaller copies; saving it needs four bytes a pixel more.
    """
    needed, free = 8 * scale**2 * height * width, free_memory()
    if needed > free:
        raise ValueError(
            f"{name} has {width}×{height} pixels and needs {needed / 1e9:.1f} GB of memory when "
            f"upscaled {scale} times, {free / 1e9:.1f} GB are free: shrink it or crop it"
        )


def free_memory() -> float:
    """Free bytes of this machine, within its container's limit; infinity where it is unknown."""
    free = math.inf
    if Path("/proc/meminfo").exists():
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = 1024.0 * int(lines["MemAvailable"].split()[0])
    limit, used = (Path("/sys/fs/cgroup") / f"memory.{what}" for what in ("max", "current"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, float(int(text) - int(used.read_text())))
    return free
