"""§4.2: the figures of notebook 06 show every system where it belongs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from dasrlib.plots import baselines as draw
from dasrlib.plots import tables
from dasrlib.systems import SYSTEMS


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


NAMES = ("bicubic", "rcan", "srmdnf", "srmdnf-predicted", "srmdnf-assumed", "model5", "model4")
MEASURED = {
    name: {"psnr": [20.0 + i, 21.0 + i], "seconds": 0.1 * (i + 1), "parameters": 1000 * i}
    for i, name in enumerate(NAMES)
}
DATA = {"dataset": "Set14", "scale": 4, "widths": [0.0, 1.2], "systems": MEASURED}


def legend(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def test_a_system_stands_in_the_panel_of_what_it_was_told():
    blind, truth, fixed = draw.psnr_over_width(DATA).axes
    both = ["bicubic", "Model 4"]
    assert legend(blind) == [both[0], "RCAN", "SRMDNF + P", both[1]]
    assert legend(truth) == [both[0], "SRMDNF", "Model 5", both[1]]
    assert legend(fixed) == [both[0], "SRMDNF, fixed", both[1]]


def test_a_point_is_the_mean_over_the_widths_against_the_seconds():
    (ax,) = draw.quality_and_seconds(DATA).axes
    points = {label: line.get_xydata()[0] for line, label in zip(ax.lines, legend(ax), strict=True)}
    assert points["RCAN, 1 k"] == pytest.approx([0.2, 21.5])
    assert len(points) == len(NAMES)


def test_steps_are_drawn_beside_bicubic():
    curve = {"steps": [0, 1, 5], "psnr": [24.0, 25.0, 26.0]}
    widths = {"1.2": {"bicubic": 24.5, "systems": {"zssr": curve, "mzsr": curve}}}
    (ax,) = draw.adaptation({"dataset": "Set5", "scale": 2, "widths": widths}).axes
    assert legend(ax) == ["bicubic", "ZSSR", "MZSR"]
    assert [float(y) for y in ax.lines[1].get_ydata()] == curve["psnr"]


def test_corrections_have_two_starts_for_each_width():
    run = {"psnr": [24.0, 25.0], "width": [2.4, 1.5]}
    widths = {"1.2": {"pushed_to": 2.4, "predicted": run, "pushed": run}}
    psnr, width = draw.corrections({"dataset": "Set5", "answer": 1, "widths": widths}).axes
    assert legend(width) == ["σ = 1.2, predicted", "σ = 1.2, from the code of σ = 2.4"]
    assert [float(y) for y in psnr.lines[0].get_ydata()] == run["psnr"]
    assert [float(y) for y in width.lines[0].get_ydata()] == run["width"]


def row(title: str, system: str | None) -> dict:
    return {"title": title, "system": system, "dataset": "Set5", "scale": 4, "psnr": [25.0, 24.0]}


def test_of_many_systems_table_2_shows_those_with_a_printed_row():
    printed = [row(title, None) for title in ("Bicubic", "RCAN", "SRMDNF + Predictor", "DASR")]
    few = [row(SYSTEMS[name].title, name) for name in NAMES]
    data = {"kernels": {"4": {"σ": [0.0, 1.2]}}, "rows": printed + few}
    shown = [label for label in legend(tables.table2(data).axes[0]) if "measured" in label]
    assert len(shown) == len(NAMES)
    data["rows"] = [*data["rows"], *(row(name, name) for name in ("srcnn", "ikc"))]
    shown = [label for label in legend(tables.table2(data).axes[0]) if "measured" in label]
    names = ("bicubic", "rcan", "srmdnf-predicted", "model4")
    assert shown == [f"{SYSTEMS[name].title}, measured here" for name in names]
