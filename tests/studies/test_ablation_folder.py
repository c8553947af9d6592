"""§4.2: the ablation's folder: every run in it fed alike, resumed midway, kept or refused."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import PICTURES, texture
from typer.testing import CliRunner

from dasrlib import (
    cli,
    data,
    evaluation,
    figures,
    network,
    paper,
    profiles,
    systems,
    training,
    weights,
)
from dasrlib.data import crop_to_multiple
from dasrlib.degradation import Degradations, degrade
from dasrlib.profiles import Stage
from dasrlib.studies import ablation
from dasrlib.studies.ablation import ORDER, Ablation
from dasrlib.training import Run

TOTAL = 3  # iterations
SMALL = replace(
    profiles.get("smoke"),
    patch=8,
    stage1=Stage(iterations=1, lr=5e-4, batch=2),
    stage2=Stage(iterations=2, lr=5e-4, batch=2),
    validate_every=2,
    checkpoint_minutes=1e9,
)
TEST = [texture("measured", 40, 45), texture("and another", 44, 41)]
PROBED = [*TEST, texture("a third", 41, 40)]


class Minutes:
    """A minute an iteration, whichever model's, and what each iteration was fed, by run's name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.batches: dict[str, list] = defaultdict(list)
        iterate, sample = Run.iterate, Run._sample_batch

        def timed(run: Run):
            for losses in iterate(run):
                self.now += 60
                yield losses

        def noted(run: Run, size: int, iteration: int):
            batch = sample(run, size, iteration)
            self.batches[run.folder.name].append(batch)
            return batch

        for module in (training.run, ablation):
            monkeypatch.setattr(module, "time", self)
        monkeypatch.setattr(Run, "iterate", timed)
        monkeypatch.setattr(Run, "_sample_batch", noted)
        monkeypatch.setattr(training.run, "fastest_dtype", lambda device: torch.float32)
        monkeypatch.setattr(training.run.provenance, "describe", lambda *_: {"device": "a test's"})

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def minutes(monkeypatch) -> Minutes:
    return Minutes(monkeypatch)


def started(folder: Path, profile=SMALL, seeds=(0,)) -> Ablation:
    return Ablation(folder, profile, seeds, PICTURES, "cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Ablation, Minutes]:
    """All five models, uncut, trained once; and what they were fed."""
    with pytest.MonkeyPatch.context() as patched:
        seen = Minutes(patched)
        runs = started(tmp_path_factory.mktemp("whole"))
        assert runs.train(progress=False)
    return runs, seen


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    """A folder with the finished runs, to be changed."""
    return Path(shutil.copytree(whole[0].folder, tmp_path / "copied"))


def files(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Of every file its identity on the disk, its date and its bytes: a file written anew shows."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
            path.read_bytes(),
        )
        for path in paths
    }


def assert_same_runs(folder: Path, other: Path, names: list[str]) -> None:
    for name in names:
        records = [json.loads((at / name / "weights.json").read_text()) for at in (folder, other)]
        for record in records:
            del record["sittings"]  # one for each cut
        assert records[0] == records[1], name
        for file in ("weights.safetensors", "log.jsonl"):
            same = (folder / name / file).read_bytes() == (other / name / file).read_bytes()
            assert same, f"{name}/{file}"


# One budget, the same batches


def test_all_models_see_the_same_batches_in_the_same_iterations(whole, tmp_path):
    runs, seen = whole
    assert list(seen.batches) == [f"{model}-{seed}" for model, seed in runs.runs()]
    expected = seen.batches["model4-0"]
    assert len(expected) == TOTAL
    for model in systems.ABLATION:
        for batch, same in zip(seen.batches[f"{model}-0"], expected, strict=True):
            assert all(map(torch.equal, batch.tensors, same.tensors)), model
    # And every iteration has another one, and every seed.
    assert not any(torch.equal(batch.query, expected[0].query) for batch in expected[1:])
    other = Run(tmp_path, "model4", SMALL, seed=1, images=PICTURES, device="cpu")
    assert not torch.equal(other._sample_batch(2, 0).hr, expected[0].hr)


