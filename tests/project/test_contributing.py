"""What CONTRIBUTING.md and the pages of decisions name is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
ROOMS = {path.stem for path in (ROOT / "dasrlib").iterdir()} - {"__init__", "__pycache__"}

every_page = pytest.mark.parametrize("path", [CONTRIBUTING, *DECISIONS], ids=lambda path: path.name)


def code(path: Path) -> list[str]:
    """The code spans of a page, outside its code blocks."""
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", text)


@every_page
def test_every_path_is_there(path: Path) -> None:
    """A path with NAME in it stands for one that the reader will make."""
    named = [span for span in code(path) if re.fullmatch(r"[\w.-]*/[\w./-]*", span)]
    for span in named:
        if "NAME" not in span and not re.match(r"(laptop|authors)/", span):
            assert (ROOT / span).exists() or (ROOT / "dasrlib" / span).exists(), span


@every_page
def test_every_name_of_the_library_is_there(path: Path) -> None:
    for span in code(path):
        room, *names = re.sub(r"\(.*\)$", "", span).split(".")
        if room in ROOMS and names and all(name.isidentifier() for name in names):
            found = importlib.import_module(f"dasrlib.{room}")
            for name in names:
                assert hasattr(found, name), f"{span}: {found.__name__} has no {name}"
                found = getattr(found, name)


@every_page
def test_every_make_target_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"\bmake ([a-z-]+)\b", " ".join(code(path)))
    assert set(named) <= targets
    assert named or path != CONTRIBUTING


def test_decisions_are_numbered() -> None:
    for number, path in enumerate(DECISIONS, 1):
        assert path.name.startswith(f"{number:04}-")
        assert path.read_text(encoding="utf-8").startswith(f"# {number} · ")


def test_the_hooks_need_no_network() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert all(hook["language"] == "system" for hook in hooks[0]["hooks"])
