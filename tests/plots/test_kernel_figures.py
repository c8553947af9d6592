"""What notebook 09 shows: the kernels' own lines, and figures that are redrawn from their json."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from dasrlib.plots import bench, kernel

FIGURES = Path(__file__).parents[2] / "figures"


def test_bars_of_several_series_are_beside_or_behind_each_other():
    series = {"counted": {"x": 2.0, "y": 3.0}, "measured": {"x": 4.0, "y": 1.5}}
    beside, behind = (kernel.grouped_bars(series, "maps", stacked=way) for way in (False, True))
    starts = [[bar.get_x() for bar in figure.axes[0].patches] for figure in (beside, behind)]
    assert starts == [[0, 0, 0, 0], [0, 0, 2, 3]]
    assert len({bar.get_y() for bar in beside.axes[0].patches}) == 4
    assert len({bar.get_y() for bar in behind.axes[0].patches}) == 2
    plt.close("all")


@pytest.mark.parametrize(
    ("module", "name"),
    [("tiles", "filter_row"), ("fused", "da_conv_kernel"), ("fused", "da_conv_backward_kernel")],
)
def test_source_is_what_inspect_gives(module, name):
    pytest.importorskip("triton", reason="Triton is not installed")
    imported = __import__(f"dasrlib.grouped_conv.{module}", fromlist=[name])
    assert kernel.source(module, name) == inspect.getsource(getattr(imported, name).fn)


def test_source_needs_no_triton(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "triton", None)  # importing it fails
    assert kernel.source("fused", "da_conv_kernel").startswith("@triton.jit\ndef da_conv_kernel(")


@pytest.mark.parametrize(("module", "name"), [("tiles", "nothing"), ("nothing", "load")])
def test_source_names_what_is_missing(module, name):
    with pytest.raises(ValueError, match="nothing"):
        kernel.source(module, name)


def test_the_counted_bytes_are_what_fusing_saves():
    record = json.loads((FIGURES / "kernel.json").read_text())["data"]
    ways = {name: [kernel.Pass(*row) for row in rows] for name, rows in record["ways"].items()}
    one = 4 * 32 * 64 * 48 * 48  # a map in float32
    # 13 maps an operation at a time, 11 with product and sum in one, 2 in one pass: and parameters.
    for name, maps in (("eager", 13), ("reference", 11), ("fused", 2)):
        assert sum(p.bytes for p in ways[name]) == pytest.approx(maps * one, rel=0.005)


@pytest.mark.parametrize(
    ("name", "draw"), [("kernel", kernel.bytes_moved), ("kernel-roofline", bench.roofline)]
)
def test_the_kept_figures_are_drawn_from_their_json(name, draw):
    record = json.loads((FIGURES / f"{name}.json").read_text())
    assert record["profile"] != "smoke"
    assert record["draw"] == f"{draw.__module__}:{draw.__name__}"
    figure = draw(record["data"])
    assert record["data"]["device"] in " ".join(ax.get_title() for ax in figure.axes)
    plt.close(figure)
