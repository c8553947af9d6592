"""§4.2: five models under one budget, cut and resumed to the same end, and measured alike."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
import torch
from measured_runs import curve, measured_run
from tiny_runs import TINY, texture
from typer.testing import CliRunner

from dasrlib import (
    cli,
    data,
    evaluation,
    figures,
    paper,
    probes,
    profiles,
    systems,
    training,
    weights,
)
from dasrlib.studies import ablation
from dasrlib.studies.ablation import Ablation, MeasuredRun, claims, summary

IMAGES = ([texture(name, 60, 52) for name in "abc"], [texture("held out", 40, 40)])
TEST = [texture("one", 48, 52), texture("two", 44, 48)]
PROBED = [*TEST, texture("three", 40, 44)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Ablation:
    runs = Ablation(tmp_path_factory.mktemp("ablation"), TINY, [3], IMAGES, "cpu")
    assert runs.train(progress=False)
    return runs


def test_every_model_has_the_same_number_of_iterations(finished):
    lasts = {model: finished.finished_record(model, 3).log[-1] for model in systems.ABLATION}
    total = TINY.stage1.iterations + TINY.stage2.iterations
    assert {model: last["iteration"] for model, last in lasts.items()} == dict.fromkeys(
        systems.ABLATION, total
    )
    first_stages = {
        model: finished.finished_record(model, 3).log[0]["stage"] for model in ("model1", "model4")
    }
    assert first_stages == {"model1": 2, "model4": 1}


def test_every_model_sees_the_same_batch_in_the_same_iteration(tmp_path):
    drawn = {}
    for model in systems.ABLATION:
        run = training.Run(tmp_path / model, model, TINY, seed=3, images=IMAGES, device="cpu")
        run.iteration = 7
        drawn[model] = run._sample_batch(2, run.iteration)
    for model, batch in drawn.items():
        for name, part in batch._asdict().items():
            expected = getattr(drawn["model4"], name)
            if name == "degradations":
                part, expected = part.kernels, expected.kernels
            assert torch.equal(part, expected), (model, name)


def test_all_models_of_a_seed_come_before_the_next_seed():
    runs = Ablation("nowhere", TINY, [4, 2]).runs()
    assert [seed for _, seed in runs] == [4] * 5 + [2] * 5
    assert runs[0] == ("model4", 4)
    assert {model for model, _ in runs[:5]} == set(systems.ABLATION)


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_are_different_ones(seeds):
    with pytest.raises(ValueError, match="different numbers"):
        Ablation("nowhere", TINY, seeds)


def test_what_is_finished_is_not_done_again(finished, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a finished run was begun again")

    monkeypatch.setattr(training, "Run", refuse)
    again = Ablation(finished.folder, TINY, [3], IMAGES, "cpu")
    assert again.train(progress=False)


def test_cut_anywhere_it_ends_at_the_same_weights(finished, tmp_path, monkeypatch):
    # Every look at the clock is a minute later, so that each call trains an iteration or two.
    now = iter(range(10**9))
    monkeypatch.setattr(time, "monotonic", lambda: 60.0 * next(now))
    cut = Ablation(tmp_path, TINY, [3], IMAGES, "cpu")
    calls = 1
    while not cut.train(minutes=8, progress=False):
        calls += 1
        assert calls < 200
        cut = Ablation(tmp_path, TINY, [3], IMAGES, "cpu")
    assert calls > 5
    for model, seed in finished.runs():
        whole, parts = (
            (runs.path(model, seed) / "weights.safetensors").read_bytes()
            for runs in (finished, cut)
        )
        assert whole == parts, model


def test_a_folder_of_other_runs_is_refused(finished):
    other = replace(TINY, patch=16)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        Ablation(finished.folder, other, [3], IMAGES, "cpu").train(progress=False)


def test_the_rows_are_what_the_saved_weights_reach(finished):
    rows = finished.measure_runs(TEST, PROBED)
    assert [row.model for row in rows] == ablation.ORDER
    degradations = evaluation.isotropic_degradations(4, paper.kernel_widths(4))
    for row in rows:
        model = weights.load(finished.path(row.model, 3) / "weights.safetensors")
        table = evaluation.benchmark(model, TEST, degradations)
        # The rows keep three decimals.
        assert dict(row.psnr) == pytest.approx(evaluation.mean_by_degradation(table), abs=6e-4)
        assert dict(row.ssim) == pytest.approx(
            evaluation.mean_by_degradation(table, "ssim"), abs=6e-5
        )
        assert row.minutes == finished.finished_record(row.model, 3).minutes
        assert [width for width, _ in row.held_out] == list(degradations)
        (last, mean) = row.curve[-1]
        assert last == row.iterations
        assert mean == pytest.approx(sum(db for _, db in row.held_out) / 4, abs=1e-3)


def test_the_rows_say_how_well_representations_tell_widths_apart(finished):
    rows = {row.model: row for row in finished.measure_runs(TEST, PROBED)}
    assert rows["model5"].read is None
    widths = evaluation.isotropic_degradations(4, (0.2, 1.4, 2.6, 3.8))
    for name in ("model1", "model4"):
        model = weights.load(finished.path(name, 3) / "weights.safetensors")
        vectors, owners, labels = evaluation.representations(model, PROBED, widths)
        numbers = probes.probe_all(vectors, labels, owners)
        # The rows keep four decimals.
        for key in ("knn", "r2"):
            assert rows[name].read[key] == pytest.approx(numbers[key], abs=6e-5)


def test_a_test_set_that_is_not_here_is_asked_for_before_the_training(tmp_path, monkeypatch):
    monkeypatch.delenv("DASR_DATA", raising=False)
    monkeypatch.setattr(data.downloads, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(data, "training_images", lambda *_: pytest.fail("it went on"))
    line = ["reproduce", "ablation", "--profile", "laptop", "--folder", str(tmp_path / "runs")]
    result = CliRunner().invoke(cli.app, line)
    assert result.exit_code == 1
    assert "Set14 is not on this machine: run `dasr data get Set14`" in result.output


def row(model: str, seed: int, *psnr: float) -> MeasuredRun:
    return measured_run(model, seed, psnr)


def test_a_claim_is_the_difference_of_the_means_seed_by_seed():
    rows = [
        row("model4", 0, 27.0, 28.0), row("model4", 1, 27.2, 28.2),
        row("model1", 0, 26.0, 28.0), row("model1", 1, 27.0, 28.0),
        row("model2", 0, 27.5, 28.5), row("model5", 0, 27.1, 28.1), row("model5", 1, 27.1, 28.1),
    ]  # fmt: skip
    found = {(c.better, c.worse): c for c in claims(rows)}
    assert found["model4", "model1"].differences == {"0": 0.5, "1": 0.2}
    assert found["model4", "model1"].mean == 0.35
    assert found["model4", "model1"].verdict == "came out, 2 seeds"
    assert found["model4", "model2"].verdict == "did not come out, 1 seed"
    assert found["model5", "model4"].verdict == "undecided: 2 seeds disagree"
    assert found["model4", "model3"].verdict.startswith("not stated")
    assert found["model4", "model3"].mean is None


def test_the_summary_averages_over_seeds_and_names_what_is_missing():
    rows = [row("model4", 0, 27.0, 26.0, 25.0, 24.0), row("model4", 1, 28.0, 26.0, 25.0, 24.0)]
    found = summary(rows, "Set14", curve([20.0] * 4), {})
    assert found.measured == {
        "bicubic": curve([20.0] * 4),
        "model4": curve([27.5, 26.0, 25.0, 24.0]),
    }
    assert found.missing == ["model1", "model2", "model3", "model5"]
    assert dict(found.printed["DASR"]) == paper.table2(4)["DASR"]["Set14"]
    assert summary(rows, "tiny corners", curve([20.0] * 4), {}).printed == {}


def test_mocos_recipe_changes_the_encoders_teaching_and_nothing_else():
    laptop = profiles.get("laptop")
    changed = profiles.with_moco_recipe(laptop)
    assert (changed.recipe.negatives, changed.recipe.encoder_input) == ("queue", "rgb")
    assert replace(changed, recipe=laptop.recipe) == laptop


def test_the_command_prints_the_table_and_keeps_nothing_of_smoke(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "folder", lambda: tmp_path / "figures")
    monkeypatch.setitem(profiles.PROFILES, "smoke", TINY)
    monkeypatch.setattr(data, "training_images", lambda *_: IMAGES)
    line = ["reproduce", "ablation", "--profile", "smoke", "--folder", str(tmp_path / "runs")]
    result = CliRunner().invoke(cli.app, line)
    assert result.exit_code == 0, result.output
    printed = result.stdout.splitlines()
    for name in ("bicubic ", *(f"{model} " for model in systems.ABLATION), "model4 > model1: "):
        assert any(line.startswith(name) for line in printed), name
    assert "mean nothing" in result.output
    assert not (tmp_path / "figures").exists()


def test_the_command_keeps_a_figure_with_the_runs(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "folder", lambda: tmp_path)
    monkeypatch.setitem(profiles.PROFILES, "laptop", TINY)
    monkeypatch.setattr(profiles.Profile, "is_plumbing", False)
    monkeypatch.setattr(ablation, "benchmark_pictures", lambda profile: ("Set14", TEST))
    monkeypatch.setattr(ablation, "probed_pictures", lambda profile: PROBED)
    monkeypatch.setattr(ablation, "require_test_sets", lambda profile: None)
    folder = tmp_path / "runs" / "laptop"
    folder.parent.mkdir()
    folder.symlink_to(finished.folder)
    line = ["reproduce", "ablation", "--seeds", "3", "--folder", str(tmp_path / "runs")]
    result = CliRunner().invoke(cli.app, line)
    assert result.exit_code == 0, result.output
    kept = json.loads((tmp_path / "ablation.json").read_text())
    assert (tmp_path / "ablation.png").is_file()
    spent = sum(run["minutes"] for run in kept["data"]["runs"])
    assert kept["minutes"] == pytest.approx(spent, abs=0.0051)  # kept with two decimals
    assert all(run["provenance"]["torch"] for run in kept["data"]["runs"])
    assert set(kept["data"]["parameters"]) == set(systems.ABLATION)


def test_seeds_that_are_no_numbers_are_refused_in_a_sentence():
    result = CliRunner().invoke(cli.app, ["reproduce", "ablation", "--seeds", "0,x"])
    assert result.exit_code == 1
    assert "whole numbers with commas between, got '0,x'" in result.output
