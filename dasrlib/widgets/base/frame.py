"""What all widgets share: pictures with alt texts, throttled sliders, errors that show, and a first
frame that is a plain figure where no widget can live."""

from __future__ import annotations

import asyncio
import base64
import html
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dasrlib import data
from dasrlib.plots.alt_text import describe
from dasrlib.plots.style import RC
from dasrlib.widgets.base.slider_labels import SliderNames
from dasrlib.widgets.base.worker import computed

THROTTLE = 0.03  # seconds; moves of a slider that come closer together than this are one move
REST = 0.25  # seconds; a slider that has not moved for so long counts as let go
COMPUTING = "computing…"

T = TypeVar("T")


def png(image: Tensor | np.ndarray) -> bytes:
    """A picture (3, H, W) or (H, W) in [0, 1] as the bytes of a png."""
    array = np.asarray(image.detach().cpu() if isinstance(image, Tensor) else image)
    array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    shown = Image.fromarray(array.transpose(1, 2, 0) if array.ndim == 3 else array)
    file = io.BytesIO()
    # Sent over a loopback address: quick to write matters more than small.
    shown.save(file, format="png", compress_level=1)
    return file.getvalue()


def figure_html(
    title: str, image: Tensor | np.ndarray, alt: str, width: int, note: str = ""
) -> str:
    """A picture as html: title above, note below, and what it shows for those who do not see it.

    width: on the page, in CSS pixels; small pictures are shown with their pixels as squares.
    """
    data = base64.b64encode(png(image)).decode()
    return (
        f'<figure style="margin:4px;width:{width}px">'
        f'<figcaption style="font-weight:600">{html.escape(title)}</figcaption>'
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt, quote=True)}" '
        f'style="width:100%;image-rendering:pixelated">'
        f'<figcaption style="opacity:.75;line-height:1.3">{html.escape(note)}</figcaption></figure>'
    )


def row_html(parts: Sequence[str]) -> str:
    """Figures beside each other, wrapping where the page is narrow."""
    return f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start">{"".join(parts)}</div>'


def in_words(error: Exception) -> str:
    """What went wrong, of an error without words its kind."""
    return str(error) or type(error).__name__


def opened(
    name: str,
    content: bytes | memoryview,
    load: Callable[[Path], Tensor] = data.load_image,
) -> Tensor:
    """The picture (3, H, W) in a file that came from the browser.

    Raises what load raises, in the file's own name.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return load(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from error


def uploaded(upload: ipw.FileUpload) -> tuple[str, Tensor]:
    """The newest upload: its name, and the picture (3, H, W) in [0, 1]."""
    file = upload.value[-1]
    name = Path(file["name"]).name
    return name, opened(name, file["content"])


class Frame(ipw.VBox):
    """A widget that also carries its first frame as a picture, for a page that runs no kernel.

    controls: what is moved. outputs: what changes. draw: makes the first frame, a Figure.
    """

    def __init__(
        self,
        controls: Sequence[ipw.Widget],
        outputs: Sequence[ipw.Widget],
        draw: Callable[[], Figure],
    ) -> None:
        # A screen reader is told when this text changes.
        self.status = ipw.HTML()
        self.computing = False
        self.wrong: dict[object, str] = {}
        box = ipw.HBox(list(controls), layout=ipw.Layout(flex_flow="row wrap"))
        super().__init__([box, *outputs, self.status, SliderNames()])
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

    def say(self, text: str, error: bool = False) -> None:
        """One line below the widget; an error stands out, and not by colour alone."""
        colour = "border-left:4px solid #D55E00;padding-left:8px;" if error else ""
        mark = "⚠ " if error else ""
        role = "alert" if error else "status"
        self.status.value = (
            f'<div role="{role}" style="{colour}">{mark}{html.escape(text)}</div>' if text else ""
        )

    def attempt(self, compute: Callable[[], None]) -> str:
        """Computes; what goes wrong shows in the widget and is returned in words, "" if nothing."""
        try:
            compute()
        except Exception as error:  # whatever it is: a slider must never be dead in silence
            self.say(in_words(error), error=True)
            return in_words(error)
        return ""

    def guarded(self, compute: Callable[[], None], about: object = None) -> Callable[[], None]:
        """The computation, with what goes wrong in it shown in the widget.

        about: names the part of the widget that the computation renews. While that part is not
        what the sliders say, its error stays, whatever else succeeds.
        """

        def shown() -> None:
            self.wrong.pop(about, None)
            wrong = self.attempt(compute)
            if wrong and about is not None:
                self.wrong[about] = wrong
            if not wrong:
                left = next(iter(self.wrong.values()), "")
                self.say(left or (COMPUTING if self.computing else ""), error=bool(left))

        return shown

    def answer(
        self, sliders: Sequence[ipw.Widget], compute: Callable[[], None]
    ) -> Callable[[], None]:
        """Computes now, and when one of the sliders has a new value; returns the computation."""
        run = self.guarded(compute, about=compute)
        later = Throttled(run)
        for slider in sliders:
            slider.observe(lambda change: later(), names="value")
        run()
        return run

    def answer_at_rest(
        self, sliders: Sequence[ipw.Widget], compute: Callable[[], T], show: Callable[[T], None]
    ) -> None:
        """For what takes longer than a move: computes now, and each time the sliders come to rest.

        compute: runs in a thread, so that the sliders go on answering; it touches no widget but to
        read. show: puts its result into the widget, unless a slider has moved meanwhile.
        """

        def finish(result: Callable[[], T]) -> None:
            self.computing = False
            self.guarded(lambda: show(result()), about=compute)()

        rested = AtRest(compute, finish)

        def moved(change: object) -> None:
            self.computing = True
            self.wrong.pop(compute, None)
            self.say(COMPUTING)
            rested()

        for slider in sliders:
            slider.observe(moved, names="value")
        finish(compute)


class Throttled:
    """The first call is answered at once; those that come soon after an answer become one, and the
    last values count."""

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


class AtRest:
    """Calls become one computation, in a thread, a moment after the last of them.

    finish: is handed the result as a function, which raises what the computation raised. Of a
    computation that a newer call has overtaken it hears nothing.
    """

    def __init__(
        self,
        compute: Callable[[], T],
        finish: Callable[[Callable[[], T]], None],
        seconds: float = REST,
    ) -> None:
        self.compute, self.finish, self.seconds = compute, finish, seconds
        self.calls = 0
        self.tasks: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected

    def __call__(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel: a plain script or a test
            self.finish(self.compute)
            return
        self.calls += 1
        task = loop.create_task(self._settle(self.calls))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _settle(self, call: int) -> None:
        await asyncio.sleep(self.seconds)
        if call != self.calls:
            return
        work = computed(lambda: self._newest(call))
        await asyncio.wait([work])
        if call == self.calls:
            self.finish(work.result)
        else:
            work.exception()  # looked at, or asyncio would complain of it in the notebook

    def _newest(self, call: int) -> Any:
        """In the widgets' thread, where one computation is done after another: nothing is, if a
        newer call came meanwhile. No lock of asyncio's could wait here: JupyterLab moves a slider's
        messages from the kernel's main thread to one of their own, with a loop of its own."""
        return self.compute() if call == self.calls else None
