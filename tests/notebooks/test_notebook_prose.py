"""The notebooks' prose, measured: pictures, exercises, and what a reader is told at the top.

The scale is that of good teaching notebooks elsewhere: a picture every 150 to 250 words. The
bounds are meant to be met with room, and to catch the notebook that turns into a wall of text.
"""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any

import pytest
import solutions

nbformat = pytest.importorskip("nbformat", reason="Jupyter is not installed")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))

LINES = 8  # in the median; 4 to 7 elsewhere, and one more for our longer names
WORDS_PER_PICTURE = 250  # 200 is the aim; a notebook may have one idea that needs no picture
WORDS_TO_EXERCISES = 1000  # four or five minutes of reading
EXERCISES = (2, 3)  # in a block

HEADING = re.compile(r"^#{2,3} Exercises.*$", re.MULTILINE)
EXERCISE = re.compile(r"^(?:\*\*(\d+)\.\*\*|(\d+)\.) ", re.MULTILINE)
PICTURE = re.compile(r"!\[(.*?)\]\(.*?\)|<img\b(.*?)>", re.DOTALL)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def text(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def words(markdown: str) -> int:
    """The words that everyone reads: without folded solutions, code, formulas and addresses."""
    plain = solutions.FOLDED.sub(" ", markdown)
    plain = re.sub(r"^```.*?^```", " ", plain, flags=re.DOTALL | re.MULTILINE)
    plain = re.sub(r"\$\$.*?\$\$", " ", plain, flags=re.DOTALL)
    plain = PICTURE.sub(" ", plain)
    plain = re.sub(r"\]\(.*?\)", "]", plain)
    return sum(bool(re.search(r"\w", word)) for word in plain.split())


def blocks(markdown: str) -> tuple[list[str], list[str]]:
    """What is read before each block of exercises and after the last, and the blocks themselves.

    A block goes from its heading to the next section.
    """
    first, *others = HEADING.split(markdown)
    read, asked = [first], []
    for part in others:
        block, _, rest = re.sub(r"^## ", "\0", part, flags=re.MULTILINE).partition("\0")
        asked.append(block)
        read.append(rest)
    return read, asked


def pictures(outputs: list[Any]) -> int:
    """How many of the outputs are pictures; a widget's first frame is one."""
    return sum(
        any(kind.startswith("image/") for kind in output.get("data", {}))
        or "<img" in str(output.get("data", {}).get("text/html", ""))
        for output in outputs
    )


@every_notebook
def test_says_how_long_it_takes_on_what_and_what_stands_beside_it(path: Path) -> None:
    top = cells(path, "markdown")[0].source
    assert re.search(r"\b(minutes?|seconds?)\b", top)
    assert re.search(r"\b(GPU|CPU|cores?)\b", top)
    number = int(path.name[:2])
    beside = [p.name for p in NOTEBOOKS if abs(int(p.name[:2]) - number) == 1]
    assert [name for name in beside if f"]({name})" not in top] == []


@every_notebook
def test_every_picture_has_words_for_those_who_do_not_see_it(path: Path) -> None:
    found = list(PICTURE.finditer(text(path)))
    assert found
    for picture in found:
        alt = (
            picture[1]
            if picture[1] is not None
            else (re.search(r'alt="(.*?)"', picture[2]) or [0, ""])[1]
        )
        assert len(alt.split()) >= 3, f"say what is to be seen: {picture[0]}"


@every_notebook
def test_cells_are_short(path: Path) -> None:
    lines = [len(cell.source.splitlines()) for cell in cells(path, "code")]
    assert statistics.median(lines) <= LINES


@every_notebook
def test_is_never_long_without_an_exercise(path: Path) -> None:
    """Not one block for each `##`: a section may be a page, or prepare the next one.

    So it is the reader's way from one block to the next that is bounded, and with it the number of
    exercises: at least two for every thousand words.
    """
    read, asked = blocks(text(path))
    assert asked, "no exercises"
    assert [words(part) for part in read if words(part) > WORDS_TO_EXERCISES] == []


@every_notebook
def test_every_exercise_has_a_solution(path: Path) -> None:
    """A fold for each, or one fold for the block with a piece of code for each.

    A fold of its own may be an argument in words: not every question is for a computer.
    """
    for block in blocks(text(path))[1]:
        numbers = [int(a or b) for a, b in EXERCISE.findall(solutions.FOLDED.sub("", block))]
        assert numbers == list(range(1, len(numbers) + 1)), block
        assert EXERCISES[0] <= len(numbers) <= EXERCISES[1], block
        folds = solutions.FOLDED.findall(block)
        assert all(solutions.PYTHON.search(f) or len(f.split()) >= 20 for f in folds), block
        pieces = solutions.PYTHON.findall(block)
        assert len(folds) == len(numbers) or (len(folds) == 1 and len(pieces) == len(numbers)), (
            block
        )


@every_notebook
@pytest.mark.notebook
def test_pictures_keep_up_with_the_words(path: Path, executed) -> None:
    """Those drawn in the smoke profile, and those in the text; solutions count for neither."""
    drawn = sum(pictures(cell.outputs) for cell in executed(path).plain)
    there = drawn + len(PICTURE.findall(text(path)))
    each = words(text(path)) / max(there, 1)
    assert each <= WORDS_PER_PICTURE, f"{there} pictures, one for {each:.0f} words"
