"""§4.2's figures draw what they are given, and are redrawn from their json alone."""

from __future__ import annotations

import json
from dataclasses import asdict

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from measured_runs import curve, measured_run

from dasrlib import figures, paper
from dasrlib.plots import ablation, studies
from dasrlib.plots.style import PALETTE, RC
from dasrlib.studies import ablation as experiment

WIDTHS = [0.0, 1.2, 2.4, 3.6]


@pytest.fixture(autouse=True)
def _closed():
    with plt.rc_context(RC):
        yield
    plt.close("all")


def summary(runs: list[experiment.MeasuredRun], bicubic: list[float]) -> dict:
    return asdict(experiment.summary(runs, "Set14", curve(bicubic), {}))


def table() -> dict:
    """Two seeds of Models 4 and 1, one of Model 5; Models 2 and 3 are not trained."""
    means = {("model4", 0): 27.5, ("model4", 1): 27.25, ("model1", 0): 27.0, ("model1", 1): 27.5}
    rows = [
        measured_run(model, seed, [mean + 1, mean, mean, mean - 1])
        for (model, seed), mean in {**means, ("model5", 1): 28.0}.items()
    ]
    return summary(rows, [26.5, 26.0, 25.5, 24.0])


def maps() -> dict:
    """Two maps of 24 points, three readers with four numbers each, one of them below 0."""
    rng = np.random.default_rng(0)
    labels = [width for _ in range(6) for width in WIDTHS]
    read = {"knn": 0.96, "linear": 0.91, "r2": 0.83, "silhouette": 0.31}
    return {
        "maps": {name: rng.normal(size=(24, 2)).tolist() for name in ("Model 1", "Model 4")},
        "widths": labels,
        "probes": {
            "Model 1": {"knn": 0.5, "linear": 0.6, "r2": -0.2, "silhouette": -0.05},
            "Model 4": read,
            "pixel statistics": {"knn": 0.7, "linear": 0.65, "r2": 0.5, "silhouette": 0.1},
        },
        "chance": {"knn": 0.25, "linear": 0.24, "r2": -0.1, "silhouette": -0.02},
        "perplexity": 30,
        "dataset": "B100",
    }


COSTS = {
    "names": ["baboon", "comic", "lenna"],
    "costs": [[0.0, 0.5, -0.25], [0.125, 0.0, 1.0], [0.0, 2.0, 0.0]],
    "width": 2.4,
    "dataset": "Set14",
    "model": "Model 4",
}
MISMATCH = {
    "dataset": "4 crops of Set14 ×4",
    "true": [0.2, 2.0],
    "assumed": [0.2, 1.0, 2.0],
    "psnr": {
        "Model 4": [[29.0, 28.5, 27.0], [24.0, 25.5, 26.0]],
        "Model 5": [[29.5, 29.75, 20.0], [22.0, 23.0, 27.0]],
    },
}


