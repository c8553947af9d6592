"""A notebook's folded solutions: a copy of the notebook in which they run, and the names that they
would take away from the cells below them."""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator
from types import CodeType
from typing import Any

FOLDED = re.compile(r"<details.*?</details>", re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def as_cells(notebook: Any) -> Any:
    """The notebook with each solution as a cell below the text it is folded in.

    A solution runs in a copy of the notebook's names, so no cell can lean on one. Its metadata say
    what its code is, `solution`; an error in it stops nothing.
    """
    from nbformat.v4 import new_code_cell

    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        for fold in FOLDED.findall(cell.source) if cell.cell_type == "markdown" else []:
            if code := "\n".join(PYTHON.findall(fold)):
                run = f"exec(compile({code!r}, 'solution', 'exec'), dict(globals()))"
                about = {"solution": code, "tags": ["raises-exception"]}
                cells.append(new_code_cell(run, metadata=about))
    notebook.cells = cells
    return notebook


def _names(code: CodeType) -> Iterator[tuple[str, bool]]:
    """The notebook's names in the order in which code uses them, each with whether it is bound."""
    for instruction in dis.get_instructions(code):
        if isinstance(instruction.argval, CodeType):  # a function: what it uses is not its own
            yield from ((n, bound) for n, bound in _names(instruction.argval) if not bound)
        elif instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            yield instruction.argval, False
        elif instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            yield instruction.argval, True


def taken(notebook: Any) -> list[str]:
    """A line for each solution that binds a name which something below it needs as it was.

    Another solution needs it as well: a reader may have written down the first and not the second.
    """
    cells = [
        (cell.metadata.get("solution"), list(_names(compile(code, "a cell", "exec"))))
        for cell in as_cells(notebook).cells
        if cell.cell_type == "code" and "install" not in cell.metadata.get("tags", [])
        for code in [cell.metadata.get("solution", cell.source)]
    ]
    lines = []
    for i, (solution, names) in enumerate(cells):
        mine = {name for name, bound in names if bound and solution}
        for other, used in cells[i + 1 :]:
            first = dict(reversed(used))  # how each name is used first
            for name in sorted(mine & first.keys()):
                if not first[name]:
                    lines.append(f"{name} is overwritten by the solution\n{solution}")
                if not (first[name] and other):  # one solution cannot mend it for the next
                    mine.remove(name)
    return lines
