"""The table of the bench, the files that it keeps, the roofline; and what it refuses to do."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import pytest
import torch

from dasrlib import bench, figures
from dasrlib.plots import bench as plots

# The table and the files


def row(**changes) -> dict:
    return {
        "group": "grouped_conv",
        "what": "grouped_conv2d forward",
        "size": "32×64×48×48",
        "variant": "reference",
        "dtype": "float32",
        "layout": "contiguous",
        "refused": None,
        "seconds": [0.0015, 0.002, 0.0025],
        "ratio": 1.0,
        "bandwidth": 0.25,
        "peak_bytes": None,
        "bytes": 4_000_000,
        "flops": 9_000_000,
        **changes,
    }


def record(*rows: dict, quick: bool = False) -> dict:
    return {
        "quick": quick,
        "seed": 7,
        "minutes": 1.5,
        "provenance": {"device": "NVIDIA H100 80GB HBM3", "threads": 16},
        "ceilings": {"copy": 3e12, "matmul": {"float32": 5e13, "bfloat16": 7.9e14}},
        "rows": list(rows),
    }


def words(line: str) -> str:
    return " ".join(line.split())


def test_the_table_holds_every_measurement():
    ours = row(variant="triton", seconds=[4e-5, 4e-5, 4e-5], ratio=50.0, peak_bytes=3 << 20)
    wrong = row(
        variant="other", seconds=None, ratio=None, bandwidth=None, refused="wrong (error 1)"
    )
    lines = bench.table(record(row(), ours, wrong)).splitlines()
    assert lines[0].startswith("NVIDIA H100 80GB HBM3")
    assert "copy 3000 GB/s" in lines[1]
    assert "790 TFLOP/s bfloat16" in lines[1]
    assert lines[3].split()[:3] == ["grouped_conv2d", "forward,", "32×64×48×48"]
    assert words(lines[4]) == "reference float32 contiguous 2 ms ± 25 % 1.00 × 25%"
    assert words(lines[5]) == "triton float32 contiguous 0.04 ms ± 0 % 50.00 × 25% 3 MiB"
    assert words(lines[6]) == "other float32 contiguous wrong (error 1)"
    assert "mean nothing" not in "".join(lines)
    assert "mean nothing" in bench.table(record(row(), quick=True))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("AMD EPYC 9654 96-Core Processor", "epyc-9654"),
        ("AMD EPYC", "epyc"),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "xeon-platinum-8481c"),
        ("Apple M2", "apple-m2"),
        ("arm", "arm"),
        ("AMD", "device"),
    ],
)
def test_a_device_has_a_short_name(name, short):
    assert bench.slug(name) == short


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "folder", lambda: tmp_path / "figures")
    yield tmp_path / "figures"
    plt.close("all")


def test_a_record_is_kept_with_its_figure_and_redrawn_from_it(folder):
    path = bench.save(record(row(), row(variant="triton", seconds=[1e-5] * 3, ratio=200.0)))
    assert sorted(p.name for p in folder.iterdir()) == ["bench-h100.json", "bench-h100.png"]
    kept = json.loads(path.read_text())
    assert kept["provenance"]["device"] == "NVIDIA H100 80GB HBM3"
    assert (kept["profile"], kept["seed"], kept["minutes"]) == (None, 7, 1.5)
    assert [r["variant"] for r in kept["data"]["rows"]] == ["reference", "triton"]
    picture = path.with_suffix(".png")
    first = picture.read_bytes()
    picture.unlink()
    figures.redraw(path)
    assert picture.read_bytes() == first


def test_a_quick_record_is_not_kept(folder):
    with pytest.raises(ValueError, match="a quick run means nothing"):
        bench.save(record(row(), quick=True))
    assert not folder.exists()


def test_an_interrupted_bench_leaves_the_old_file(folder, monkeypatch):
    bench.save(record(row()))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(figures.FigureRecord, "to_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.save(record(row(ratio=2.0)))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def points(figure) -> list[tuple[str, float, float]]:
    """What the roofline draws: column's dtype, flop per second, and the marker's colour."""
    return [
        (
            ax.get_title().partition("\n")[0].split(", ")[1],
            float(line.get_ydata()[0]),
            line.get_markerfacecolor(),
        )
        for ax in figure.axes
        for line in ax.lines
        if line.get_marker() != "None"
    ]


def test_an_emulated_dtype_has_no_roof():
    data = {"device": "here", **record(row())}
    assert len(plots.roofline(data).axes) == 2
    data["ceilings"] = {"copy": 2e10, "matmul": {"float32": 1.6e11, "bfloat16": 1e9}}
    (only,) = plots.roofline(data).axes
    assert only.get_title().startswith("here, float32")


def test_the_roofline_draws_the_first_variant_and_the_fastest_of_the_others():
    slow, fast = row(variant="a", seconds=[1e-3] * 3), row(variant="b", seconds=[1e-4] * 3)
    wrong = row(variant="c", seconds=None, ratio=None)
    half = row(variant="d", dtype="bfloat16", seconds=[1e-5] * 3, bytes=2_000_000)
    uncounted = row(what="blur", flops=0)
    for other in (slow, fast, half):
        other["ratio"] = 0.002 / other["seconds"][1]
    data = {"device": "here", **record(row(), slow, wrong, fast, half, uncounted)}
    drawn = points(plots.roofline(data))
    plt.close("all")
    assert {(dtype, round(y), colour) for dtype, y, colour in drawn} == {
        ("float32", round(9e6 / 0.002), "white"),
        ("float32", round(9e6 / 1e-4), plots.FASTEST),
        ("bfloat16", round(9e6 / 1e-5), plots.FASTEST),
    }


def test_the_roof_is_the_machines_own():
    figure = plots.roofline({"device": "here", **record(row())})
    roof = figure.axes[0].lines[0]
    x, y = roof.get_data()
    plt.close("all")
    assert y[0] == pytest.approx(3e12 * x[0])
    assert y[-1] == 5e13


# What is asked for and cannot be


def test_an_unknown_group_or_device_is_a_sentence():
    with pytest.raises(ValueError, match="did you mean 'blur'"):
        bench.run("cpu", only="blurr")
    with pytest.raises(ValueError, match="no device is named 'gpu'"):
        bench.run("gpu")


def test_a_gpu_that_is_not_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device on this machine"):
        bench.run("cuda")


def test_the_interpreter_is_not_measured_on_a_gpu_either(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match="unset it to measure"):
        bench.run("cuda")
