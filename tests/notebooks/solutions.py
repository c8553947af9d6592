"""A notebook's folded solutions: what they are, a copy of the notebook in which they are cells, and
the names that they would take away from the cells below them."""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dasrlib.book import build

FOLDED = re.compile(r"<details.*?</details>", re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

# Around each solution: what it names is forgotten, so that the cells below see the notebook alone.
# Names with an underscore are the kernel's own.
KEEP = "_reader = dict(globals())"
FORGET = """\
for _name in [n for n in globals() if n not in _reader and not n.startswith("_")]:
    del globals()[_name]
globals().update({n: v for n, v in _reader.items() if not n.startswith("_")})"""


def blocks(text: str) -> list[str]:
    """The code of a markdown cell's solutions, a string for each fold that has any."""
    found = ["\n".join(PYTHON.findall(fold)) for fold in FOLDED.findall(text)]
    return [code for code in found if code]


def as_cells(notebook: Any) -> Any:
    """The notebook with each solution as a cell below the text it is folded in.

    Its metadata say which it is, `solution`; an error in it stops nothing.
    """
    from nbformat.v4 import new_code_cell

    cells, number = [], 0
    for cell in notebook.cells:
        cells.append(cell)
        for code in blocks(cell.source) if cell.cell_type == "markdown" else []:
            number += 1
            about = {"solution": number, "below": cell.id, "tags": ["raises-exception"]}
            cells += [
                new_code_cell(KEEP),
                new_code_cell(code, metadata=about),
                new_code_cell(FORGET),
            ]
    notebook.cells = cells
    return notebook


@dataclass(frozen=True)
class Executed:
    """A notebook that ran with its solutions as cells: its code cells, and what stopped it."""

    cells: list[Any]
    error: str | None

    @classmethod
    def of(cls, path: Path, folder: Path, profile: str = "smoke") -> Executed:
        """Executes the notebook at `path` in a folder of its own."""
        import nbformat

        copy = folder / "notebooks" / path.name
        copy.parent.mkdir()
        nbformat.write(as_cells(nbformat.read(path, as_version=4)), copy)
        run = build.execute(copy, folder / path.name, profile)
        written = nbformat.read(folder / path.name, as_version=4)
        code = [c for c in written.cells if c.cell_type == "code"]
        return cls([c for c in code if c.source not in (KEEP, FORGET)], run.error)

    @property
    def solutions(self) -> list[Any]:
        return [cell for cell in self.cells if "solution" in cell.metadata]

    @property
    def plain(self) -> list[Any]:
        return [cell for cell in self.cells if "solution" not in cell.metadata]


def failure(cell: Any) -> str | None:
    """What went wrong in an executed cell: its traceback, or that it never ran."""
    for output in cell.outputs:
        if output.output_type == "error":
            return build.ANSI_COLOUR.sub("", "\n".join(output.traceback))
    return "it was not reached" if cell.execution_count is None else None


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _statements(codes: Iterable[str]) -> Iterator[ast.stmt]:
    """The statements in the order in which they run; of a loop its head, and then its body."""
    waiting = [s for code in codes for s in ast.parse(code).body]
    while waiting:
        statement = waiting.pop(0)
        if isinstance(statement, (ast.If, ast.For, ast.While, ast.With)):
            waiting[:0] = [*statement.body, *getattr(statement, "orelse", [])]
            statement.body = [ast.Pass()]
            if hasattr(statement, "orelse"):
                statement.orelse = []
        yield statement


def _names(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """The notebook's names that a statement reads, and those that it binds."""
    top = symtable.symtable(ast.unparse(statement), "cell", "exec")
    read = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    for table in list(_tables(top))[1:]:
        read |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    return read, {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}


def bound(code: str) -> set[str]:
    """The names that code binds in the notebook."""
    return set().union(*(_names(statement)[1] for statement in _statements([code])))


def functions(codes: Iterable[str]) -> dict[str, set[str]]:
    """The notebook's names that each of its functions reads when it is called."""
    definitions = [s for s in _statements(codes) if isinstance(s, ast.FunctionDef)]
    return {definition.name: _names(definition)[0] for definition in definitions}


def needed(codes: Iterable[str], called: dict[str, set[str]]) -> set[str]:
    """The names that must be there before the codes run one after another."""
    there: set[str] = set()
    missing: set[str] = set()
    for statement in _statements(codes):
        read, bound_here = _names(statement)
        if isinstance(statement, ast.FunctionDef):
            read = set()  # its body reads when it is called
        for name in [n for n in read if n in called]:
            read |= called[name]
        missing |= read - there
        there |= bound_here
    return missing


def taken(notebook: Any) -> list[str]:
    """A line for each solution that binds a name which something below it needs as it was.

    Another solution needs it as well: a reader may have written down the first and not the second.
    """
    code = [
        cell
        for cell in as_cells(notebook).cells
        if cell.cell_type == "code"
        and cell.source not in (KEEP, FORGET)
        and "install" not in cell.metadata.get("tags", [])
    ]
    called = functions(cell.source for cell in code)
    lines = []
    for i, cell in enumerate(code):
        if "solution" not in cell.metadata:
            continue
        wanted: set[str] = set()
        plain: list[str] = []
        for other in code[i + 1 :]:
            if "solution" in other.metadata:
                wanted |= needed([*plain, other.source], called)
            else:
                plain.append(other.source)
        wanted |= needed(plain, called)
        if names := sorted(bound(cell.source) & wanted):
            lines.append(f"solution {cell.metadata.solution} overwrites {', '.join(names)}")
    return lines
