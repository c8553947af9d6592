"""The report: the notebooks of a clone, executed two at a time, as a book that opens in a browser.

    python -m dasrlib.book

leaves the executed notebooks in build/report/notebooks, their seconds in build/report/run.json and
the book in build/report/html.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from dasrlib import profiles
from dasrlib.book import proofreading
from dasrlib.records import provenance

# A remark of the kernel about itself is no part of a page.
KERNEL_CONFIG = """\
c.IPKernelApp.log_level = 50
c.IPKernelApp.extensions = ["dasrlib.book.described_figures"]
"""
AT_ONCE = 2
# It measures this machine, so nothing may run beside it.
ALONE = "09_the_kernel"
# No cell takes half as long in the laptop profile; one that waits for nothing must come to an end.
CELL_SECONDS = 900
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
WIDGET = "application/vnd.jupyter.widget-view+json"
SMOKE_BANNER = (
    "The numbers on these pages mean nothing: in the smoke profile they only show that the code "
    "runs. <code>make report</code> builds the book with real results."
)
LIVE_ONLY = (
    '<p class="live-only">A control stands here in the live notebook: <code>make lab</code>.</p>'
)


@dataclass(frozen=True)
class Run:
    """One executed notebook: its name, the seconds it took, and the traceback if it failed."""

    name: str
    seconds: float
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.name:<28}{self.seconds:7.1f} s   {'FAILED' if self.error else 'ok'}"


def _kernel_environment(settings: Path, cores: int) -> dict[str, str]:
    """This interpreter's own kernel and commands, no user's settings, figures inside the page."""
    config = settings / "profile_default" / "ipython_kernel_config.py"
    config.parent.mkdir()
    config.write_text(KERNEL_CONFIG)
    # Small pictures are slower, not faster, on every core of a large machine.
    threads = {"OMP_NUM_THREADS": str(max(1, min(8, cores))), "OMP_WAIT_POLICY": "PASSIVE"}
    path = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    return {
        **threads,
        **os.environ,
        "PATH": os.pathsep.join(path),
        "IPYTHONDIR": str(settings),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }


def execute(notebook: Path, executed: Path, profile: str, share: int = 1) -> Run:
    """Execute a notebook in its own folder, on a share of the cores, and write it to `executed`.

    A notebook that fails is written as far as it came; the Run then holds the traceback.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "papermill", str(notebook), str(executed)]
    command += ["-r", "profile", profile, "--cwd", str(notebook.parent)]
    command += ["--kernel", "python3", "--language", "python"]
    command += ["--execution-timeout", str(CELL_SECONDS), "--no-progress-bar"]
    with tempfile.TemporaryDirectory() as settings:
        environment = _kernel_environment(Path(settings), (os.cpu_count() or 1) // share)
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # Papermill's own traceback says nothing; what follows it is the cell's.
    said = run.stderr.rpartition("PapermillExecutionError:")[2] or f"exit status {run.returncode}"
    error = ANSI_COLOUR.sub("", said).strip() if run.returncode else None
    return Run(notebook.stem, time.perf_counter() - start, error)


def execute_all(notebooks: Sequence[Path], out: Path, profile: str) -> list[Run]:
    """Execute notebooks into a folder, and print the seconds of each as it finishes."""
    runs = []
    # The last ones take longest: they go first, so that both processes end at about the same time.
    beside = [notebook for notebook in reversed(notebooks) if notebook.stem != ALONE]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = [pool.submit(execute, n, out / n.name, profile, AT_ONCE) for n in beside]
        try:
            for future in as_completed(started):
                runs.append(future.result())
                print(runs[-1], flush=True)
        except KeyboardInterrupt:  # the notebooks that run get it as well
            pool.shutdown(cancel_futures=True)
            raise
    for notebook in notebooks:
        if notebook.stem == ALONE:
            runs.append(execute(notebook, out / notebook.name, profile))
            print(runs[-1], flush=True)
    return sorted(runs, key=lambda run: run.name)


def settle_widgets(executed: Path) -> None:
    """Replace what needs a running kernel: a control by its first frame and a note, a progress bar
    by nothing."""
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        settled = []
        for output in cell.outputs:
            data = output.get("data", {})
            if WIDGET not in data:
                settled.append(output)
                continue
            frame = {kind: data[kind] for kind in ("image/png", "text/plain") if kind in data}
            shown = [frame] if "image/png" in frame else []
            # A control prints as interactive(children=…), a progress bar as 0%|   | 0/100.
            if shown or re.match(r"\w+\(", data.get("text/plain", "")):
                shown.append({"text/html": LIVE_ONLY})
            settled += [nbformat.v4.new_output("display_data", bundle) for bundle in shown]
        cell.outputs = settled
        pictures = [out.data for out in settled if "image/png" in out.get("data", {})]
        texts = [data["text/plain"] for data in pictures if "text/plain" in data]
        # MyST-NB takes one text for the pictures of a cell; an object's <repr> is not one.
        if texts and not any(text.startswith("<") for text in texts):
            cell.metadata["mystnb"] = {"image": {"alt": "; ".join(texts)}}
    nbformat.write(notebook, executed)


def describe_run(runs: Sequence[Run], profile: str) -> dict[str, Any]:
    """What run.json keeps: profile, date, the seconds of each notebook that ran, and where."""
    return {
        "profile": profile,
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "seconds": {run.name: round(run.seconds, 1) for run in runs if not run.error},
        "failed": [run.name for run in runs if run.error],
        "provenance": provenance.describe("cuda" if torch.cuda.is_available() else "cpu"),
    }


def build_book(folder: Path, banner: str = "") -> bool:
    """Build folder/html from the sources in `folder`; False if there was a warning or a mistake."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-D", f"html_theme_options.announcement={banner}"] if banner else []
    command += ["-d", str(folder / "doctrees"), str(folder), str(folder / "html")]
    built = subprocess.run(command, check=False).returncode == 0
    mistakes = proofreading.proofread(folder / "html")
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return built and not mistakes


def report(root: Path, out: Path, profile: str) -> int:
    """Execute root/notebooks in a profile and build the book in `out`; the number of failures.

    A report replaces a report, nothing else.
    """
    notebooks = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(
            f"no notebooks in {root / 'notebooks'}: run this in a clone of the repository, "
            "or name one with --root"
        )
    if out.exists() and any(out.iterdir()) and not (out / "run.md").exists():
        raise FileExistsError(f"{out} holds something else than a report: name another folder")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(root / "docs", out)
    (out / "notebooks").mkdir()

    print(f"profile {profile}, {len(notebooks)} notebooks, {AT_ONCE} at a time", flush=True)
    start = time.perf_counter()
    runs = execute_all(notebooks, out / "notebooks", profile)
    for executed in (out / "notebooks").glob("*.ipynb"):
        settle_widgets(executed)
    # Only now, as DASR_KEEP_FIGURES=1 redraws them.
    if (root / "figures").is_dir():  # beside notebooks/, where ../figures/NAME.png looks for it
        shutil.copytree(root / "figures", out / "figures")
    record = describe_run(runs, profile)
    (out / "run.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    pages = time.perf_counter()
    built = build_book(out, SMOKE_BANNER if profiles.get(profile).is_plumbing else "")
    book = Run("the book", time.perf_counter() - pages, None if built else "see the warnings above")
    print(book)
    print(f"{'together':<28}{time.perf_counter() - start:7.1f} s")

    failed = [run for run in [*runs, book] if run.error]
    for run in failed:
        print(f"\n{run.name} failed:\n{run.error}", file=sys.stderr)
    page = out / "html" / "index.html"
    if page.exists():
        print(f"\nread the book:          {page.resolve().as_uri()}")
    if dasr := shutil.which("dasr", path=str(Path(sys.executable).parent)):
        dasr = dasr.removeprefix(f"{Path.cwd()}{os.sep}")
        print(f"upscale a photograph:   {dasr} upscale photo.jpg")
    return len(failed)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 if every notebook ran and the book has no warning."""
    parser = argparse.ArgumentParser(
        prog="python -m dasrlib.book",
        description="Execute the notebooks and build the book.",
        epilog="example: python -m dasrlib.book --profile smoke",
    )
    parser.add_argument("--profile", default="laptop", choices=list(profiles.PROFILES))
    parser.add_argument("--root", type=Path, default=Path(), help="the clone (this folder)")
    parser.add_argument("--out", type=Path, help="where to build (ROOT/build/report)")
    options = parser.parse_args(arguments)
    out = options.out or options.root / "build" / "report"
    try:
        return 1 if report(options.root, out, options.profile) else 0
    except (FileNotFoundError, FileExistsError) as problem:
        parser.exit(2, f"{problem}\n")
