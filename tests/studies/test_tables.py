"""§4.2, §4.3: Tables 2 and 3: the printed rows, and measured ones that can be measured again."""

from __future__ import annotations

from statistics import fmean

import matplotlib.pyplot as plt
import pytest
from smooth_pictures import picture

from dasrlib import data, evaluation, figures, paper
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
    entry = tables.ENTRIES["table3"]["bicubic"]
    *printed, measured = tables.measure(block, {4: [(entry, Bicubic(4))]})
    assert {row.title for row in printed} == set(block.printed)
    assert all(row.system is None for row in printed)
    for column, degradation in enumerate(block.degradations):
        rows = evaluation.benchmark(Bicubic(4), two, {0.0: degradation})
        assert measured.psnr[column] == pytest.approx(fmean(r.psnr for r in rows), abs=5e-4)
        assert measured.ssim[column] == pytest.approx(fmean(r.ssim for r in rows), abs=5e-5)
        assert measured.pictures["two"][column] == pytest.approx(rows[1].psnr, abs=5e-5)
        distance = measured.psnr[column] - block.printed["DASR"][column]
        assert measured.difference[column] == pytest.approx(distance, abs=1e-3)


def test_an_unknown_system_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'bicubic'"):
        tables.choose("table3", ["dasr", "bicubik"])


@pytest.mark.parametrize("name", ["table2", "table3"])
def test_a_stored_cell_is_measured_again(name):
    if not (figures.folder() / f"{name}.json").exists():
        pytest.skip(f"figures/{name}.json has not been measured yet")
    try:
        pictures = dict(data.images("Set14"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    blocks = tables.table2(["Set14"]) if name == "table2" else tables.table3()
    rows = [r for r in figures.read(name).data["rows"] if r["dataset"] == "Set14" and r["pictures"]]
    assert rows
    for entry in tables.ENTRIES[name].values():
        row = next((r for r in rows if r["title"] == entry.title), None)
        if row is None:
            continue
        # The last noise level's generator has drawn for the pictures before: the first is taken.
        block = next(b for b in blocks if (b.scale, b.noise) == (row["scale"], row["noise"]))
        first = next(iter(pictures))
        again = evaluation.benchmark(
            entry.load(block.scale), [(first, pictures[first])], {0.0: block.degradations[-1]}
        )
        # Float32 sums of another processor move a picture by some thousandths of a dB.
        assert row["pictures"][first][-1] == pytest.approx(again[0].psnr, abs=0.02)


def test_both_tables_can_be_drawn(two):
    for name, blocks in (("table2", tables.table2(["Set5"])), ("table3", tables.table3())):
        rows = []
        for block in blocks:
            entry = tables.ENTRIES[name]["bicubic"]
            rows += [
                vars(r)
                for r in tables.measure(block, {block.scale: [(entry, Bicubic(block.scale))]})
            ]
        kernels = {str(block.scale): block.kernels for block in blocks}
        figure = getattr(draw, name)({"kernels": kernels, "rows": rows})
        assert "measured here" in figure.axes[0].get_legend_handles_labels()[1][-1]
        plt.close(figure)