@pytest.mark.parametrize("profile", ["laptop", "gpu", "paper"])
def test_the_models_are_of_a_size_where_they_are_compared(profile):
    counts = ablation.parameters(profiles.get(profile))
    assert counts == {
        name: network.parameter_count(network.build(name, 4, profile)) for name in systems.ABLATION
    }
    # Model 2 loses its DA convolutions, not its size.
    assert abs(counts["model2"] / counts["model4"] - 1) < 0.05
    assert counts["model1"] == counts["model4"] > counts["model3"]


# Cut and resumed


def test_what_is_finished_is_not_trained_again(copied, minutes):
    before = files(copied)
    assert started(copied).train(progress=False)
    assert files(copied) == before
    shutil.rmtree(copied / "model1-0")
    assert started(copied).train(progress=False)
    assert list(minutes.batches) == ["model1-0"]
    after = files(copied)
    assert {name: after[name] for name in before if not name.startswith("model1-0")} == {
        name: file for name, file in before.items() if not name.startswith("model1-0")
    }
    assert after["model1-0/weights.safetensors"][2] == before["model1-0/weights.safetensors"][2]


def test_cut_in_every_iteration_and_resumed_is_uncut(whole, tmp_path, minutes):
    calls = 1
    while not started(tmp_path).train(minutes=0.001, progress=False):
        calls += 1
        assert calls <= len(ORDER) * TOTAL
    assert calls == len(ORDER) * TOTAL  # a call stops after the iteration in which its time ends
    assert_same_runs(tmp_path, whole[0].folder, [f"{model}-0" for model in ORDER])


def test_the_time_is_that_of_all_models_together(whole, tmp_path, minutes, capsys):
    assert not started(tmp_path).train(4.5, progress=False)
    assert started(tmp_path).finished_record("model4", 0)
    assert started(tmp_path).finished_record("model1", 0) is None
    assert {name: len(batches) for name, batches in minutes.batches.items()} == {
        "model4-0": TOTAL,
        "model1-0": 2,
    }
    # In the middle of a run: from there, and not from the start.
    assert started(tmp_path).train()
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [
        "model1, seed 0: iteration 2 of 3",
        "model5, seed 0: iteration 0 of 3",
    ]
    assert len(minutes.batches["model1-0"]) == TOTAL
    assert_same_runs(tmp_path, whole[0].folder, [f"{model}-0" for model in ORDER])


