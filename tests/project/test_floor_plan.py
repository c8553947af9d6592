"""The floor plan in the docstring of dasrlib, against the imports in the code."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import dasrlib

HOUSE = Path(dasrlib.__file__).parent


def plan(docstring: str) -> list[str]:
    """The modules of the table, from top to bottom."""
    table = docstring.split("\n=")[2]  # between the second and the third ruled line
    return [line.split()[0] for line in table.splitlines()[1:]]


def module_of(path: Path) -> str:
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in HOUSE.rglob("*.py")}


def imports(path: Path) -> set[str]:
    """The modules of dasrlib that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "dasrlib" and len(parts) > 1:
                module = ".".join(parts[1:])
                while module and module not in MODULES:  # a function, a class: its module
                    module = module.rpartition(".")[0]
                found.add(module)
    return found - {module_of(path), ""}


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_module_has_its_line():
    listed = plan(dasrlib.__doc__)
    assert len(listed) == len(set(listed))
    assert set(listed) == {room(module) for module in MODULES if module}


def test_nothing_imports_from_a_line_below():
    listed = plan(dasrlib.__doc__)
    wrong = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        for other in sorted(imports(path))
        if module
        and room(other) != room(module)
        and listed.index(room(other)) > listed.index(room(module))
    ]
    assert wrong == []


def test_no_circle_of_files():
    # A package hands on what its files define, so its face is not an arrow of those files.
    graph = {module: imports(path) - {room(module)} for module, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())


def test_no_file_is_longer_than_400_lines():
    long = {m: n for m, p in MODULES.items() if (n := len(p.read_text().splitlines())) > 400}
    assert long == {}
