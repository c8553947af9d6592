"""Each notebook keeps the house's form, and runs from top to bottom in the smoke profile."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import prose
import pytest
import solutions

from dasrlib.book import build

# A machine may have a GPU for the other tests, and no Jupyter.
nbformat = pytest.importorskip("nbformat", reason="Jupyter is not installed")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LONGEST_CELL = 25
EXERCISE = re.compile(r"^(?:\*\*(\d+)\.\*\*|(\d+)\.) ", re.MULTILINE)

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
def test_leads_to_the_notebooks_beside_it(path: Path) -> None:
    top = cells(path, "markdown")[0].source
    number = int(path.name[:2])
    beside = [p.name for p in NOTEBOOKS if abs(int(p.name[:2]) - number) == 1]
    assert [name for name in beside if f"]({name})" not in top] == []


@every_notebook
def test_every_picture_has_words_for_those_who_do_not_see_it(path: Path) -> None:
    found = [p for cell in cells(path, "markdown") for p in prose.PICTURE.finditer(cell.source)]
    assert found
    for picture in found:
        html = re.search(r'alt="(.*?)"', picture[2] or "")
        alt = picture[1] or (html[1] if html else "")
        assert len(alt.split()) >= 3, f"say what is to be seen: {picture[0]}"


@every_notebook
def test_every_exercise_has_a_solution(path: Path) -> None:
    """A fold for each, or one fold for the block with a piece of code for each.

    A fold of its own may be an argument in words: not every question is for a computer.
    """
    asked = prose.blocks("\n\n".join(cell.source for cell in cells(path, "markdown")))[1]
    assert asked
    for block in asked:
        numbers = [int(a or b) for a, b in EXERCISE.findall(solutions.FOLDED.sub("", block))]
        assert numbers == list(range(1, len(numbers) + 1)), block
        folds = solutions.FOLDED.findall(block)
        assert all(solutions.PYTHON.search(f) or len(f.split()) >= 20 for f in folds), block
        pieces = solutions.PYTHON.findall(block)
        assert numbers, block
        assert len(folds) == len(numbers) or (len(folds) == 1 and len(pieces) == len(numbers))


@every_notebook
def test_solutions_leave_the_notebooks_names_alone(path: Path) -> None:
    """Whoever writes a solution down and reads on has `model` or `lr` as the next cell needs it.

    Read off the code, as a wrong picture instead of an error would show in no run.
    """
    assert solutions.taken(nbformat.read(path, as_version=4)) == []


def executed(path: Path, folder: Path) -> list:
    """The code cells of a notebook that ran in the smoke profile, its solutions among them."""
    copy = folder / "notebooks" / path.name
    copy.parent.mkdir()
    nbformat.write(solutions.as_cells(nbformat.read(path, as_version=4)), copy)
    run = build.execute(copy, folder / path.name, "smoke")
    written = [c for c in nbformat.read(folder / path.name, as_version=4).cells if "outputs" in c]
    assert written, run.error
    return written


def failure(cell: nbformat.NotebookNode) -> str | None:
    """What went wrong in an executed cell: its traceback, or that it never ran."""
    for output in cell.outputs:
        if output.output_type == "error":
            return build.ANSI_COLOUR.sub("", "\n".join(output.traceback))
    return "it was not reached" if cell.execution_count is None else None


@every_notebook
@pytest.mark.notebook
def test_runs_in_the_smoke_profile_and_so_do_its_solutions(path: Path, tmp_path: Path) -> None:
    """The reader's own cells, one after another, and each solution where it stands.

    Not at the end of the notebook, where a name may mean something else by then.
    """
    run = executed(path, tmp_path)
    assert any("solution" in cell.metadata for cell in run)
    failed = [
        f"{cell.metadata.get('solution', cell.source)}\n\n{why}"
        for cell in run
        if (why := failure(cell))
    ]
    assert not failed, "\n\n".join(failed)


def planted(*sources: str) -> nbformat.NotebookNode:
    """A notebook of cells; those that begin with a letter other than < are code."""
    cells = [
        nbformat.v4.new_markdown_cell(f"<details>\n\n```python\n{s[1:]}\n```\n\n</details>")
        if s.startswith("<")
        else nbformat.v4.new_code_cell(s)
        for s in sources
    ]
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )


@pytest.mark.notebook
def test_a_broken_solution_is_found_and_stops_nothing(tmp_path: Path) -> None:
    notebook = planted("x = 1", "<x = 2; y = 3", "<y + 1", "<print(x + 1)", "print(x)")
    nbformat.write(notebook, tmp_path / "planted.ipynb")
    run = executed(tmp_path / "planted.ipynb", tmp_path)[1:]  # the first has the parameters
    assert [bool(failure(cell)) for cell in run] == [False, False, True, False, False]
    assert "name 'y' is not defined" in failure(run[2])
    assert run[3].outputs[0].text == "2\n"
    assert run[4].outputs[0].text == "1\n"


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["x = 1", "<x = 2", "print(x)"], "x"),
        (["x = 1", "<for x in range(3): pass", "y = [x for _ in range(2)]"], "x"),
        (["x = 1", "<import os as x", "def f():\n    return x", "f()"], "x"),
        (["x = 1", "<x = 2", "if True:\n    x = x + 1"], "x"),
        (["x = 1", "<x = 2", "<print(x)"], "x"),
        (["x = 1", "<x = 2", "x = 3\nprint(x)", "<print(x)"], None),
        (["x = 1", "<x = 2", "with open(p) as x:\n    print(x)"], None),
        (["x = 1", "<y = x", "print(x)"], None),
        (["x = 1", "<[x for x in range(3)]", "print(x)"], None),
        (["x = 1", "<x = 2", "y = [x for x in range(2)]\nz = lambda x: x"], None),
    ],
)
def test_names_that_a_solution_takes_away(sources: list[str], names: str | None) -> None:
    found = solutions.taken(planted(*sources))
    assert [line.split()[0] for line in found] == ([names] if names else [])
