"""The one form in which notebooks are stored, so that a diff shows what a person changed.

`python -m dasrlib.book.notebook_form` rewrites the notebooks in it. With --check it changes nothing
and names those that are in another form.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

from dasrlib.records.atomic_write import atomic_write

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def stored_form(text: str) -> str:
    """A notebook's json without outputs, counts and an editor's own metadata; tags stay."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in ("tags",) if key in cell.metadata}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 if a notebook was in another form and --check was given."""
    parser = argparse.ArgumentParser(prog="python -m dasrlib.book.notebook_form")
    parser.add_argument("notebooks", nargs="*", type=Path, help="by default all in notebooks/")
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args(arguments)
    changed = []
    for path in options.notebooks or sorted(Path("notebooks").glob("*.ipynb")):
        before = path.read_text(encoding="utf-8")
        after = stored_form(before)
        if after != before:
            changed.append(path)
            if not options.check:
                with atomic_write(path) as temporary:
                    temporary.write_text(after, encoding="utf-8", newline="\n")
    if options.check and changed:
        names = ", ".join(map(str, changed))
        print(f"not in their stored form: {names}; `make format` mends it", file=sys.stderr)
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
