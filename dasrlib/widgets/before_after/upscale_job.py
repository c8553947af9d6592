"""An enlargement in the background: it can be watched, looked into while it runs, and cancelled."""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dasrlib import data, inference
from dasrlib.network import BlindSR
from dasrlib.widgets.base.frame import in_words
from dasrlib.widgets.before_after.pyramid import Bicubic, Box, Levels

OFTEN = 0.1  # seconds between two words on the reading: a tile is read in less

_numbers = itertools.count(1)


@dataclass(frozen=True)
class State:
    """How far an enlargement is: in words, and from 0 to 1. tile: what was enlarged just now."""

    stage: str
    progress: float = 0.0
    running: bool = True
    finished: bool = False
    error: str = ""
    tile: tuple[slice, slice] | None = None


class Enlargement:
    """A picture on its way from LR to SR, in a thread of its own.

    load: gives the LR picture (3, H, W), in [0, 1] or 8-bit; called in the thread. wanted: see
    inference.upscale_tiles. sr and bicubic can be looked into as soon as they are there.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Tensor],
        model: BlindSR,
        tile: int,
        wanted: Callable[[], tuple[float, float]],
    ) -> None:
        self.name, self.load, self.model, self.tile, self.wanted = name, load, model, tile, wanted
        self.number = next(_numbers)
        self.state = State("reading the picture")
        self.sr: Levels | None = None
        self.bicubic: Bicubic | None = None
        self._done = np.zeros((1, 1), bool)  # by tile
        self._cancelled = threading.Event()
        self.thread: threading.Thread | None = None

    def start(self, tell: Callable[[State], None]) -> None:
        """Starts the thread; tell is called in it, with each new state."""

        def say(state: State) -> None:
            self.state = state
            tell(state)

        cores = torch.get_num_threads()

        def run() -> None:
            say(self.state)
            try:
                # A new thread would begin with the number that any thread has set last, and that
                # is one while another widget computes behind the page.
                torch.set_num_threads(cores)
                _give_way()
                self._run(say)
            except Exception as error:  # whatever it is, it shows
                say(State("", self.state.progress, running=False, error=in_words(error)))

        self.thread = threading.Thread(target=run, name=f"enlarging {self.name}", daemon=True)
        self.thread.start()

    def cancel(self) -> None:
        """Ends the thread as soon as the tile that it is at is finished."""
        self._cancelled.set()

    def _run(self, say: Callable[[State], None]) -> None:
        picture = self.load()
        steps = inference.upscale_tiles(picture, self.model, self.tile, self.wanted)
        h, w = picture.shape[-2:]
        s = self.model.scale
        check_memory(self.name, h, w, s)
        lr = _pixels(picture)
        self._done = np.zeros((-(-h // self.tile), -(-w // self.tile)), bool)
        self.bicubic, self.sr = Bicubic(lr, s), Levels(s * h, s * w, s)
        say(State("finding out how it was degraded"))
        started, told = None, time.perf_counter()
        for step in steps:
            if self._cancelled.is_set():
                say(State("cancelled", self.state.progress, running=False))
                return
            if step.picture is None:
                if time.perf_counter() - told > OFTEN:
                    told = time.perf_counter()
                    say(State("finding out how it was degraded", step.done))
                continue
            started = started or (time.perf_counter(), step.done)
            self._put(step.rows, step.columns, step.picture)
            stage = f"enlarging{_time_left(*started, step.done)}"
            say(State(stage, step.done, tile=(step.rows, step.columns)))
        say(State("finished", 1.0, running=False, finished=True))

    def _put(self, rows: slice, columns: slice, picture: Tensor) -> None:
        assert self.sr is not None
        self.sr.put(rows.start, columns.start, _pixels(picture))
        side = self.tile * self.model.scale
        self._done[rows.start // side, columns.start // side] = True

    def done_at(self, box: Box, factor: int) -> np.ndarray:
        """Which pixels of a window are enlarged already, (H, W)."""
        side = self.tile * self.model.scale
        rows = np.arange(box.top, box.bottom, factor) // side
        columns = np.arange(box.left, box.right, factor) // side
        return self._done[np.ix_(rows, columns)]

    def save(self, path: Path, then: Callable[[Exception | None], None]) -> None:
        """Writes the finished picture, in a thread of its own; then gets the error, if any."""
        assert self.sr is not None
        whole = torch.from_numpy(self.sr.sizes[1]).permute(2, 0, 1)

        def run() -> None:
            try:
                data.save_image(whole, path)
            except Exception as error:  # whatever it is, it shows
                then(error)
            else:
                then(None)

        threading.Thread(target=run, name=f"writing {path.name}", daemon=True).start()


def _give_way() -> None:
    """The thread that calls it, and those that it starts to compute with, let others go first.

    The browser and the kernel then answer in the middle of it, on a machine with two cores. Not
    last of all, or it would never end beside another computation. Where threads have no priorities
    of their own, it does nothing.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        priority = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, priority + 3))


def _pixels(picture: Tensor) -> np.ndarray:
    """(3, H, W) in [0, 1] or 8-bit -> (H, W, 3) of bytes."""
    return np.ascontiguousarray(data.to_uint8(picture).permute(1, 2, 0).numpy())


def _time_left(since: float, done_then: float, done: float) -> str:
    """In words, from how long it took since the first tile; nothing before there is a measure."""
    seconds = time.perf_counter() - since
    if done <= done_then or seconds < 2:
        return ""
    left = seconds * (1 - done) / (done - done_then)
    return f", about {left / 60:.0f} minutes left" if left >= 90 else f", about {left:.0f} s left"


def check_memory(name: str, height: int, width: int, scale: int) -> None:
    """Raises ValueError where the enlarged picture does not fit into the memory that is free.

    It is kept as bytes, with its two reduced copies; saving it needs four bytes a pixel more.
    """
    pixels = scale**2 * height * width
    needed, free = 8 * pixels, free_memory()
    if needed > free:
        raise ValueError(
            f"{name} has {width}×{height} pixels and needs {needed / 1e9:.1f} GB of memory when "
            f"enlarged {scale} times, {free / 1e9:.1f} GB are free: reduce it or cut a part out"
        )


def free_memory() -> float:
    """Bytes of memory that are free on this machine, within its container's limit; infinity where
    it does not tell."""
    free = math.inf
    if Path("/proc/meminfo").exists():
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = 1024.0 * int(lines["MemAvailable"].split()[0])
    limit, used = (Path("/sys/fs/cgroup") / f"memory.{what}" for what in ("max", "current"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, float(int(text) - int(used.read_text())))
    return free
