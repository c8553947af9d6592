"""Work behind the page: in one thread for all widgets, on as many cores as it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

# One for all: two would only take the cores from each other.
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="behind-the-page")


def computed(compute: Callable[[], T], cores: int | None = None) -> asyncio.Future[T]:
    """The result of a computation in the widgets' thread, to be awaited in the kernel's loop.

    cores: how many torch may use, None for as many as in the thread that asks. torch keeps that
    number by thread, but one that is new begins with what any thread has set last: so it is set
    for each computation, and given back.
    """
    usual = torch.get_num_threads()

    def run() -> T:
        torch.set_num_threads(cores or usual)
        try:
            return compute()
        finally:
            torch.set_num_threads(usual)

    return asyncio.get_running_loop().run_in_executor(_THREAD, run)
