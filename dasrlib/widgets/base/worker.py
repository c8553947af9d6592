"""One background thread for all widgets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

# One for all: two would only take the cores from each other.
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="widgets")


def run_in_worker(compute: Callable[[], T]) -> asyncio.Future[T]:
    """The result of a computation in the background thread, to be awaited in the kernel's loop."""
    cores = torch.get_num_threads()

    def run() -> T:
        # torch keeps this number for each thread, and a new thread begins with the last number
        # that any thread has set.
        torch.set_num_threads(cores)
        return compute()

    return asyncio.get_running_loop().run_in_executor(_THREAD, run)