def words(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_the_claims_panel_has_a_dot_for_every_seed_and_the_verdict_beside_it():
    data = table()
    *_, panel = ablation.ablation(data).axes
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert [list(map(float, line.get_xdata())) for line in dots] == [
        [0.5, -0.25],  # Model 4 − 1, two seeds
        [],
        [],
        [0.75],  # Model 5 − 4: the second seed alone has both
    ]
    assert [set(line.get_ydata()) for line in dots] == [{0}, set(), set(), {3}]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ["Model 4 − 1", "Model 4 − 2", "Model 4 − 3", "Model 5 − 4"]
    # +0.125 is a tie between two decimals.
    assert words(panel)[0] in (
        "+0.12 dB: undecided: 2 seeds disagree",
        "+0.13 dB: undecided: 2 seeds disagree",
    )
    assert words(panel)[1:] == [
        "not stated: a model is not trained",
        "not stated: a model is not trained",
        "+0.75 dB: came out, 1 seed",
    ]
    low, high = panel.get_xlim()
    assert low < -0.5
    assert high > 0.75
    assert low == -high  # 0 in the middle


def test_the_ablation_draws_means_over_seeds_and_names_what_is_missing():
    data = table()
    left, middle, _ = ablation.ablation(data).axes
    drawn = {line.get_label(): list(map(float, line.get_ydata())) for line in left.lines}
    assert drawn["bicubic, measured here"] == [26.5, 26.0, 25.5, 24.0]
    assert drawn["Model 4, measured here"] == [28.375, 27.375, 27.375, 26.375]
    assert drawn["DASR, printed in the paper"] == list(paper.table2(4)["DASR"]["Set14"].values())
    assert not any(label.startswith(("Model 2", "Model 3")) for label in drawn)
    assert words(middle).count("not trained yet") == 2
    tops = {bar.get_x() + bar.get_width() / 2: bar.get_y() + bar.get_height()
            for bar in middle.patches}  # fmt: skip
    # By place, Model 1 to 5; a bar is a bottom plus a height.
    assert [tops[place] for place in (0, 3, 4)] == pytest.approx([27.25, 27.375, 28.0])


def test_tsne_shows_every_point_and_four_numbers_of_every_reader():
    data = maps()
    first, second, right = ablation.tsne(data).axes
    for ax, (name, points) in zip((first, second), data["maps"].items(), strict=True):
        assert name in ax.get_title()
        assert [len(c.get_offsets()) for c in ax.collections] == [6] * len(WIDTHS)
        shown = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
        assert sorted(map(tuple, shown.tolist())) == sorted(map(tuple, points))
        assert [c.get_label() for c in ax.collections] == [f"σ = {width:g}" for width in WIDTHS]
    assert "k-NN 96.0 %" in second.get_title()
    # A bar a reader and number, below 0 as nothing; its label says what was measured.
    numbers = [list(read.values()) for read in data["probes"].values()]
    bars = [[bar.get_height() for bar in group] for group in right.containers]
    assert bars == [[max(number, 0) for number in read] for read in numbers]
    assert words(right) == [f"{number:.2f}" for read in numbers for number in read]
    assert [group.get_label() for group in right.containers] == list(data["probes"])
    (lines,) = right.collections
    levels = [float(segment[0][1]) for segment in lines.get_segments()]
    assert levels == [0.25, 0.24, 0, 0]  # by chance, a line across each group
    for group in right.containers:
        for place, bar in enumerate(group):
            assert place - 0.45 < bar.get_x() < bar.get_x() + bar.get_width() < place + 0.45


def test_the_content_study_is_the_matrix_and_its_pairs():
    shown, pairs, *_ = studies.content_study(COSTS).axes
    (image,) = shown.images
    np.testing.assert_array_equal(image.get_array(), COSTS["costs"])
    low, high = image.get_clim()
    assert low == -high == -2  # so that white is 0
    assert words(shown)[:3] == ["0.00", "0.50", "-0.25"]  # a row is a picture restored
    assert shown.get_xlabel() == "representation taken from"
    assert sum(bar.get_height() for bar in pairs.patches) == 6  # without the diagonal
    labels = [text.get_text() for text in pairs.get_legend().get_texts()]
    others = [0.5, -0.25, 0.125, 1.0, 0.0, 2.0]
    assert labels == [f"median {np.median(others):+.3f} dB", f"mean {np.mean(others):+.3f} dB"]
    assert pairs.get_title().startswith("the 6 pairs")


def test_the_heat_map_is_what_a_wrong_width_costs():
    figure = studies.kernel_mismatch(MISMATCH)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels] == ["Model 4: dB lost", "Model 5: dB lost"]
    for ax, rows in zip(panels, MISMATCH["psnr"].values(), strict=True):
        loss = ax.images[0].get_array()
        for i, width in enumerate(MISMATCH["true"]):
            own = rows[i][MISMATCH["assumed"].index(width)]
            for j in range(3):
                assert loss[i, j] == own - rows[i][j]
        # A box where the assumed width is the true one; the rows grow upwards.
        boxes = [(p.get_x() + 0.5, p.get_y() + 0.5) for p in ax.patches]
        assert boxes == [(0, 0), (2, 1)]
        assert {p.get_edgecolor() for p in ax.patches} == {to_rgba(PALETTE[0])}
        assert [label.get_text() for label in ax.get_xticklabels()] == ["0.2", "1", "2"]
        assert [label.get_text() for label in ax.get_yticklabels()] == ["0.2", "2"]
        assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert words(panels[0]) == ["0.0", "0.5", "2.0", "2.0", "0.5", "0.0"]
    assert words(panels[1])[1] == "-0.2"  # a wrong width that served better


def test_the_crops_say_which_one_assumes_the_true_width():
    crops = {width: torch.full((3, 8, 8), float(width) / 4) for width in ("0.2", "2", "3.8")}
    psnr = {"0.2": 22.0, "2": 26.5, "3.8": 24.0}
    data = {"hr": torch.rand(3, 8, 8), "true": 2.0, "crops": crops, "psnr": psnr}
    first, *others = studies.kernel_mismatch_crops(data).axes
    assert first.get_title() == "HR"
    assert [ax.get_title() for ax in others] == [
        "assumed σ = 0.2",
        "assumed σ = 2 (true)",
        "assumed σ = 3.8",
    ]
    assert [ax.get_xlabel() for ax in others] == ["22.00 dB", "26.50 dB", "24.00 dB"]
    for ax, crop in zip(others, crops.values(), strict=True):
        shown = torch.from_numpy(np.asarray(ax.images[0].get_array()))
        torch.testing.assert_close(shown.permute(2, 0, 1).float(), crop)


