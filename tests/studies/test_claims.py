"""§4.2: the paper's orderings as verdicts, and the table as means over the seeds."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from measured_runs import curve, measured_run

from dasrlib import paper
from dasrlib.studies import ablation
from dasrlib.studies.ablation import MeasuredRun


def planted(**means: list[float | None]) -> list[MeasuredRun]:
    """Rows with those means over the widths, seed by seed; no single width has their order."""
    return [
        measured_run(model, seed, [mean - apart, mean, mean, mean + apart])
        for model, by_seed in means.items()
        for apart in [2 * int(model.removeprefix("model"))]
        for seed, mean in enumerate(by_seed)
        if mean is not None
    ]


def claim(rows: list[MeasuredRun], better: str, worse: str) -> ablation.ClaimOutcome:
    (found,) = [c for c in ablation.claims(rows) if (c.better, c.worse) == (better, worse)]
    return found


@pytest.mark.parametrize(
    ("four", "one", "differences", "mean", "verdict"),
    [
        ([27.5], [27.25], {"0": 0.25}, 0.25, "came out, 1 seed"),
        ([27.5, 27], [27.25, 26.5], {"0": 0.25, "1": 0.5}, 0.375, "came out, 2 seeds"),
        ([27.0], [27.25], {"0": -0.25}, -0.25, "did not come out, 1 seed"),
        ([27.0, 26], [27.25, 26.5], {"0": -0.25, "1": -0.5}, -0.375, "did not come out, 2 seeds"),
        (
            [27.5, 26.75, 28],
            [27.25, 27, 27],
            {"0": 0.25, "1": -0.25, "2": 1},
            pytest.approx(1 / 3, abs=5e-4),
            "undecided: 3 seeds disagree",
        ),
        ([27.5, 27, None], [27.25, None, 28], {"0": 0.25}, 0.25, "came out, 1 seed"),
        ([27.5, None], [None, 27], {}, None, "not stated: a model is not trained"),
        ([27.5], [], {}, None, "not stated: a model is not trained"),
        ([27.5], [27.5], {"0": 0}, 0, "did not come out, 1 seed"),
    ],
    ids=["out", "out 2", "not", "not 2", "undecided", "one pair", "no pair", "missing", "tie"],
)
def test_verdicts(four, one, differences, mean, verdict):
    found = claim(planted(model4=four, model1=one), "model4", "model1")
    assert found.differences == differences
    assert found.mean == mean
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("five", "verdict"),
    [
        (27.5, "came out, 1 seed"),
        (27.25, "came out, 1 seed"),  # at least as good is what is claimed
        (27.0, "did not come out, 1 seed"),
    ],
)
def test_model_5_has_to_be_at_least_as_good(five, verdict):
    rows = planted(model4=[27.25], model5=[five])
    assert claim(rows, "model5", "model4").verdict == verdict


def test_summary_averages_over_the_seeds_and_names_what_is_missing():
    rows = planted(model4=[28.0, 27.0], model1=[26.5], model5=[28.0])
    found = ablation.summary(rows, "Set14", curve([25.0, 24.0, 23.0, 22.0]), {})
    assert found.measured == {
        "bicubic": curve([25.0, 24.0, 23.0, 22.0]),
        "model1": curve([24.5, 26.5, 26.5, 28.5]),
        "model4": curve([19.5, 27.5, 27.5, 35.5]),
        "model5": curve([18.0, 28.0, 28.0, 38.0]),
    }
    assert found.missing == ["model2", "model3"]
    assert found.claims == ablation.claims(rows)
    assert found.runs == rows
    assert found.dataset == "Set14"
    json.dumps(asdict(found), allow_nan=False)


def test_printed_rows_stand_beside_their_dataset_alone():
    rows, table = planted(model4=[28.0]), paper.table2(4)
    printed = ablation.summary(rows, "Set14", curve([0.0] * 4), {}).printed
    assert printed == {
        name: [(width, table[name]["Set14"][width]) for width in paper.kernel_widths(4)]
        for name in ("Bicubic", "DASR")
    }
    assert ablation.summary(rows, "tiny corners", curve([0.0] * 4), {}).printed == {}
