"""The numbers in README.md are those of the figures' runs."""

import json
import re
from pathlib import Path
from statistics import fmean

import pytest

from dasrlib import systems, weights
from dasrlib.records.run_record import mean_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ABLATION = json.loads((ROOT / "figures" / "ablation.json").read_text())["data"]


@pytest.mark.parametrize(
    ("row", "curve"),
    [
        ("| bicubic, measured here |", ABLATION["measured"]["bicubic"]),
        ("| bicubic, *printed in the paper* |", ABLATION["printed"]["Bicubic"]),
        *(
            (f"| {systems.MODELS[name].title}, `laptop`, ", ABLATION["measured"][name])
            for name in systems.ABLATION
        ),
        ("| DASR, *printed in the paper*", ABLATION["printed"]["DASR"]),
    ],
)
def test_the_table_is_the_figures_data(row, curve):
    line = next(line for line in README.splitlines() if line.startswith(row))
    shown = [float(cell) for cell in line.strip("| ").split("|")[1:]]
    # Two decimals of numbers that are kept with three.
    assert shown == pytest.approx([*(psnr for _, psnr in curve), mean_of(curve)], abs=0.0051)


def test_the_claims_are_those_of_the_figure():
    said = " ".join(README.split())
    found = {(c["better"], c["worse"]): c["mean"] for c in ABLATION["claims"]}
    assert f"Model 3 by {found['model4', 'model3']:.2f} dB" in said
    assert f"behind Model 1 by {-found['model4', 'model1']:.2f}" in said
    assert f"behind Model 2 by {-found['model4', 'model2']:.2f}" in said
    assert f"leads by {found['model5', 'model4']:.2f}" in said


def test_the_papers_recipe_is_told_as_it_came_out():
    said = " ".join(README.split())
    papers = json.loads((ROOT / "figures" / "ablation-papers-recipe.json").read_text())["data"]
    poor = {run["model"]: run for run in papers["runs"]}
    told = (100 * poor[model]["read"]["knn"] for model in ("model1", "model4"))
    assert "{:.0f} % for Model 1 and {:.0f} % for Model 4".format(*told) in said
    (claim,) = [c for c in papers["claims"] if c["worse"] == "model1"]
    assert f"behind Model 1 by {-claim['mean']:.2f} dB." in said
    for model, run in poor.items():
        (good,) = [r for r in ABLATION["runs"] if (r["model"], r["seed"]) == (model, run["seed"])]
        gain = mean_of(good["psnr"]) - mean_of(run["psnr"])
        assert gain == pytest.approx(0.12, abs=0.0075)


def test_two_trainings_of_a_model_are_as_close_as_it_says():
    means = {}
    for run in ABLATION["runs"]:
        means.setdefault(run["model"], []).append(mean_of(run["psnr"]))
    spreads = [max(found) - min(found) for found in means.values() if len(found) > 1]
    assert len(spreads) == 4
    assert max(spreads) < 0.015
    assert "less than 0.015 dB apart" in " ".join(README.split())


def test_the_minutes_are_those_of_the_record():
    record = weights.catalogue()["laptop/model4-x4-iso"]
    assert f"{record.minutes:.1f} minutes" in README


def test_every_picture_and_every_link_is_there():
    links = re.findall(r"(!?)\[([^\]]*)\]\(([^)]+)\)", README)
    assert any(picture for picture, _, _ in links)
    headings = [line.lstrip("# ") for line in README.splitlines() if line.startswith("#")]
    places = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for picture, text, target in links:
        if target.startswith("https://"):
            continue
        if target.startswith("#"):
            assert target[1:] in places
        else:
            assert (ROOT / target).is_file(), target
        if picture:
            assert len(text.split()) > 3, f"{target} needs a text that says what it shows"


def test_every_notebook_has_its_row():
    section = README.split("## The notebooks")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| (\d\d) \| (.*?) \|", section, re.M))
    numbers = sorted(path.name[:2] for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    # A number that has none is said to be planned.
    planned = [row for row, text in rows.items() if text.startswith("*planned*")]
    assert [row for row in rows if row not in planned] == numbers
    assert [*rows] == [f"{number:02}" for number in range(10)]


def test_the_commands_are_there():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert named <= set(targets)
    assert {"report", "lab", "test"} <= named
    top = README.split("\n## ")[0]
    assert "git clone" in top
    assert "make report" in top


def test_the_speeds_are_those_of_the_bench():
    rows = json.loads((ROOT / "figures" / "bench-epyc.json").read_text())["data"]["rows"]
    medians = {1000 * row["seconds"][1] for row in rows if row["seconds"]}
    section = README.split("## How fast")[1].split("\n## ")[0]
    table = [line.strip("| ").split("|")[1:] for line in section.splitlines() if " | " in line]
    numbers = [line for line in table if line[0].strip()[0].isdigit()]
    shown = [[float(cell.replace(",", "")) for cell in line] for line in numbers]
    assert len(shown) == 6
    for released, ours, times in shown:
        for value in (released, ours):
            # A whole number of milliseconds, or a tenth of one.
            assert any(
                value == pytest.approx(median, abs=0.51 if value > 10 else 0.051)
                for median in medians
            )
        assert times == pytest.approx(released / ours, rel=0.06)


def test_the_comparison_is_that_of_table_2():
    rows = json.loads((ROOT / "figures" / "table2.json").read_text())["data"]["rows"]
    block = [row for row in rows if (row["dataset"], row["scale"]) == ("Set14", 4)]
    printed = {row["title"]: fmean(row["psnr"]) for row in block if not row["system"]}
    part = README.split("| mean, *printed* |")[1].split("\n\n")[0]
    shown = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in part.splitlines()[2:]}
    assert len(shown) == 7
    for row in block:
        title = systems.SYSTEMS[row["system"]].title if row["system"] else None
        if title in shown:
            *cells, last = shown.pop(title)
            expected = [*row["psnr"], fmean(row["psnr"])]
            assert [float(cell) for cell in cells] == pytest.approx(expected, abs=0.0051)
            name = {"bicubic": "Bicubic", "model4": "DASR"}.get(row["system"], title)
            assert last.strip() == (f"{printed[name]:.2f}" if name in printed else "")
    assert not shown
