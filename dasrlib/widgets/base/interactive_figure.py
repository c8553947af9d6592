"""What all widgets share: controls that answer, errors that show, and a first frame that is a plain
figure where no kernel runs."""

from __future__ import annotations

import asyncio
import base64
import html
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import ipywidgets as ipw
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dasrlib.plots.alt_text import describe
from dasrlib.plots.style import RC
from dasrlib.widgets.base.slider_labels import SliderLabels

THROTTLE = 0.03  # seconds; moves of a slider that come closer together than this are one move
REST = 0.25  # seconds; a slider that has not moved for so long is at rest
COMPUTING = "computing…"

# One thread for all widgets: two would only take the cores from each other.
WORKER = ThreadPoolExecutor(1, thread_name_prefix="widgets")

T = TypeVar("T")


def error_text(error: BaseException) -> str:
    """The message of an error; where it has none, its type."""
    return str(error) or type(error).__name__


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The kernel's event loop; None in a plain script or a test."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class InteractiveFigure(ipw.VBox):
    """A widget that also carries its first frame as a picture, for a page that runs no kernel.

    controls: what is moved. outputs: what changes. draw: makes the first frame, a Figure.
    """

    def __init__(
        self,
        controls: Sequence[ipw.Widget],
        outputs: Sequence[ipw.Widget],
        draw: Callable[[], Figure],
    ) -> None:
        # A screen reader reads this text aloud when it changes.
        self.status = ipw.HTML()
        self.computing = False
        self.errors: dict[object, str] = {}  # by the part of the widget that failed
        box = ipw.HBox(list(controls), layout=ipw.Layout(flex_flow="row wrap"))
        super().__init__([box, *outputs, self.status, SliderLabels()])
        self.add_class("dasr-frame")
        with plt.rc_context(RC):
            figure = draw()
            file = io.BytesIO()
            figure.savefig(file, format="png")
            self.first_words = describe(figure)
            plt.close(figure)
        self.first_frame = file.getvalue()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**options)
        frame = base64.b64encode(self.first_frame).decode()
        return {**bundle, "image/png": frame, "text/plain": self.first_words}

    def set_status(self, text: str, error: bool = False) -> None:
        """One line below the widget; an error has a border and a sign, not only a colour."""
        role, style, mark = "status", "", ""
        if error:
            role, style, mark = "alert", "border-left:4px solid #D55E00;padding-left:8px", "⚠ "
        line = f'<div role="{role}" style="{style}">{mark}{html.escape(text)}</div>'
        self.status.value = line if text else ""

    def run_safely(self, compute: Callable[[], None]) -> str:
        """Runs it and shows any error in the widget; returns the error's text, "" if none."""
        try:
            compute()
        except Exception as error:  # of any type: otherwise a slider would do nothing, silently
            self.set_status(error_text(error), error=True)
            return error_text(error)
        return ""

    def update(self, compute: Callable[[], None], part: object = None) -> None:
        """Runs it and shows its error, or clears the status. The error of a part of the widget
        stays until that part succeeds, even if another part succeeds meanwhile."""
        self.errors.pop(part, None)
        error = self.run_safely(compute)
        if error and part is not None:
            self.errors[part] = error
        if not error:
            left = next(iter(self.errors.values()), "")
            self.set_status(left or (COMPUTING if self.computing else ""), error=bool(left))

    def on_change(self, sliders: Sequence[ipw.Widget], compute: Callable[[], None]) -> None:
        """Computes now, and each time one of the sliders has a new value."""
        later = Throttled(lambda: self.update(compute, compute))
        for slider in sliders:
            slider.observe(lambda change: later(), names="value")
        self.update(compute, compute)

    def on_idle(
        self,
        sliders: Sequence[ipw.Widget],
        steps: Callable[[], Iterator[T]],
        show: Callable[[T], None],
    ) -> None:
        """Computes now, and, in a thread, each time the sliders come to rest.

        steps: gives results one by one; it may read widgets but not change them. show: puts a
        result into the widget. Once a slider has moved, the steps that are left are dropped.
        """

        idle = _WhenIdle(self, steps, show)
        for slider in sliders:
            slider.observe(idle.moved, names="value")
        idle.run_now()


class Throttled:
    """The first call is answered at once. Calls that come soon after an answer become one."""

    def __init__(self, function: Callable[[], None], seconds: float = THROTTLE) -> None:
        self.function, self.seconds = function, seconds
        self.waiting, self.answered = False, 0.0

    def __call__(self) -> None:
        loop = running_loop()
        if loop is None:
            self.function()
        elif not self.waiting:
            self.waiting = True
            loop.call_at(self.answered + self.seconds, self._call, loop)

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting = False
        self.function()
        self.answered = loop.time()


class _WhenIdle(Generic[T]):
    """The steps of `on_idle`: all at once, or in a thread a moment after the last move."""

    def __init__(
        self, frame: InteractiveFigure, steps: Callable[[], Iterator[T]], show: Callable[[T], None]
    ) -> None:
        self.frame, self.steps, self.show = frame, steps, show
        self.moves = 0
        self.task: asyncio.Task[None] | None = None  # asyncio itself keeps no task alive

    def moved(self, change: object) -> None:
        self.frame.computing = True
        self.frame.errors.pop(self.steps, None)
        self.frame.set_status(COMPUTING)
        loop = running_loop()
        if loop is None:
            self.run_now()
        else:
            self.moves += 1
            self.task = loop.create_task(self._run(self.moves))

    def run_now(self) -> None:
        steps = self.steps()
        while self._show_next(lambda: next(steps, None)):
            pass

    async def _run(self, move: int) -> None:
        await asyncio.sleep(REST)
        loop, steps, going = asyncio.get_running_loop(), self.steps(), True
        while going and move == self.moves and self.frame.comm is not None:
            # The thread does one step after another. asyncio's locks do not work here: JupyterLab
            # moves a slider's messages to a thread of their own, with another event loop.
            work = loop.run_in_executor(
                WORKER, lambda: next(steps, None) if move == self.moves else None
            )
            await asyncio.wait([work])
            if move == self.moves:
                going = self._show_next(work.result)
            else:
                work.exception()  # read it, or asyncio reports it in the notebook

    def _show_next(self, result: Callable[[], T | None]) -> bool:
        """Shows a result, or the error that it raises; False after the last one, None."""
        self.frame.computing = False

        def step() -> None:
            value = result()
            if value is not None:
                self.show(value)
                self.frame.computing = True

        self.frame.update(step, self.steps)
        return self.frame.computing
