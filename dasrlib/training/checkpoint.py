"""§4.1 What keeps a run safe: its last two checkpoints, the lock of its folder, late signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import filelock
import torch
from safetensors import SafetensorError

from dasrlib.records.atomic_write import atomic_write, remove_leftovers

# Ctrl-C, a machine that shuts down, a terminal that is closed (which Windows does not tell).
SIGNALS = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]


@contextmanager
def deferred_interrupt() -> Iterator[list[int]]:
    """The first of SIGNALS fills the list, so that no iteration is cut; a second interrupts."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is defer:
                signal.signal(number, handler)

    def defer(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()

    # Only the main thread may handle signals; and a job that ignores one (nohup) goes on so.
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            if callable(handler) or handler is signal.SIG_DFL:
                signal.signal(number, defer)
    try:
        yield received
    finally:
        restore()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder, and removes what killed writes left in it.

    Raises RuntimeError where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            for name in ("checkpoint.pt", "log.jsonl", "weights.safetensors", "weights.json"):
                remove_leftovers(folder / name)
            yield
    except filelock.Timeout:
        raise RuntimeError(
            f"another process is training in {folder}: wait for it, or choose another folder"
        ) from None


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Turns the errors of writing into a folder into one sentence, an OSError."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        free = shutil.disk_usage(folder).free / 1e6
        raise OSError(
            f"cannot write into {folder} ({reason}; {free:,.0f} MB are free): the last checkpoint "
            "is whole; make room, then run the same command again"
        ) from error


class Checkpoints:
    """checkpoint.pt of a folder, and the one before it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.pt"
        self.previous = folder / "checkpoint.previous.pt"

    def write(self, state: Mapping[str, Any]) -> None:
        """Writes a state whole or not at all, and keeps the last one."""
        with full_disk_told(self.path.parent), atomic_write(self.path) as temporary:
            torch.save(dict(state), temporary)
            if self.path.exists():
                os.replace(self.path, self.previous)

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """The last state that is whole; None where there never was one.

        A damaged checkpoint is said once, and the one before it is taken. Raises ValueError where
        that is not there or damaged too.
        """
        damaged: list[str] = []
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            try:
                state = _whole(path, device)
            except Exception as error:  # whatever a reader says of a damaged file
                damaged.append(f"{path} is damaged ({type(error).__name__})")
                continue
            if damaged:
                warnings.warn(
                    f"{damaged[0]}: going on from iteration {state['iteration']}, which "
                    f"{path.name} holds",
                    stacklevel=2,
                )
            return state
        if damaged:
            raise ValueError(
                f"{damaged[0]} and there is no earlier one: remove it to start anew, or choose "
                "another folder"
            )
        return None


def _whole(path: Path, device: torch.device) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:  # torch checks no checksum
        broken = file.testzip()
    if broken:
        raise ValueError(f"the checksum of {broken} is wrong")
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    state["identity"] = json.loads(state["identity"])
    return {**state, "iteration": int(state["iteration"])}
