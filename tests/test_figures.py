"""A figure and its json: written together when asked, redrawn from the json alone."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from dasrlib import figures, profiles
from dasrlib.plots import degradation
from dasrlib.records.figure_record import FigureRecord

STORED = sorted(figures.folder().glob("*.json"))
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


FACTS = {"profile": "laptop", "seed": 3, "made_by": "notebooks/01_loss.ipynb", "alt": "A loss"}


def kept(draw, data: dict = DATA, **run: object) -> Path:
    """The json of a figure that is kept."""
    return figures.keep("loss", draw, data, **{**FACTS, **run})


def test_keep_writes_picture_and_record(draw, tmp_path):
    path = kept(draw, minutes=12.5, weights=["b", "a"], datasets=["B100"])
    folder = tmp_path / "figures"
    assert sorted(path.name for path in folder.iterdir()) == ["loss.json", "loss.png"]
    assert path == folder / "loss.json"
    record = json.loads(path.read_text())
    provenance = record.pop("provenance")
    assert {"device", "python", "torch", "commit"} <= set(provenance)
    assert record == {
        "name": "loss",
        "draw": "dasrlib.plots.drawn_in_a_test:lines",
        "made_by": "notebooks/01_loss.ipynb",
        "alt": "A loss",
        "profile": "laptop",
        "seed": 3,
        "minutes": 12.5,
        "weights": ["a", "b"],
        "datasets": ["B100"],
        "data": DATA,
    }
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_minutes_are_counted_where_none_are_given(draw, monkeypatch):
    monkeypatch.setattr(figures, "_STARTED", figures.time.monotonic() - 90)
    assert figures.read(kept(draw)).minutes == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(
    ("asked", "profile", "written"),
    [
        (None, "laptop", False),
        ("0", "laptop", False),
        ("", "laptop", False),
        ("1", "laptop", True),
        ("1", "smoke", False),
    ],
)
def test_show_writes_only_when_asked(draw, tmp_path, monkeypatch, asked, profile, written):
    monkeypatch.delenv("DASR_KEEP_FIGURES", raising=False)
    if asked is not None:
        monkeypatch.setenv("DASR_KEEP_FIGURES", asked)
    figure = figures.show("loss", draw, DATA, **{**FACTS, "profile": profile})
    found = sorted(path.name for path in tmp_path.rglob("*.*"))
    assert found == (["loss.json", "loss.png"] if written else [])
    assert f"profile {profile}" in texts(figure)
    assert ("numbers mean nothing" in texts(figure)) == (profile == "smoke")
    assert figure.axes[0].lines[0].get_ydata().tolist() == DATA["y"]


def test_keep_refuses_the_smoke_profile(draw, tmp_path):
    with pytest.raises(ValueError, match="the smoke profile mean nothing and are not kept"):
        kept(draw, profile="smoke")
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_profile_is_refused(draw):
    for do in (figures.keep, figures.show):
        with pytest.raises(ValueError, match="lapptop"):
            do("loss", draw, DATA, **{**FACTS, "profile": "lapptop"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_refused_before_a_file_is_touched(draw, value):
    before = kept(draw).read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        kept(draw, {**DATA, "y": [value, 1.0, 2.0]})
    assert (figures.folder() / "loss.json").read_bytes() == before


ROWS = {"x": [0, 1], "y": [5.0, 5.0], "label": "fewer"}


@pytest.mark.parametrize(
    ("data", "datasets", "reason"),
    [
        (DATA, ["Set5"], "it has the data of Set14"),
        (DATA, ["samples"], "it has the data of Set14, Set5"),
        (ROWS, ["Set5", "Set14"], "it has 3 rows and not 2"),
    ],
)
def test_less_data_never_replaces_more(draw, capsys, data, datasets, reason):
    first = kept(draw, datasets=["Set5", "Set14", "samples"])
    before = first.read_bytes(), first.with_suffix(".png").read_bytes()
    capsys.readouterr()
    assert kept(draw, data, datasets=datasets) == first
    assert reason in capsys.readouterr().out
    assert (first.read_bytes(), first.with_suffix(".png").read_bytes()) == before


def test_as_much_data_or_more_replaces(draw, capsys):
    kept(draw, datasets=["Set5"])
    longer = {**DATA, "x": [1, 2, 3, 4], "y": [1.0, 2.0, 3.0, 4.0]}
    record = figures.read(kept(draw, longer, datasets=["Set5", "Set14"]))
    assert (record.data, record.datasets) == (longer, ["Set14", "Set5"])
    again = {**longer, "label": "anew"}
    assert figures.read(kept(draw, again, datasets=["Set14", "Set5"])).data == again
    assert capsys.readouterr().out == ""


def test_a_run_without_the_datasets_keeps_the_stored_bicubic(tmp_path, monkeypatch, capsys):
    """Notebook 01 without Set5 and Set14 measures the samples alone."""
    for ending in ("json", "png"):
        shutil.copy(figures.folder() / f"bicubic.{ending}", tmp_path)
    monkeypatch.setattr(figures, "folder", lambda: tmp_path)
    before = (tmp_path / "bicubic.json").read_bytes()
    data = {"scale": 4, "sets": {"samples": {"sigma": [0.0], "here": [30.0]}}}
    figures.keep("bicubic", degradation.bicubic_table, data, datasets=["samples"], **FACTS)
    assert (tmp_path / "bicubic.json").read_bytes() == before
    assert "Set14, Set5" in capsys.readouterr().out


def test_redraw_gives_the_same_picture_from_the_json_alone(draw, tmp_path):
    source = kept(draw)
    png = source.with_suffix(".png")
    first = png.read_bytes()
    png.unlink()
    assert figures.redraw(source) == png
    assert png.read_bytes() == first
    record = json.loads(source.read_text())
    record["data"]["y"][0] = 3.0
    source.write_text(json.dumps(record))
    figures.redraw(source)
    assert png.read_bytes() != first  # the data are what is drawn


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_stored_figure_redraws(tmp_path, path):
    copy = Path(shutil.copy(path, tmp_path))
    drawn, stored = (plt.imread(p) for p in (figures.redraw(copy), path.with_suffix(".png")))
    assert drawn.std() > 0.01  # not an empty page
    # Fonts and matplotlib's version move edges by some pixels.
    assert drawn.shape == pytest.approx(stored.shape, rel=0.05)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_stored_record_is_whole(path):
    record = figures.read(path)
    assert record.name == path.stem
    assert FigureRecord.from_json(record.to_json()) == record
    assert record.to_json() == path.read_text(encoding="utf-8")
    assert record.profile is None or not profiles.get(record.profile).is_plumbing
    assert len(record.alt.split()) > 3
    checkout = figures.folder().parent
    assert record.made_by.startswith("dasr ") or (checkout / record.made_by).is_file()


def test_all_figures_of_the_checkout_are_read():
    assert STORED, "there is no stored figure to read"
    assert sorted(figures.read_all(figures.folder())) == sorted(path.stem for path in STORED)


@pytest.mark.parametrize("draw_by", ["os:system", "dasrlibrary.plots:lines", "plots:lines"])
def test_redraw_asks_no_foreign_module(draw, tmp_path, draw_by):
    source = kept(draw)
    before = source.with_suffix(".png").read_bytes()
    record = json.loads(source.read_text())
    target = tmp_path / "owned"
    data = {"y": f"touch {target}"}
    source.write_text(json.dumps({**record, "draw": draw_by, "data": data}))
    with pytest.raises(ValueError, match="not a module of dasrlib"):
        figures.redraw(source)
    assert not target.exists()
    assert source.with_suffix(".png").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "not the record of a figure: missing"),
        ('{"figure": "loss", "data": {}}', r"missing \['alt', .*unknown \['figure'\]"),
        ('{"name": NaN}', "NaN is not valid JSON"),
        ("loss", "Expecting value"),
    ],
)
def test_a_file_that_is_not_a_record_is_refused_by_name(tmp_path, text, said):
    path = tmp_path / "loss.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"loss\.json: .*{said}"):
        figures.read(path)


def test_figures_close_what_they_only_save(draw, monkeypatch):
    monkeypatch.setenv("DASR_KEEP_FIGURES", "1")
    before = plt.get_fignums()
    figures.show("loss", draw, DATA, **FACTS)
    assert len(plt.get_fignums()) == len(before) + 1  # the one that is shown


def test_folder_is_the_one_of_the_kept_figures():
    assert (figures.folder() / "ablation.json").is_file()
