"""Each notebook keeps the house's form, and runs from top to bottom in the smoke profile."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from dasrlib.report import execute

# A machine may have a GPU for the other tests, and no Jupyter.
nbformat = pytest.importorskip("nbformat", reason="Jupyter is not installed")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LONGEST_CELL = 25

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@every_notebook
def test_is_stored_without_outputs(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=4))
    for cell in cells(path, "code"):
        assert cell.outputs == []
        assert cell.execution_count is None


@every_notebook
def test_has_a_parameters_cell(path: Path) -> None:
    tagged = [cell for cell in cells(path, "code") if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    statements = ast.parse(tagged[0].source).body
    names = {target.id for line in statements for target in getattr(line, "targets", [])}
    assert {"profile", "seed"} <= names


@every_notebook
def test_can_be_run_elsewhere(path: Path) -> None:
    """Links to Colab and Binder, and a first cell that installs dasrlib in Colab alone."""
    address = re.search(r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    project = address.removeprefix("https://github.com/")
    top = cells(path, "markdown")[0].source
    file = f"notebooks/{path.name}"
    assert f"https://colab.research.google.com/github/{project}/blob/main/{file}" in top
    assert f"https://mybinder.org/v2/gh/{project}/main?labpath={file}" in top

    first = cells(path, "code")[0]
    assert {"install", "remove-cell"} <= set(first.metadata.tags)
    assert f"git clone -q --depth 1 {address} " in first.source
    comment, imported, blank, condition, *rest = first.source.splitlines()
    assert comment.startswith("#")
    assert (imported, blank) == ("import sys", "")
    assert condition == 'if "google.colab" in sys.modules:'
    assert all(line.startswith("    ") for line in rest)


@every_notebook
def test_has_no_cell_longer_than_a_screen(path: Path) -> None:
    for cell in cells(path, "code"):
        lines = cell.source.splitlines()
        assert len(lines) <= LONGEST_CELL, f"{len(lines)} lines from {lines[0]!r} on"


@every_notebook
def test_folded_solutions_are_python(path: Path) -> None:
    for cell in cells(path, "markdown"):
        assert cell.source.count("<details") == cell.source.count("</details>")
        for solution in re.findall(r"<details.*?</details>", cell.source, re.DOTALL):
            for code in re.findall(r"^```python\n(.*?)^```", solution, re.DOTALL | re.MULTILINE):
                ast.parse(code)


@every_notebook
@pytest.mark.notebook
def test_runs_in_the_smoke_profile(path: Path, tmp_path: Path) -> None:
    run = execute(path, tmp_path / path.name, "smoke")
    assert run.error is None, run.error
