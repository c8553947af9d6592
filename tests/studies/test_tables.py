"""§4.2, §4.3: Tables 2 and 3: the printed rows, and measured ones that can be measured again."""

from __future__ import annotations

from statistics import fmean

import matplotlib.pyplot as plt
import pytest
from smooth_pictures import picture

from dasrlib import compositions, data, evaluation, figures, paper
from dasrlib.evaluation import Bicubic
from dasrlib.plots import tables as draw
from dasrlib.studies import tables


@pytest.fixture
def two(monkeypatch) -> data.Pictures:
    pictures = [(name, picture(64, 72, seed)) for seed, name in enumerate(("one", "two"))]
    monkeypatch.setattr(data, "images", lambda name: pictures)
    return pictures


def test_table_3_has_nine_kernels_at_each_noise_level_and_the_printed_rows():
    blocks = tables.table3()
    assert [(b.dataset, b.scale, b.noise) for b in blocks] == [("Set14", 4, n) for n in (0, 5, 10)]
    for block in blocks:
        given = [
            (d.lambda1.item(), d.lambda2.item(), d.theta.item(), d.noise.item())
            for d in block.degradations
        ]
        expected = [(*kernel, block.noise) for kernel in paper.TABLE3_KERNELS]
        assert given == [pytest.approx(numbers, abs=1e-5) for numbers in expected]
    assert blocks[2].printed["DASR"][0] == 26.57


def test_table_2_has_every_scale_and_test_set():
    blocks = tables.table2(["Set5", "B100"])
    places = [(block.scale, block.dataset) for block in blocks]
    assert places == [(s, d) for s in (2, 3, 4) for d in ("Set5", "B100")]
    for block in blocks:
        widths = [d.lambda1.item() for d in block.degradations]
        assert widths == pytest.approx(paper.kernel_widths(block.scale))
        printed = paper.table2(block.scale)["DASR"][block.dataset]
        assert [*block.printed["DASR"]] == [*printed.values()]


@pytest.mark.parametrize("number", [0, 2])
def test_a_measured_row_is_the_mean_of_the_benchmark(two, number):
    block = tables.table3()[number]
    *printed, measured = tables.measure(block, ["bicubic"])
    assert {row.title for row in printed} == set(block.printed)
    assert all(row.system is None for row in printed)
    for column, degradation in enumerate(block.degradations):
        rows = evaluation.benchmark(Bicubic(4), two, {0.0: degradation})
        assert measured.psnr[column] == pytest.approx(fmean(r.psnr for r in rows), abs=5e-4)
        assert measured.ssim[column] == pytest.approx(fmean(r.ssim for r in rows), abs=5e-5)
        assert measured.pictures["two"][column] == pytest.approx(rows[1].psnr, abs=5e-5)
        distance = measured.psnr[column] - block.printed["DASR"][column]
        assert measured.difference[column] == pytest.approx(distance, abs=1e-3)
    assert measured.parameters == 0


def test_an_unknown_system_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'bicubic'"):
        tables.require_weights(["model4", "bicubik"], tables.table3())


def test_a_system_that_no_block_can_measure_is_refused_before_the_work():
    with pytest.raises(ValueError, match="model1-x4-aniso"):
        tables.require_weights(["bicubic", "model1"], tables.table3())


def test_large_test_sets_have_the_printed_systems_unless_somebody_asks():
    small, large = tables.table2(["Set5", "B100"])[-2:]
    names = ["bicubic", "model4", "model5"]
    assert tables.measured_on(small, names) == names
    assert tables.measured_on(large, names) == ["bicubic", "model4"]
    assert tables.measured_on(large, names, asked=True) == names
    twice = tables.table2(["Set5"])[0]
    assert (twice.scale, tables.measured_on(twice, names)) == (2, ["bicubic", "model4"])
    assert tables.measured_on(tables.table2(["B100"])[0], names) == []


