"""A real JupyterLab in a real Chromium; without them these tests are skipped, with the reason.

DASR_CHROMIUM names a browser that is not on the path. Screenshots, and the times from a slider to
the pixels, are left in build/browser.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# It fetches nothing: not updates of its own, and no address but the loopback one is found.
ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
WINDOW = {"width": 1400, "height": 1000}

latencies: dict[str, list[float]] = {}


def chromium() -> str | None:
    """The browser's path, or None."""
    return os.environ.get("DASR_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))  # one JupyterLab, one at a time


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """The server, on a copy of the notebooks, in the smoke profile."""
    pytest.importorskip("playwright", reason="Playwright is not installed")
    pytest.importorskip("jupyterlab", reason="Jupyter is not installed")
    if chromium() is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path; set DASR_CHROMIUM")
    from jupyterlab_process import JupyterLab

    server = JupyterLab(tmp_path_factory.mktemp("jupyterlab"))
    yield server
    server.stop()


# Of a module, not of the session: while Playwright is up, its event loop counts as running, and
# tests that start one of their own (papermill's) could not.
@pytest.fixture(scope="module")
def browser(jupyterlab) -> Iterator:
    """Chromium, without a window on the screen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def lab(jupyterlab, browser, request: pytest.FixtureRequest) -> Iterator:
    """JupyterLab in a fresh page; if the test fails, its last sight is kept."""
    from lab import Lab

    context = browser.new_context(viewport=WINDOW, locale="en-GB")
    opened = Lab(jupyterlab, context.new_page())
    failed = request.session.testsfailed
    yield opened
    if request.session.testsfailed > failed:
        opened.screenshot(f"failed-{request.node.name}")
    context.close()
    jupyterlab.end_kernels()


@pytest.fixture(scope="module")
def opened(jupyterlab, browser) -> Iterator:
    """JupyterLab in a page that a module's tests share: one notebook, run once."""
    from lab import Lab

    context = browser.new_context(viewport=WINDOW, locale="en-GB")
    yield Lab(jupyterlab, context.new_page())
    context.close()
    jupyterlab.end_kernels()


@pytest.fixture(autouse=True)
def _last_sight_of_a_shared_page(request: pytest.FixtureRequest) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed and "opened" in request.fixturenames:
        request.getfixturevalue("opened").screenshot(f"failed-{request.node.name}")


@pytest.fixture(scope="session")
def timings() -> Iterator[dict[str, list[float]]]:
    """Seconds from a slider's event to the new pixels, by a name: kept for the record, no test."""
    yield latencies
    if latencies:
        from lab import SCREENSHOTS

        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        record = {
            "what": "milliseconds from a key or mouse event to the painted picture",
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "milliseconds": {
                name: [round(1000 * second) for second in seconds]
                for name, seconds in latencies.items()
            },
        }
        text = json.dumps(record, indent=1, ensure_ascii=False)
        (SCREENSHOTS / "latency.json").write_text(text + "\n", encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not latencies:
        return
    terminalreporter.section("from a slider to the pixels, milliseconds (not asserted)")
    terminalreporter.line(f"{'':40}{'median':>8}{'longest':>9}{'count':>7}")
    for name, seconds in latencies.items():
        ordered = sorted(1000 * second for second in seconds)
        middle, longest = ordered[len(ordered) // 2], ordered[-1]
        terminalreporter.line(f"{name:40}{middle:8.0f}{longest:9.0f}{len(ordered):7}")
