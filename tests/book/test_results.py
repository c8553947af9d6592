"""The page of results and the numbers of the other pages are those of the runs."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from jinja2.meta import find_undeclared_variables
from measured_runs import curve

from dasrlib import cli, figures, paper
from dasrlib.book import build, results
from dasrlib.records.figure_record import FigureRecord
from dasrlib.studies import ablation
from dasrlib.studies.ablation import MeasuredRun
from dasrlib.systems import ABLATION, SYSTEMS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECORDS = figures.read_all(ROOT / "figures")
RUN = build.describe_run([], "smoke")
VARIABLES = results.variables(RECORDS, RUN)


def filled(path: Path, kept: dict[str, FigureRecord] | None = None) -> str:
    """A page as Sphinx gets it."""
    found = VARIABLES if kept is None else results.variables(kept, RUN)
    return results.fill_in(path.read_text(encoding="utf-8"), found)


def ablation_section(record: FigureRecord) -> str:
    """The part of the page of results that shows one ablation."""
    page = filled(ROOT / "docs" / "results.md", {record.name: record})
    return page.split(f"\n### Models 1 to 5, {record.name}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def page() -> str:
    return filled(ROOT / "docs" / "results.md")


def rows(page: str, beginning: str) -> list[list[str]]:
    """The cells of each row of a table that begins so."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {beginning}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def decimals(cells: list[str]) -> list[float]:
    return [float(cell) for cell in cells if re.fullmatch(r"[+-]?\d+\.\d+", cell)]


def made_up(shift: dict[tuple[str, int], float]) -> FigureRecord:
    """The record of an ablation with a run for each (model, seed), at 27 dB and the shift."""
    kept = RECORDS["ablation"]
    template = kept.data["runs"][0]
    runs = [
        MeasuredRun(**{**template, "model": model, "seed": seed, "psnr": curve([27.0 + by] * 4)})
        for (model, seed), by in shift.items()
    ]
    parameters = kept.data["parameters"]
    summary = ablation.summary(runs, "Set14", curve([24.0] * 4), parameters)
    return replace(kept, data=asdict(summary))


@pytest.mark.parametrize("name", [name for name in RECORDS if name.startswith("ablation")])
def test_an_ablation_is_shown_whole(name: str) -> None:
    data = RECORDS[name].data
    text = ablation_section(RECORDS[name])
    for model in ABLATION:
        if model in data["measured"]:
            values = [db for _, db in data["measured"][model]]
            shown = decimals(rows(text, SYSTEMS[model].title)[0])
            assert shown == pytest.approx([*values, sum(values) / 4], abs=0.0051)
    for claim in data["claims"]:
        assert claim["verdict"] in text
    for run in data["runs"]:
        assert f"seed {run['seed']}: {run['dtype']}" in text
        assert f"| {run['minutes']:.1f} |" in text


def test_trainings_of_one_model_are_counted_and_their_spread_is_shown() -> None:
    shift = {(model, seed): 0.0 for model in ABLATION for seed in (0, 1)}
    shift |= {("model2", 1): 0.25, ("model4", 1): -0.125}
    record = made_up(shift)
    assert results.spreads(record)["model2"] == pytest.approx(0.25)
    assert results.spreads(record)["model1"] == 0
    text = ablation_section(record)
    assert "differ by up to\n0.25 dB" in text
    assert rows(text, "Model 4, the full method |")[0][1:] == ["2", "0.125"]
    assert rows(text, "Model 2, plain convolutions, measured here, 2 trainings")
    worse = rows(text, "Model 4 is better than Model 2")[0]
    assert worse[3] == "+0.000, -0.375"


def test_a_model_that_is_not_trained_is_not_measured() -> None:
    text = ablation_section(made_up({("model4", 0): 0.0}))
    assert rows(text, "Model 2, plain convolutions |")[0][1:] == ["not measured"] * 5
    assert "trained once" in text


def test_table_2_is_the_printed_one_and_the_measured_rows_beside_it(page: str) -> None:
    text = page.split("### Table 2, ×4")[1].split("\nMean seconds")[0].split("\n## ")[0]
    lines = [line for line in text.splitlines() if "*printed*" in line]
    printed = [line.strip("|").split("|") for line in lines]
    expected = [paper.table2(4)[m][d] for d in paper.TEST_SETS for m in paper.table2(4)]
    assert [decimals([c.strip() for c in row])[:-1] for row in printed] == [
        list(row.values()) for row in expected
    ]
    for model, values in RECORDS["ablation"].data["measured"].items():
        if model in ABLATION:
            line = rows(text, f"| {SYSTEMS[model].title}")[0]
            assert "measured here, [ablation](results.md#ablation)" in line[2]
            assert line[3:-1] == [f"{value:.2f}" for _, value in values]
            assert float(line[-1]) == pytest.approx(sum(v for _, v in values) / 4, abs=0.0051)
    measured = [
        row
        for row in RECORDS["table2"].data["rows"]
        if row["system"] == "model4" and row["scale"] == 4
    ]
    shown = rows(text, "| DASR (Model 4) |")
    assert [line[3:-1] for line in shown] == [[f"{v:.2f}" for v in row["psnr"]] for row in measured]
    # A test set without a row of ours says so.
    missing = set(paper.TEST_SETS) - {row["dataset"] for row in measured} - {"Set14"}
    assert text.count("| DASR | not measured here |") == len(missing)