def trained(
    model: str, seed: int, mean: float, knn: float | None = None, validations=()
) -> experiment.MeasuredRun:
    """A run with that mean over the widths."""
    read = None if knn is None else {"knn": knn, "r2": 0.5}
    return measured_run(model, seed, [mean + 1, mean, mean, mean - 1], read, validations)


def test_the_orders_are_the_growth_of_each_difference_seed_by_seed():
    rows = [
        trained("model4", 0, 27.5, validations=[[20, 24.0], [30, 25.0]]),
        trained("model1", 0, 27.0, validations=[[10, 23.0], [30, 25.5]]),  # at 20: 24.25
        trained("model4", 1, 27.5, validations=[[20, 24.0], [30, 25.0]]),
        trained("model1", 1, 27.0, validations=[[20, 23.0], [30, 24.0]]),
    ]
    first, *others = ablation.claim_curves(summary(rows, [26.0] * 4)).axes
    drawn = {line.get_label(): list(map(float, line.get_ydata())) for line in first.lines[1:]}
    assert drawn == {"seed 0": [-0.25, -0.5], "seed 1": [1.0, 1.0]}
    assert list(map(float, first.lines[1].get_xdata())) == [20, 30]
    assert first.get_title() == "Model 4 − 1"
    assert all(len(ax.lines) == 1 for ax in others)  # zero alone: the others are not trained


def worth() -> dict:
    """Two recipes; Model 4 in both with two seeds, Model 1 in one, Model 5 has nothing to read."""
    ours = [
        trained("model4", 0, 27.5, 0.9), trained("model4", 1, 27.75, 0.95),
        trained("model1", 0, 27.0, 0.5), trained("model5", 0, 28.0),
    ]  # fmt: skip
    theirs = [trained("model4", 0, 27.0, 0.25), trained("model4", 1, 27.0, 0.3)]
    recipes = {"ours": list(map(asdict, ours)), "theirs": list(map(asdict, theirs))}
    return {"dataset": "Set14", "probed": "B100", "recipes": recipes}


def test_worth_has_a_dot_for_every_training_and_the_gain_by_width():
    left, right = studies.representation_value(worth()).axes
    dots = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])): line.get_fillstyle()
        for line in left.lines
        if len(line.get_xdata()) == 1
    }
    assert dots == {
        (90, 27.5): "full", (95, 27.75): "full", (50, 27.0): "full",
        (25, 27.0): "none", (30, 27.0): "none",
    }  # fmt: skip
    _zero, gain = right.lines
    assert list(gain.get_ydata()) == [0.625] * 4  # the mean of 0.5 and 0.75
    assert gain.get_label() == "Model 4, 2 seeds"
    assert right.get_title() == "ours − theirs"


def test_logs_draw_what_a_run_wrote():
    with_contrast = [
        {"iteration": 25 * (i + 1), "contrastive": 2.0 + i % 2, "sr": 9.0} for i in range(20)
    ]
    with_contrast[9]["psnr"], with_contrast[19]["psnr"] = {"0": 27.0, "3.6": 24.0}, {"0": 28.0}
    alone = [{"iteration": 250, "sr": 8.0, "psnr": {"0": 26.0, "3.6": 23.0}}]
    left, right = ablation.training_curves({"model4": with_contrast, "model1": alone}).axes
    curves = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
              for line in left.lines}  # fmt: skip
    assert curves == {"Model 4": ([250, 500], [25.5, 28.0]), "Model 1": ([250], [24.5])}
    (loss,) = right.lines  # Model 1 has none
    assert (list(loss.get_xdata()), list(loss.get_ydata())) == ([250, 500], [2.5, 2.5])


@pytest.mark.parametrize(
    ("draw", "data"),
    [
        (ablation.ablation, table()),
        (ablation.tsne, maps()),
        (studies.content_study, COSTS),
        (studies.representation_value, worth()),
        (studies.kernel_mismatch, MISMATCH),
    ],
    ids=["ablation", "tsne", "content costs", "worth", "wrong representations"],
)
def test_kept_and_redrawn_from_json_alone(monkeypatch, tmp_path, draw, data):
    monkeypatch.setattr(figures, "folder", lambda: tmp_path)
    path = figures.keep(
        "drawn", draw, data, profile="laptop", seed=0, made_by="dasr bench", alt="A figure"
    )
    png = path.with_suffix(".png")
    first = png.read_bytes()
    png.unlink()
    assert figures.redraw(path) == png
    assert png.read_bytes() == first
    assert json.loads(path.read_text())["draw"] == f"{draw.__module__}:{draw.__name__}"