def test_no_model_is_begun_when_the_time_is_over(tmp_path, minutes):
    assert not started(tmp_path).train(float(TOTAL), progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["model4-0"]
    assert not started(tmp_path / "none").train(0, progress=False)
    assert not (tmp_path / "none").exists()


OTHER = {
    "profile": {"profile": replace(SMALL, patch=9)},
    "schedule": {"profile": replace(SMALL, stage2=replace(SMALL.stage2, lr=1e-3))},
    "seed": {"seeds": (7,)},
}


@pytest.mark.parametrize("other", OTHER)
def test_a_folder_with_other_settings_is_refused(copied, minutes, other):
    runs = started(copied, **OTHER[other])
    if other == "seed":
        shutil.copytree(copied / "model4-0", copied / "model4-7")
    else:
        shutil.rmtree(copied / "model4-0")  # a later one is refused before the first is trained
    before = files(copied)
    for use in (lambda: runs.train(progress=False), lambda: runs.measure_runs(TEST, PROBED)):
        with pytest.raises(
            ValueError, match=r"holds a run with other settings .*: choose"
        ) as error:
            use()
        assert "\n" not in str(error.value)
        assert str(copied / ("model4-7" if other == "seed" else "model1-0")) in str(error.value)
    assert files(copied) == before


def test_an_unfinished_run_with_other_settings_is_refused(tmp_path, minutes):
    started(tmp_path).train(1.5, progress=False)
    before = files(tmp_path)
    with pytest.raises(ValueError, match="model4-0 holds a run with other settings"):
        started(tmp_path, replace(SMALL, patch=9)).train(progress=False)
    assert files(tmp_path) == before


# Measured


@pytest.fixture
def distinct(copied) -> Path:
    """The runs, with networks in which the representation says much: a few iterations whisper."""
    for path in copied.glob("*/weights.safetensors"):
        model = weights.load(path)
        with torch.no_grad():
            model.sr.compress[0].weight.mul_(30)
            for layer in model.encoder.modules() if model.needs != "nothing" else ():
                if isinstance(layer, torch.nn.Linear):
                    layer.weight.mul_(4)
        weights.save(model, path)
    return copied


def test_model_5_is_given_the_true_width(distinct):
    (row,) = [row for row in started(distinct).measure_runs(TEST, PROBED) if row.model == "model5"]
    model = weights.load(distinct / "model5-0" / "weights.safetensors")

    def given(error: float) -> list[float]:
        """PSNR over the true widths, the network being given each plus an error."""
        means = []
        for width in paper.kernel_widths(4):
            true = Degradations.isotropic(width, 4)
            found = []
            for _, picture in TEST:
                hr = crop_to_multiple(picture, 4)
                with torch.no_grad():
                    sr = model(degrade(hr[None], true), Degradations.isotropic(width + error, 4))
                found.append(evaluation.psnr_y(sr[0], hr, 4))
            means.append(sum(found) / len(found))
        return means

    # Rounded to a thousandth, and a second pass through the same float32 network.
    psnr = [db for _, db in row.psnr]
    assert psnr == pytest.approx(given(0.0), abs=0.002)
    assert psnr != pytest.approx(given(2.0), abs=0.02)


def test_runs_that_are_not_finished_are_not_measured(copied):
    (copied / "model2-0" / "weights.json").unlink()
    rows = started(copied, seeds=(0, 9)).measure_runs(TEST, PROBED)
    assert [(row.model, row.seed) for row in rows] == [
        (model, 0) for model in ORDER if model != "model2"
    ]
    assert started(copied / "nothing").measure_runs(TEST, PROBED) == []


def test_the_results_are_the_summary_of_what_was_measured(copied, monkeypatch):
    monkeypatch.setattr(ablation, "benchmark_pictures", lambda profile: ("Set14", TEST))
    monkeypatch.setattr(ablation, "probed_pictures", lambda profile: PROBED)
    runs = started(copied)
    found = runs.figure_data()
    grid = evaluation.isotropic_degradations(4, paper.kernel_widths(4))
    plain = evaluation.mean_by_degradation(evaluation.benchmark(evaluation.Bicubic(4), TEST, grid))
    bicubic = [(width, round(value, 3)) for width, value in plain.items()]
    measured = runs.measure_runs(TEST, PROBED)
    assert found == ablation.summary(measured, "Set14", bicubic, ablation.parameters(SMALL))
    assert started(copied / "nothing").figure_data() is None


# The command


@pytest.fixture
def reproduce(tmp_path, monkeypatch, minutes):
    """dasr reproduce ablation with small pictures and profiles, below a folder of the test's."""
    for name in ("smoke", "laptop"):
        monkeypatch.setitem(profiles.PROFILES, name, replace(SMALL, name=name))
    monkeypatch.setattr(data, "training_images", lambda *_: PICTURES)
    monkeypatch.setattr(ablation, "benchmark_pictures", lambda profile: ("Set14", TEST[:1]))
    monkeypatch.setattr(ablation, "probed_pictures", lambda profile: PROBED)
    monkeypatch.setattr(ablation, "require_test_sets", lambda profile: None)
    monkeypatch.setattr(figures, "folder", lambda: tmp_path / "figures")
    bar = training.run.tqdm
    monkeypatch.setattr(training.run, "tqdm", lambda **options: bar(**{**options, "disable": True}))

    def run(*words: object, code: int = 0) -> list[str]:
        line = ["reproduce", "ablation", "--folder", tmp_path / "runs", *words]
        result = CliRunner().invoke(cli.app, [str(word) for word in line])
        assert result.exit_code == code, result.output
        return (result.output if code else result.stdout).splitlines()

    return run


def test_the_command_says_how_far_it_is_and_goes_on(reproduce, tmp_path):
    said = reproduce("--profile", "smoke", "--minutes", 1.5)
    assert said[-1] == "0 of 5 runs are finished: run the same command again to resume"
    said = reproduce("--profile", "smoke", "--minutes", 1.5)
    assert "1 of 5 runs are finished: run the same command again to resume" in said
    assert not any(line.startswith(f"{'model1':8s}") for line in said)
    assert "model4 > model1: not stated: a model is not trained" in said
    said = reproduce("--profile", "smoke")
    for name in ("bicubic", *systems.ABLATION):
        (line,) = [line for line in said if line.startswith(f"{name:8s}")]
        assert len(line.split()) == 5  # and a number for each of four widths
    for better, worse in ablation.CLAIMS:
        (line,) = [line for line in said if line.startswith(f"{better} > {worse}: ")]
        assert line.endswith(" dB")
        assert "1 seed" in line
    assert "the numbers of the smoke profile mean nothing and are not kept" in said
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("moco", [False, True])
def test_a_figure_is_kept_also_of_a_part(reproduce, tmp_path, moco):
    """Of a profile that may claim something; the paper's recipe has its own folder and figure."""
    suffix = "-papers-recipe" if moco else ""
    said = reproduce(*["--encoder-recipe", "moco"] * moco, "--minutes", 5.5)
    path = tmp_path / "figures" / f"ablation{suffix}.json"
    assert said[-1] == str(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        f"ablation{suffix}.json",
        f"ablation{suffix}.png",
    ]
    kept = json.loads(path.read_text())
    assert kept["profile"] == "laptop"
    assert kept["minutes"] == pytest.approx(2 * TOTAL, abs=0.0051)
    assert kept["datasets"] == [kept["data"]["dataset"]]
    option = " --encoder-recipe moco" if moco else ""
    assert kept["made_by"].startswith(f"dasr reproduce ablation{option} --profile laptop --seeds ")
    assert kept["provenance"] == {"device": "a test's"}
    assert [(run["model"], run["minutes"]) for run in kept["data"]["runs"]] == [
        ("model4", TOTAL),
        ("model1", TOTAL),
    ]
    assert all(run["provenance"] == {"device": "a test's"} for run in kept["data"]["runs"])
    assert kept["data"]["missing"] == ["model2", "model3", "model5"]
    assert set(kept["data"]["printed"]) == {"Bicubic", "DASR"}
    folder = tmp_path / "runs" / f"laptop{suffix}"
    trained = json.loads((folder / "model4-0" / "weights.json").read_text())
    assert trained["profile"]["recipe"]["negatives"] == ("queue" if moco else "batch")
    png = path.with_suffix(".png")
    before = png.read_bytes()
    png.unlink()
    assert figures.redraw(path).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seeds", "0,x"], "seeds are whole numbers with commas between, got '0,x'"),
        (["--seeds", ""], "seeds are whole numbers with commas between, got ''"),
        (["--seeds", "1,1"], "seeds must be different numbers, at least one, got [1, 1]"),
        (["--profile", "labtop"], "did you mean 'laptop'"),
    ],
)
def test_the_command_refuses_in_a_sentence_before_it_trains(reproduce, tmp_path, words, sentence):
    (said,) = reproduce(*words, code=1)
    assert said.startswith("dasr: ")
    assert sentence in said
    assert not (tmp_path / "runs").exists()
