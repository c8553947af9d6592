"""A figure and its json: written together, redrawn from the json alone, never from a smoke run."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from dasrlib import figures

DATA = {"x": [1, 2, 3], "y": [1.5, 0.25, 4.0], "label": "σ = 1.2"}


def lines(data: dict) -> Figure:
    """What a function of dasrlib.plots is: data in, figure out."""
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot(data["x"], data["y"], label=data["label"])
    axes.legend()
    return figure


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """`lines` as a function of a module of dasrlib.plots, with figures/ in a folder of its own."""
    module = ModuleType("dasrlib.plots.drawn_in_a_test")
    module.lines = lines  # type: ignore[attr-defined]
    monkeypatch.setattr(lines, "__module__", module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(figures, "folder", lambda: tmp_path / "figures")
    yield lines
    plt.close("all")


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def test_show_keeps_picture_and_data(draw, tmp_path):
    figure = figures.show(
        "loss", draw, DATA, profile="laptop", seed=3, minutes=12.5, dataset="B100"
    )
    folder = tmp_path / "figures"
    assert sorted(path.name for path in folder.iterdir()) == ["loss.json", "loss.png"]
    record = json.loads((folder / "loss.json").read_text())
    provenance = record.pop("provenance")
    assert {"device", "python", "torch", "commit"} <= set(provenance)
    assert record == {
        "figure": "loss",
        "draw": "dasrlib.plots.drawn_in_a_test:lines",
        "profile": "laptop",
        "seed": 3,
        "minutes": 12.5,
        "dataset": "B100",
        "data": DATA,
    }
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "profile laptop" in texts(figure)
    assert figure.axes[0].lines[0].get_ydata().tolist() == DATA["y"]


def test_show_of_the_smoke_profile_writes_nothing(draw, tmp_path):
    figure = figures.show("loss", draw, DATA, profile="smoke", seed=3)
    assert list(tmp_path.iterdir()) == []
    assert "numbers mean nothing" in texts(figure)


def test_redraw_gives_the_same_picture_from_the_json_alone(draw, tmp_path):
    figures.show("loss", draw, DATA, profile="laptop", seed=3)
    png, source = tmp_path / "figures" / "loss.png", tmp_path / "figures" / "loss.json"
    first = png.read_bytes()
    png.unlink()
    assert figures.redraw(source) == png
    assert png.read_bytes() == first
    record = json.loads(source.read_text())
    record["data"]["y"][0] = 3.0
    source.write_text(json.dumps(record))
    figures.redraw(source)
    assert png.read_bytes() != first  # the data are what is drawn


@pytest.mark.parametrize("draw_by", ["os:system", "dasrlibrary.plots:lines", "plots:lines"])
def test_redraw_asks_no_foreign_module(draw, tmp_path, draw_by):
    figures.show("loss", draw, DATA, profile="laptop", seed=3)
    source = tmp_path / "figures" / "loss.json"
    before = source.with_suffix(".png").read_bytes()
    record = json.loads(source.read_text())
    target = tmp_path / "owned"
    source.write_text(json.dumps({**record, "draw": draw_by, "data": f"touch {target}"}))
    with pytest.raises(ValueError, match="not a module of dasrlib"):
        figures.redraw(source)
    assert not target.exists()
    assert source.with_suffix(".png").read_bytes() == before


def test_figures_close_what_they_only_save(draw):
    before = plt.get_fignums()
    figures.show("loss", draw, DATA, profile="laptop", seed=3)
    assert len(plt.get_fignums()) == len(before) + 1  # the one that is shown


def test_folder_is_the_one_of_the_kept_figures():
    assert (figures.folder() / "ablation.json").is_file()