def test_systems_that_learn_on_the_picture_are_measured_on_five_pictures():
    names = ["model4", "zssr", "mzsr", "mzsr-predicted"]
    where = {
        (b.dataset, b.scale): tables.measured_on(b, names) for b in tables.table2(["Set5", "Set14"])
    }
    assert where.pop(("Set5", 2)) == names
    assert all(found == ["model4"] for found in where.values())
    again = tables.table2(["Set14"])[0]
    assert tables.measured_on(again, ["zssr"], asked=True) == ["zssr"]


def test_what_was_measured_in_one_block_is_given_by_system(two):
    block = tables.table2(["Set14"])[-1]
    rows = [*tables.measure(block, ["bicubic"])]
    found = tables.by_system([*rows, *tables.measure(tables.table3()[0], ["bicubic"])][: len(rows)])
    assert list(found) == ["bicubic"]
    assert found["bicubic"]["psnr"] == rows[-1].psnr
    assert tables.by_system(rows, "Set5") == {}


CELLS = [
    (name, row["system"])
    for name in ("table2", "table3")
    if (figures.folder() / f"{name}.json").exists()
    for row in figures.read(name).data["rows"]
    if row["system"]
]


@pytest.mark.parametrize(("name", "system"), [*dict.fromkeys(CELLS)])
def test_a_stored_cell_is_measured_again(name, system):
    """The smallest picture of the system's first row, under the row's last degradation."""
    found = figures.read(name).data["rows"]
    row = next(row for row in found if row["system"] == system)
    try:
        pictures = dict(data.images(row["dataset"]))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    blocks = tables.table2([row["dataset"]]) if name == "table2" else tables.table3()
    block = next(b for b in blocks if (b.scale, b.noise) == (row["scale"], row["noise"]))
    # With noise the generator has drawn for the pictures before: the first one is taken.
    sizes = {p: pictures[p].numel() for p in ([*pictures][:1] if block.noise else pictures)}
    small = min(sizes, key=lambda picture: sizes[picture])
    built = compositions.load(system, block.scale, tables.space_of(block))
    again = evaluation.benchmark(built, [(small, pictures[small])], {0.0: block.degradations[-1]})
    # Float32 sums of another processor move a picture by some thousandths of a dB.
    assert row["pictures"][small][-1] == pytest.approx(again[0].psnr, abs=0.02)
    if "parameters" in row:  # older records have none
        assert row["parameters"] == compositions.parameters(built)


def test_both_tables_can_be_drawn(two):
    for name, blocks in (("table2", tables.table2(["Set5"])), ("table3", tables.table3())):
        rows = [vars(r) for block in blocks for r in tables.measure(block, ["bicubic"])]
        kernels = {str(block.scale): block.kernels for block in blocks}
        figure = getattr(draw, name)({"kernels": kernels, "rows": rows})
        assert "measured here" in figure.axes[0].get_legend_handles_labels()[1][-1]
        plt.close(figure)


def measured(name, dataset, scale, noise=0):
    """The stored rows of a table's block, by system."""
    place = (dataset, scale, noise)
    rows = figures.read(name).data["rows"]
    return {r["system"]: r["psnr"] for r in rows
            if r["system"] and (r["dataset"], r["scale"], r["noise"]) == place}  # fmt: skip


def test_in_the_setting_that_it_was_made_for_each_system_beats_bicubic():
    for dataset in ("Set5", "Set14"):
        found = measured("table2", dataset, 4)
        for name in ("srcnn", "rcan"):
            assert found[name][0] > found["bicubic"][0], (name, dataset)  # σ = 0
        for name in ("srmdnf", "sftmd", "model5", "ikc", "model4"):
            assert fmean(found[name]) > fmean(found["bicubic"]), (name, dataset)
    found = measured("table2", "Set5", 2)
    for name in ("zssr", "mzsr"):
        assert fmean(found[name]) > fmean(found["bicubic"]), name
