"""Waiting in an event loop for what another thread or the loop itself brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest


async def until(condition: Callable[[], object]) -> None:
    """Returns when the condition holds; the test fails where it does not within a minute."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never came")
