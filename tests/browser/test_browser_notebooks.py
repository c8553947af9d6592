"""Each notebook that has a widget, run from the menu in a real JupyterLab, as a student does it.

The others show nothing here that their execution in tests/notebooks does not."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = [
    path.stem
    for path in sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
    if "widgets." in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize(
    "name", [NOTEBOOKS[0], *(pytest.param(n, marks=pytest.mark.slow) for n in NOTEBOOKS[1:])]
)
def test_runs_from_the_menu(lab, name: str) -> None:
    lab.open(name)
    lab.run_all()
    lab.screenshot(name)
    assert lab.errors() == []
    assert lab.unexecuted() == []
    assert lab.broken() == []
    assert lab.pictures() >= 3


def test_a_cell_that_fails_is_seen(lab) -> None:
    lab.server.write("broken", ["1", "1 / 0", "2"])
    lab.open("broken")
    lab.run_all()
    (error,) = lab.errors()
    assert "ZeroDivisionError" in error
    assert lab.unexecuted() == ["2"]
    assert lab.pictures() == 0
