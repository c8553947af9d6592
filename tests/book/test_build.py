"""The report, built out of notebooks of two lines."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dasrlib.book import build

# A machine may have a GPU for the other tests, and no Jupyter.
nbformat = pytest.importorskip("nbformat", reason="Jupyter is not installed")
new_code_cell, new_markdown_cell, new_notebook = (
    getattr(nbformat.v4, f"new_{kind}") for kind in ("code_cell", "markdown_cell", "notebook")
)

ROOT = Path(__file__).parents[2]
SOLUTION = "<details><summary>Solution</summary>\n\n```python\nx = 2\n```\n\n</details>"


def write_notebook(folder: Path, name: str, *lines: str) -> None:
    parameters = new_code_cell('profile = "laptop"\nseed = 0', metadata={"tags": ["parameters"]})
    text = new_markdown_cell(f"# Chapter {name}\n\nThe kernel $k(x, y)$.\n\n{SOLUTION}")
    notebook = new_notebook(cells=[text, parameters, *map(new_code_cell, lines)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "notebooks").mkdir()
    return tmp_path


FRAME = """
import base64, io
import ipywidgets
import matplotlib.pyplot as plt

class Framed(ipywidgets.IntSlider):
    def _repr_mimebundle_(self, **options):
        file = io.BytesIO()
        plt.figure(figsize=(1, 1)).savefig(file)
        plt.close()
        frame = base64.b64encode(file.getvalue()).decode()
        bundle = super()._repr_mimebundle_(**options)
        return {**bundle, "image/png": frame, "text/plain": "A slider"}

Framed()
"""


# A book is built once, whoever asks.
pytestmark = pytest.mark.xdist_group("book")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """A clone with a small notebook in the place of each, its book, and what was printed."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "docs", clone / "docs")
    (clone / "notebooks").mkdir()
    # The hand-written pages lead to the notebooks by their names.
    for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        write_notebook(clone, path.stem)
    write_notebook(
        clone,
        "00_quickstart",
        'print("it ran in", profile)',
        "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.title('A line that rises');",
        "import ipywidgets\nfrom tqdm.auto import tqdm\nlist(tqdm([1]))\nipywidgets.IntSlider()",
        FRAME,
    )
    line = [sys.executable, "-m", "dasrlib.book", "--root", str(clone), "--profile", "smoke"]
    return clone, subprocess.run(line, capture_output=True, text=True)


def test_builds_a_book_that_needs_no_network(
    built: tuple[Path, subprocess.CompletedProcess],
) -> None:
    clone, run = built
    assert (run.returncode, run.stderr) == (0, "")
    assert "00_quickstart" in run.stdout
    assert (clone / "build/report/html/index.html").as_uri() in run.stdout
    if shutil.which("dasr", path=str(Path(sys.executable).parent)):
        assert re.search(r"upscale a photograph: +\S*dasr upscale photo.jpg", run.stdout)

    html = clone / "build/report/html"
    page = (html / "notebooks/00_quickstart.html").read_text(encoding="utf-8")
    assert "it ran in smoke" in page
    assert "<summary>Solution</summary>" in page
    assert page.count("A control stands here in the live notebook") == 2
    assert "0%|" not in page  # nor a progress bar that stands still
    assert re.findall(r'<img alt="([^"]+)"', page) == ["A line that rises", "A slider"]
    assert len(list((html / "_images").glob("*.png"))) == 2
    assert (html / "_static/tex-svg.js").exists()
    assert "The five models: not measured." in (html / "results.html").read_text(encoding="utf-8")
    assert "the degradation-aware convolution" in (html / "api/dasrlib.html").read_text("utf-8")
    record = json.loads((clone / "build/report/run.json").read_text(encoding="utf-8"))
    assert (record["profile"], record["failed"]) == ("smoke", [])
    assert record["seconds"]["00_quickstart"] > 0
    pages = ["index", "results", "expected", "run", "notebooks/00_quickstart", "api/dasrlib"]
    for name in [*pages, "api/dasrlib.network", "api/dasrlib.records.figure_record"]:
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        assert "{{" not in text  # a number that was not filled in
        assert "The numbers on these pages mean nothing" in text
        assert 'src="http' not in text
        assert 'rel="stylesheet" href="http' not in text


def test_search_works_from_a_folder(built: tuple[Path, subprocess.CompletedProcess]) -> None:
    """No server, no network: the book's search box, typed into in a browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        page = browser.new_page()
        page.goto((built[0] / "build/report/html/index.html").as_uri())
        page.keyboard.press("Control+k")
        page.keyboard.type("loss rises first")
        page.keyboard.press("Enter")
        result = page.locator("#search-results li a").first
        result.wait_for()
        assert "Expected numbers" in result.inner_text()
        result.click()
        page.wait_for_url("**/expected.html*")
        browser.close()


@pytest.mark.parametrize(
    ("printed", "carried", "left"),
    [
        ("Lab(children=(…))", True, ["image/png", "text/html"]),
        ("interactive(children=(…))", False, ["text/html"]),
        ("  0%|          | 0/100", False, []),
    ],
)
def test_a_control_leaves_its_first_frame_and_a_note(
    tmp_path: Path, printed: str, carried: bool, left: list[str]
) -> None:
    data = {build.WIDGET: {"model_id": "0"}, "text/plain": printed}
    data |= {"image/png": "AAAA"} if carried else {}
    cell = new_code_cell("widget", outputs=[nbformat.v4.new_output("display_data", data)])
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "00_lab.ipynb")
    build.settle_widgets(tmp_path / "00_lab.ipynb")
    settled = nbformat.read(tmp_path / "00_lab.ipynb", as_version=4)
    nbformat.validate(settled)
    outputs = settled.cells[0].outputs
    assert [kind for output in outputs for kind in output.data if kind != "text/plain"] == left
    if carried:
        assert outputs[0].data["text/plain"] == printed


def test_names_the_notebook_that_failed_and_runs_the_others(
    clone: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "build_book", lambda folder, banner: True)
    write_notebook(clone, "00_breaks", 'raise ValueError("kernel size must be odd, got 20")')
    write_notebook(clone, "01_works", "seed")
    assert build.main(["--root", str(clone)]) == 1
    printed = capfd.readouterr()
    states = dict(re.findall(r"^(0\w+) .* s   (\w+)$", printed.out, re.M))
    assert states == {"00_breaks": "FAILED", "01_works": "ok"}
    text = (clone / "build/report/notebooks/01_works.ipynb").read_text()
    assert '"profile = \\"laptop\\"\\n"' in text  # where nobody asks for another
    assert "00_breaks failed" in printed.err
    assert "ValueError: kernel size must be odd, got 20" in printed.err


def test_says_where_notebooks_are_expected(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        build.main(["--root", str(tmp_path)])
    assert stop.value.code == 2
    assert "no notebooks in" in capfd.readouterr().err


def test_does_not_build_over_something_else(clone: Path, capfd: pytest.CaptureFixture) -> None:
    write_notebook(clone, "00_first", "seed")
    (clone / "mine").mkdir()
    (clone / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(SystemExit):
        build.main(["--root", str(clone), "--out", str(clone / "mine")])
    assert "something else than a report" in capfd.readouterr().err
    assert (clone / "mine" / "letter.txt").read_text() == "keep"
