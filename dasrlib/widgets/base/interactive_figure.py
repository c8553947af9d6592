"""What all widgets share: controls that answer, errors that show, and a first frame that is a plain
figure where no kernel runs."""

from __future__ import annotations

import asyncio
import base64
import html
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ipywidgets as ipw
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dasrlib.plots.alt_text import describe
from dasrlib.plots.style import RC
from dasrlib.widgets.base.slider_labels import SliderLabels
from dasrlib.widgets.base.worker import run_in_worker

THROTTLE = 0.03  # seconds; moves of a slider that come closer together than this are one move
REST = 0.25  # seconds; a slider that has not moved for so long is at rest
COMPUTING = "computing…"

T = TypeVar("T")


def error_text(error: Exception) -> str:
    """The message of an error; where it has none, its type."""
    return str(error) or type(error).__name__


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
        colour = "border-left:4px solid #D55E00;padding-left:8px;" if error else ""
        mark = "⚠ " if error else ""
        role = "alert" if error else "status"
        self.status.value = (
            f'<div role="{role}" style="{colour}">{mark}{html.escape(text)}</div>' if text else ""
        )

    def run_safely(self, compute: Callable[[], None]) -> str:
        """Runs it and shows any error in the widget; returns the error's text, "" if none."""
        try:
            compute()
        except Exception as error:  # of any type: otherwise a slider would do nothing, silently
            self.set_status(error_text(error), error=True)
            return error_text(error)
        return ""

    def safely(self, compute: Callable[[], None], about: object = None) -> Callable[[], None]:
        """The computation, with its errors shown in the widget.

        about: names the part of the widget that the computation renews. Its error stays until the
        same part is computed without one, even if another part succeeds meanwhile.
        """

        def run() -> None:
            self.errors.pop(about, None)
            error = self.run_safely(compute)
            if error and about is not None:
                self.errors[about] = error
            if not error:
                left = next(iter(self.errors.values()), "")
                self.set_status(left or (COMPUTING if self.computing else ""), error=bool(left))

        return run

    def on_change(self, sliders: Sequence[ipw.Widget], compute: Callable[[], None]) -> None:
        """Computes now, and each time one of the sliders has a new value."""
        run = self.safely(compute, about=compute)
        later = Throttled(run)
        for slider in sliders:
            slider.observe(lambda change: later(), names="value")
        run()

    def on_idle(
        self,
        sliders: Sequence[ipw.Widget],
        steps: Callable[[], Iterator[T]],
        show: Callable[[T], None],
    ) -> None:
        """For what takes longer than a move: computes now, and each time the sliders come to rest.

        steps: gives results one by one. It runs in a thread, so that the sliders go on answering;
        it may read widgets but not change them. show: puts a result into the widget. Once a slider
        has moved, the steps that are left are dropped.
        """

        def finish(result: Callable[[], T | None]) -> bool:
            if self.comm is None:  # the widget was closed
                return False
            self.computing = False

            def step() -> None:
                value = result()
                if value is not None:
                    show(value)
                    self.computing = True

            self.safely(step, about=steps)()
            return self.computing

        later = Debounced(steps, finish)

        def moved(change: object) -> None:
            self.computing = True
            self.errors.pop(steps, None)
            self.set_status(COMPUTING)
            later()

        for slider in sliders:
            slider.observe(moved, names="value")
        later.run_now()


class Throttled:
    """The first call is answered at once. Calls that come soon after an answer become one, with
    the last values."""

    def __init__(self, function: Callable[[], None], seconds: float = THROTTLE) -> None:
        self.function, self.seconds = function, seconds
        self.waiting, self.answered = False, 0.0

    def __call__(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel: a plain script or a test
            self.function()
            return
        if not self.waiting:
            self.waiting = True
            loop.call_at(self.answered + self.seconds, self._call, loop)

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting = False
        self.function()
        self.answered = loop.time()


class Debounced:
    """Calls become one run of `steps`, in a thread, a moment after the last of them.

    finish: gets each result as a function, which raises what the step raised and gives None after
    the last step. It says whether to go on. Once a newer call has come, it is not called any more.
    """

    def __init__(
        self,
        steps: Callable[[], Iterator[T]],
        finish: Callable[[Callable[[], T | None]], bool],
        seconds: float = REST,
    ) -> None:
        self.steps, self.finish, self.seconds = steps, finish, seconds
        self.calls = 0
        self.tasks: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive

    def __call__(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel: a plain script or a test
            self.run_now()
            return
        self.calls += 1
        task = loop.create_task(self._run(self.calls))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def run_now(self) -> None:
        """All steps, in the caller's thread."""
        steps = self.steps()
        while self.finish(lambda: next(steps, None)):
            pass

    async def _run(self, call: int) -> None:
        await asyncio.sleep(self.seconds)
        steps, going = self.steps(), True
        while going and call == self.calls:
            # The worker does one step after another. asyncio's locks do not work here: JupyterLab
            # moves a slider's messages to a thread of their own, with another event loop.
            work = run_in_worker(lambda: next(steps, None) if call == self.calls else None)
            await asyncio.wait([work])
            if call == self.calls:
                going = self.finish(work.result)
            else:
                work.exception()  # read it, or asyncio reports it in the notebook