def test_table_3_is_the_printed_one(page: str) -> None:
    text = page.split("## Table 3")[1].split("\n## ")[0]
    for method, levels in paper.table3().items():
        shown = [decimals(cells[2:-1]) for cells in rows(text, f"{method}, *printed*")]
        assert shown == [list(values) for values in levels.values()]
    assert ("DASR: not measured here" in text) == ("table3" not in RECORDS)


def test_every_figure_is_there_with_its_run(page: str) -> None:
    for name, record in RECORDS.items():
        section = page.split(f"\n### {name}\n")[1].split("\n### ")[0]
        assert f"figures/{name}.png" in section
        assert f":alt: {record.alt}\n" in section
        assert record.profile is None or f"Profile `{record.profile}`" in section
        assert record.provenance["commit"].rstrip("+") in section
        assert f"<figures/{name}.json>" in section
        where = "`make figures`" if record.made_by.endswith(".ipynb") else f"`{record.made_by}`"
        assert f"Made by {where}" in section


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"minutes": 31.5}, "31.5 minutes in 9 trainings, data sets `Set14`; "),
        ({"minutes": None}, "minutes not recorded in 9 trainings"),
        ({"weights": ["mine", "yours"]}, "weights `mine`, `yours`"),
        ({"weights": None, "datasets": None}, "weights not recorded, data sets not recorded; "),
    ],
)
def test_a_caption_says_what_was_recorded(changed: dict[str, Any], said: str) -> None:
    assert said in results.caption(replace(RECORDS["ablation"], **changed))


def test_figures_are_in_the_order_of_the_notebooks() -> None:
    shown = [record.name for record in results.reading_order(RECORDS.values())]
    assert shown[:3] == ["quickstart", "bicubic", "degradation"]
    assert shown[-18:] == [
        "bench-epyc",
        "ablation-papers-recipe",
        "ablation",
        "two-degradations",
        "adaptation",
        "corrections",
        "crop-by-all",
        "told-wrong",
        "general-kernels",
        "general-noise",
        "real",
        "real-crops",
        "representation-recipes",
        "psnr-over-width",
        "quality-seconds",
        "table2",
        "table3",
        "unseen",
    ]


def test_without_figures_the_pages_say_that_nothing_is_measured() -> None:
    page = filled(ROOT / "docs" / "results.md", {})
    assert "The five models: not measured." in page
    assert "No figure was kept." in page
    assert "How far two trainings differ: not measured." in filled(ROOT / "docs/expected.md", {})


def test_every_name_in_a_page_is_known_and_every_name_is_used() -> None:
    trees = [results.ENVIRONMENT.parse(path.read_text(encoding="utf-8")) for path in PAGES]
    assert set().union(*map(find_undeclared_variables, trees)) == set(VARIABLES)


def test_the_expected_losses_are_ln_n() -> None:
    page = filled(ROOT / "docs" / "expected.md")
    table = page.split("| candidates N |")[1].split("\n\n")[0]
    found = re.findall(r"\| ([\d,]+(?: \+ 1)?) \| ([\d.]+) \|", table)
    assert len(found) == 4
    for candidates, chance in found:
        number = sum(int(part.replace(",", "")) for part in candidates.split(" + "))
        assert float(chance) == pytest.approx(math.log(number), abs=0.0051)
    assert "ln(1 + 8,192) = 9.01" in page  # the paper's queue


def commands(text: str) -> list[str]:
    """Every line of the console in a page, in its text or in a block."""
    found = re.findall(r"`(dasr [^`\n]+)`", text) + re.findall(r"^(dasr .+)$", text, re.MULTILINE)
    return [line for line in found if "--help" not in line]


def parse(line: str) -> None:
    """As the console would, up to where the work would begin."""
    _, *words = shlex.split(line)
    command = typer.main.get_command(cli.app)
    while hasattr(command, "commands"):
        assert words, f"{line!r} is not a whole command"
        name = words.pop(0)
        assert name in command.commands, f"{line!r}: there is no {name}"
        command = command.commands[name]
    command.make_context(line, words)


WITH_COMMANDS = [path for path in PAGES if path.name != "run.md"]


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=lambda path: path.name)
def test_every_command_is_one_of_the_console(path: Path) -> None:
    found = commands(filled(path))
    assert found
    for line in found:
        parse(line)


def test_a_command_that_is_not_there_is_found() -> None:
    for line in ("dasr reproduce nothing", "dasr upscale a.png --sharp", "dasr data"):
        with pytest.raises(Exception, match=r"nothing|--sharp|whole"):
            parse(line)
    assert commands("`dasr upscale a.png`\n\ndasr bench\n") == ["dasr upscale a.png", "dasr bench"]
