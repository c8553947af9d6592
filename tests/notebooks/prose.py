"""A report on the prose of README and the notebooks: `make prose`.

It counts; whether a text is good is for its readers. Good teaching notebooks elsewhere have a
picture every 150 to 250 words, cells of 4 to 7 lines, and exercises every four or five minutes of
reading. What is outside these numbers is marked with a star.
"""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any

import solutions

ROOT = Path(__file__).parents[2]

WORDS_ON_TOP = 330  # of README, before its first section
WORDS_PER_PICTURE = 250
WORDS_TO_EXERCISES = 1000
LINES = 8  # in the median; one more than elsewhere, for our longer names

HEADING = re.compile(r"^#{2,3} Exercises.*$", re.MULTILINE)
PICTURE = re.compile(r"!\[(.*?)\]\(.*?\)|<img\b(.*?)>", re.DOTALL)


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


def marked(value: float, most: float) -> str:
    return f"{value:.0f}{'*' if value > most else ' '}"


def row(path: Path) -> list[str]:
    """The counts of a notebook, its pictures from the last report if there is one."""
    import nbformat

    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    lines = [len(c.source.splitlines()) for c in cells if c.cell_type == "code"]
    executed = ROOT / "build" / "report" / "notebooks" / path.name
    per_picture = "?"
    if executed.exists():
        outputs = [c.get("outputs", []) for c in nbformat.read(executed, as_version=4).cells]
        there = sum(map(pictures, outputs)) + len(PICTURE.findall(text))
        per_picture = marked(words(text) / max(there, 1), WORDS_PER_PICTURE)
    longest = max(map(words, blocks(text)[0]))
    return [
        path.stem,
        f"{words(text)} ",
        per_picture,
        marked(longest, WORDS_TO_EXERCISES),
        marked(statistics.median(lines), LINES),
    ]


def main() -> None:
    top = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    print(f"README before its first section: {marked(words(top), WORDS_ON_TOP)}words")
    print("Pictures are counted in build/report, which make report makes.\n")
    head = ["", "words ", "a picture ", "to exercises ", "lines a cell "]
    for line in [head, *map(row, sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")))]:
        print(f"{line[0]:20}" + "".join(f"{cell:>15}" for cell in line[1:]))


if __name__ == "__main__":
    main()
