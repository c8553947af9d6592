"""Notebooks are stored in one form, and a command puts them into it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="Jupyter is not installed")

from dasrlib.book import notebook_form  # noqa: E402

MINE = {"name": "mine", "display_name": "Mine"}
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A notebook as an editor leaves it: outputs, counts, its own metadata, another indentation."""
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell("# σ", metadata={"collapsed": True}),
        v4.new_code_cell(
            "profile = 'smoke'",
            metadata={"tags": ["parameters"], "scrolled": True},
            execution_count=7,
            outputs=[v4.new_output("stream", text="seven")],
        ),
    ]
    notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": MINE})
    path = tmp_path / "edited.ipynb"
    path.write_text(json.dumps(notebook, indent=4), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebooks_are_in_their_stored_form(path: Path) -> None:
    assert notebook_form.main(["--check", str(path)]) == 0


def test_a_check_changes_nothing_and_says_what_to_do(edited: Path, capsys) -> None:
    before = edited.read_bytes()
    assert notebook_form.main(["--check", str(edited)]) == 1
    assert edited.read_bytes() == before
    assert "edited.ipynb; `make format`" in capsys.readouterr().err


def test_what_a_person_wrote_stays(edited: Path) -> None:
    assert notebook_form.main([str(edited)]) == 0
    markdown, code = nbformat.read(edited, as_version=4).cells
    assert (markdown.source, code.source) == ("# σ", "profile = 'smoke'")
    assert (markdown.metadata, code.metadata) == ({}, {"tags": ["parameters"]})
    assert (code.outputs, code.execution_count) == ([], None)
    text = edited.read_text(encoding="utf-8")
    assert "σ" in text
    assert '"name": "python3"' in text
    assert text.endswith("}\n")
    assert notebook_form.main(["--check", str(edited)]) == 0
