"""What a slider sets off at once and what waits until it rests, in a kernel's own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import ipywidgets as ipw
import matplotlib.pyplot as plt
import pytest
from waiting import until

from dasrlib.widgets.base import interactive_figure
from dasrlib.widgets.base.interactive_figure import COMPUTING, InteractiveFigure


@pytest.fixture
def slider() -> ipw.IntSlider:
    return ipw.IntSlider(0)


@pytest.fixture
def shared(slider, monkeypatch) -> InteractiveFigure:
    monkeypatch.setattr(interactive_figure, "REST", 0.05)
    return InteractiveFigure([slider], [], plt.figure)


def test_moves_are_computed_once_when_the_slider_rests_and_not_on_its_thread(shared, slider):
    computed, shown = [], []

    def compute() -> Iterator[int]:
        computed.append((slider.value, threading.current_thread() is threading.main_thread()))
        yield slider.value

    async def move() -> None:
        for value in (1, 2, 3):
            slider.value = value
            assert COMPUTING in shared.status.value
            await asyncio.sleep(0.01)
        await until(lambda: shown[-1] == 3)

    shared.on_idle([slider], compute, shown.append)
    asyncio.run(move())
    assert computed == [(0, True), (3, False)]
    assert shown == [0, 3]
    assert shared.status.value == ""


def test_a_result_that_a_move_has_overtaken_is_not_shown(shared, slider):
    shown, begun, go = [], threading.Event(), threading.Event()

    def compute() -> Iterator[int]:
        value = slider.value
        if value == 1:
            begun.set()
            assert go.wait(10)
        yield value

    async def move() -> None:
        slider.value = 1
        await until(begun.is_set)
        slider.value = 2
        go.set()
        await until(lambda: shown[-1] == 2)

    shared.on_idle([slider], compute, shown.append)
    asyncio.run(move())
    assert shown == [0, 2]


def test_moves_that_come_on_two_threads_are_answered(shared, slider):
    """As in JupyterLab, which moves a widget's messages to a subshell: a thread and loop of its own
    that nothing wakes but the next message."""
    shown, begun, go = [], threading.Event(), threading.Event()
    subshell = asyncio.new_event_loop()

    def compute() -> Iterator[int]:
        value = slider.value
        if value == 1:
            begun.set()
            assert go.wait(10)
        yield value

    async def move() -> None:
        slider.value = 1
        await until(begun.is_set)
        subshell.call_soon_threadsafe(lambda: setattr(slider, "value", 2))
        await asyncio.sleep(0.3)  # it has come to rest, and waits for the first computation
        go.set()
        await until(lambda: shown[-1] == 2)

    shared.on_idle([slider], compute, shown.append)
    thread = threading.Thread(target=subshell.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run(move())
    finally:
        subshell.call_soon_threadsafe(subshell.stop)
        thread.join()
        subshell.close()
    assert shown == [0, 2]


def test_the_quick_answer_comes_while_the_slow_one_is_computed(shared, slider):
    quick, shown, begun, go = ipw.Label(), [], threading.Event(), threading.Event()

    def slow() -> Iterator[int]:
        if slider.value == 1:
            begun.set()
            assert go.wait(10)
        yield slider.value

    def at_once() -> None:
        quick.value = str(slider.value)

    async def move() -> None:
        slider.value = 1
        await until(begun.is_set)
        slider.value = 5
        await until(lambda: quick.value == "5")
        assert shown == [0]
        assert COMPUTING in shared.status.value
        go.set()
        await until(lambda: shown[-1] == 5)

    shared.on_change([slider], at_once)
    shared.on_idle([slider], slow, shown.append)
    asyncio.run(move())
    assert shared.status.value == ""


def test_an_error_stays_until_its_own_computation_succeeds(shared, slider):
    def quick() -> None:
        if slider.value == 1:
            raise ValueError("one is not allowed")

    def slow() -> Iterator[int]:
        if slider.value == 2:
            raise ValueError("two is not allowed")
        yield slider.value

    other = ipw.IntSlider(0)
    shared.on_change([slider, other], quick)
    shared.on_idle([slider], slow, lambda value: None)
    slider.value = 1
    assert "one is not allowed" in shared.status.value
    slider.value = 2
    assert "two is not allowed" in shared.status.value
    other.value = 1
    assert "two is not allowed" in shared.status.value
    assert 'role="alert"' in shared.status.value
    slider.value = 3
    assert shared.status.value == ""


def test_the_steps_show_one_by_one_until_a_move_drops_the_rest(shared, slider):
    shown, held, go = [], threading.Event(), threading.Event()

    def steps() -> Iterator[tuple[int, int]]:
        value = slider.value
        for number in range(3):
            if (value, number) == (1, 2):
                held.set()
                assert go.wait(10)
            yield value, number

    async def move() -> None:
        slider.value = 1
        await until(held.is_set)
        await until(lambda: shown[-1] == (1, 1))
        assert COMPUTING in shared.status.value
        slider.value = 2
        go.set()
        await until(lambda: shown[-1] == (2, 2))

    shared.on_idle([slider], steps, shown.append)
    asyncio.run(move())
    first, second, third = ([(value, number) for number in range(3)] for value in range(3))
    assert shown == [*first, *second[:2], *third]
    assert shared.status.value == ""


def test_a_closed_widget_computes_no_more(shared, slider):
    shown = []

    def steps() -> Iterator[int]:
        yield from range(slider.value)

    async def move() -> None:
        slider.value = 2
        shared.close()
        await asyncio.sleep(0.3)

    shared.on_idle([slider], steps, shown.append)
    asyncio.run(move())
    assert shown == []


def test_what_goes_wrong_in_the_thread_shows_in_the_widget(shared, slider):
    def compute() -> Iterator[int]:
        if slider.value == 7:
            raise ValueError("seven is not allowed")
        yield slider.value

    async def move() -> None:
        slider.value = 7
        await until(lambda: "seven is not allowed" in shared.status.value)
        assert 'role="alert"' in shared.status.value
        slider.value = 8
        await until(lambda: shared.status.value == "")

    shared.on_idle([slider], compute, lambda value: None)
    asyncio.run(move())
