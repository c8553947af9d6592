"""The page of results and the numbers of the other pages are those of the runs."""

from __future__ import annotations

import copy
import json
import math
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from dasrlib import cli, paper
from dasrlib.book import captions, numbers, results
from dasrlib.network import MODELS
from dasrlib.studies import ablation

ROOT = Path(__file__).parents[2]
FIGURES, NOTEBOOKS = ROOT / "figures", ROOT / "notebooks"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECORDS = captions.records(FIGURES)


@pytest.fixture(scope="module")
def page() -> str:
    return results.results(FIGURES, NOTEBOOKS)


def rows(page: str, beginning: str) -> list[list[str]]:
    """The cells of each row of a table that begins so."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {beginning}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def decimals(cells: list[str]) -> list[float]:
    return [float(cell) for cell in cells if re.fullmatch(r"[+-]?\d+\.\d+", cell)]


def made_up(shift: dict[tuple[str, int], float]) -> dict:
    """The record of an ablation with a run for each (model, seed), at 27 dB and the shift."""
    template = RECORDS["ablation"]["data"]["runs"][0]
    runs = [
        {**template, "model": model, "seed": seed, "psnr": [27.0 + by] * 4}
        for (model, seed), by in shift.items()
    ]
    record = copy.deepcopy(RECORDS["ablation"])
    summary = ablation.summary(runs, "Set14", [24.0] * 4)
    record["data"] = {**summary, "parameters": record["data"]["parameters"]}
    return record


@pytest.mark.parametrize("name", [name for name in RECORDS if name.startswith("ablation")])
def test_an_ablation_is_shown_whole(name: str) -> None:
    data = RECORDS[name]["data"]
    text = results.ablation(RECORDS[name])
    for model in MODELS:
        if model in data["measured"]:
            values = data["measured"][model]
            shown = decimals(rows(text, results.TITLES[model])[0])
            assert shown == pytest.approx([*values, sum(values) / 4], abs=0.0051)
    for claim in data["claims"]:
        assert claim["verdict"] in text
    for run in data["runs"]:
        assert f"seed {run['seed']}: {run['dtype']}" in text
        assert f"| {run['minutes']:.1f} |" in text


def test_trainings_of_one_model_are_counted_and_their_spread_is_shown() -> None:
    shift = {(model, seed): 0.0 for model in MODELS for seed in (0, 1)}
    shift |= {("model2", 1): 0.25, ("model4", 1): -0.125}
    record = made_up(shift)
    assert results.spread(record, "model2") == pytest.approx(0.25)
    assert results.spread(record, "model1") == 0
    text = results.ablation(record)
    assert "lie up to 0.25 dB" in text
    assert rows(text, "Model 4, the full method |")[0][1:] == ["2", "0.125"]
    assert rows(text, "Model 2, plain convolutions, measured here, 2 trainings")
    worse = rows(text, "Model 4 is better than Model 2")[0]
    assert worse[3] == "+0.000, -0.375"


def test_a_model_that_is_not_trained_is_not_measured() -> None:
    text = results.ablation(made_up({("model4", 0): 0.0}))
    assert rows(text, "Model 2, plain convolutions |")[0][1:] == ["not measured"] * 5
    assert "trained once" in text
    assert results.spread(made_up({("model4", 0): 0.0}), "model4") is None


def test_table_2_is_the_printed_one_and_the_measured_rows_beside_it(page: str) -> None:
    text = page.split("### Table 2, ×4")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if "*printed*" in line]
    printed = [line.strip("|").split("|") for line in lines]
    expected = [paper.table2(4)[m][d] for d in paper.TEST_SETS for m in paper.table2(4)]
    assert [decimals([c.strip() for c in row]) for row in printed] == [
        list(row.values()) for row in expected
    ]
    for model, values in RECORDS["ablation"]["data"]["measured"].items():
        if model in MODELS:
            line = rows(text, f" | {results.TITLES[model]}")[0]
            assert "measured here, the short recipe" in line[2]
            assert line[3:] == [f"{value:.2f}" for value in values]
    # Set5, B100 and Urban100 have no row of ours, and say so.
    assert text.count("| DASR | not measured here |") == 3


def test_table_3_is_printed_and_not_measured(page: str) -> None:
    text = page.split("## Table 3")[1].split("\n## ")[0]
    for method, levels in paper.table3().items():
        shown = [decimals(cells[2:]) for cells in rows(text, f"{method}, *printed*")]
        assert shown == [list(values) for values in levels.values()]
    assert rows(text, "DASR: not measured here")


def test_every_figure_is_there_with_its_run(page: str) -> None:
    for name, record in RECORDS.items():
        section = page.split(f"\n### {name}\n")[1].split("\n### ")[0]
        assert f"figures/{name}.png" in section
        assert f"Profile `{record['profile']}`" in section
        assert record["provenance"]["commit"].rstrip("+") in section
        assert re.search(r":alt: \S+ \S+ \S+", section)


def test_minutes_of_several_trainings_are_added() -> None:
    record = {**RECORDS["ablation"], "minutes": {"model1-0": 10.4, "model4-0": 20.2}}
    assert "31 minutes in 2 trainings" in captions.caption(record)


def test_a_figure_that_nothing_draws_is_refused(tmp_path: Path) -> None:
    for ending in ("json", "png"):
        shutil.copy(FIGURES / f"tsne.{ending}", tmp_path / f"stranger.{ending}")
    with pytest.raises(ValueError, match="stranger"):
        results.results(tmp_path, NOTEBOOKS)


def test_without_figures_the_pages_say_that_nothing_is_measured(tmp_path: Path) -> None:
    assert "The five models: not measured." in results.results(tmp_path, tmp_path)
    found = numbers.numbers(tmp_path, tmp_path)
    assert "not measured" in found["spread"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_place_has_a_number_and_every_number_is_asked_for(path: Path) -> None:
    found = numbers.numbers(FIGURES, NOTEBOOKS)
    text = path.read_text(encoding="utf-8")
    assert "{{" not in numbers.fill(text, found)
    if path.name == "expected.md":
        assert set(numbers.PLACE.findall(text)) == set(found)
    with pytest.raises(KeyError):
        numbers.fill("{{ unheard_of }}", found)


def test_the_expected_losses_are_ln_n() -> None:
    table = numbers.numbers(FIGURES, NOTEBOOKS)["losses"]
    for candidates, chance in re.findall(r"\| ([\d,]+(?: \+ 1)?) \| ([\d.]+) \|", table):
        number = sum(int(part.replace(",", "")) for part in candidates.split(" + "))
        assert float(chance) == pytest.approx(math.log(number), abs=0.0051)
    assert "9.01" in table  # the paper's queue


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


@pytest.mark.parametrize("path", [*PAGES, Path("results.md")], ids=lambda path: path.name)
def test_every_command_is_one_of_the_console(path: Path, page: str) -> None:
    text = page if path.name == "results.md" else path.read_text(encoding="utf-8")
    found = commands(numbers.fill(text, numbers.numbers(FIGURES, NOTEBOOKS)))
    assert found
    for line in found:
        parse(line)


def test_a_command_that_is_not_there_is_found() -> None:
    for line in ("dasr reproduce nothing", "dasr upscale a.png --sharp", "dasr data"):
        with pytest.raises(Exception, match=r"nothing|--sharp|whole"):
            parse(line)
    assert commands("`dasr upscale a.png`\n\ndasr bench\n") == ["dasr upscale a.png", "dasr bench"]


def test_json_of_the_figures_is_what_the_page_offers(page: str) -> None:
    offered = re.findall(r"\{download\}`\S+ <figures/(\S+)>`", page)
    assert offered
    for name in offered:
        json.loads((FIGURES / name).read_text(encoding="utf-8"))
