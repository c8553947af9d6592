"""The notebooks and the kept figures are found, or copied to where the user may write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dasrlib import figures, series

ROOT = Path(__file__).parents[1]


@pytest.fixture
def read_only(monkeypatch, tmp_path):
    """A checkout in which the user may not write, and another working directory."""
    allowed = os.access
    inside = str(ROOT)
    monkeypatch.setattr(
        os, "access",
        lambda path, mode: allowed(path, mode) and not (
            mode == os.W_OK and str(path).startswith(inside)),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_checkout_holds_its_own_series():
    assert series.root() == ROOT
    assert figures.folder() == ROOT / "figures"


def test_figures_of_a_read_only_checkout_are_read_there_and_kept_here(read_only):
    assert not series.is_writable()
    assert figures.folder() == read_only / "figures"
    there = figures.read("ablation")
    assert there.name == "ablation"
    mine = json.loads((ROOT / "figures" / "ablation.json").read_text())
    (read_only / "figures").mkdir()
    (read_only / "figures" / "ablation.json").write_text(json.dumps({**mine, "seed": 77}))
    assert figures.read("ablation").seed == 77  # the user's own comes first


def test_a_copy_is_whole_and_leaves_what_was_there(tmp_path):
    (tmp_path / "notebooks").mkdir()
    mine = tmp_path / "notebooks" / "00_quickstart.ipynb"
    mine.write_text("my own work")
    assert series.copy_to(tmp_path) == tmp_path
    for folder in ("notebooks", "figures"):
        names = {p.name for p in (ROOT / folder).iterdir() if not p.name.startswith(".")}
        assert {p.name for p in (tmp_path / folder).iterdir()} == names - {"__pycache__"}
    assert mine.read_text() == "my own work"
    copied = (tmp_path / "notebooks" / "01_degradation.ipynb").read_bytes()
    assert copied == (ROOT / "notebooks" / "01_degradation.ipynb").read_bytes()


def test_a_copy_onto_itself_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="holds the notebooks already: name another folder"):
        series.copy_to(ROOT)
    monkeypatch.setattr(series, "PACKAGE", tmp_path)  # installed without them
    with pytest.raises(FileNotFoundError, match="install dasrlib from a wheel or from a checkout"):
        series.copy_to(tmp_path / "copy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A folder into which a wheel of this checkout was unpacked by pip."""
    pytest.importorskip("setuptools", "77", reason="a wheel is built by setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    offline = ["--no-deps", "--no-index"]
    for command in (
        ["wheel", *offline, "--no-build-isolation", "-w", str(folder), str(ROOT)],
        ["install", *offline, "--target", str(folder / "site"), "--find-links", str(folder),
         "dasrlib"],
    ):  # fmt: skip
        done = subprocess.run([*pip, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for left in (ROOT / "build").glob("*"):  # what setuptools leaves in a checkout
        if left.name == "lib" or left.name.startswith("bdist."):
            shutil.rmtree(left)
    return folder / "site"


def in_wheel(site: Path, folder: Path, *arguments: str) -> str:
    """What Python prints in a folder of its own, with the wheel's dasrlib."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_holds_all_that_a_user_needs(wheel, tmp_path):
    where = in_wheel(wheel, tmp_path, "-c", "import dasrlib; print(dasrlib.__file__)")
    assert Path(where.strip()).is_relative_to(wheel)
    kinds = (".py", ".css", ".js", ".json", ".safetensors", ".typed")
    shipped = {p.relative_to(ROOT) for p in (ROOT / "dasrlib").rglob("*") if p.suffix in kinds}
    assert [str(p) for p in sorted(shipped) if not (wheel / p).is_file()] == []
    assert not (wheel / "tests").exists()
    assert "upscale" in in_wheel(wheel, tmp_path, "-m", "dasrlib.cli", "--help")
    copied = in_wheel(wheel, tmp_path, "-m", "dasrlib.cli", "notebooks", "--no-open").strip()
    assert Path(copied) == tmp_path / "dasrlib-notebooks" / "notebooks"
    used = (
        "import torch; from dasrlib import figures, inference;"
        "print(figures.read('ablation').name, figures.folder(),"
        "*inference.upscale(torch.rand(3, 8, 9), 'laptop/model4-x4-iso').shape)"
    )
    said = in_wheel(wheel, tmp_path, "-c", used).split()
    assert said == ["ablation", str(tmp_path / "figures"), "3", "32", "36"]


def test_python_in_the_folder_that_holds_the_clone_finds_the_package(tmp_path):
    """A notebook server's root is often there; the clone's folder is called dasrlib, too."""
    (tmp_path / "dasrlib").symlink_to(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", "import dasrlib.paper; print(dasrlib.__version__)"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
