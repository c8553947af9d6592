"""§3.2.1: each recipe does what its row says and nothing else, and the study of them keeps its
word."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from dasrlib import data, figures, probes, profiles
from dasrlib.cli import app
from dasrlib.degradation import DegradationSpace
from dasrlib.plots import recipes as draw
from dasrlib.profiles import Stage
from dasrlib.representation import (
    DIMENSION,
    IN_BATCH,
    MOCO,
    ContrastiveLearner,
    ContrastiveRecipe,
)
from dasrlib.studies import recipe_study
from dasrlib.studies.contrastive_recipes import (
    MOCO_1024,
    TRIALS,
    Schedule,
    build_encoder,
    train,
)
from dasrlib.studies.probe_set import ProbeSet
from dasrlib.studies.recipe_study import run_study
from dasrlib.training.patches import PatchPairs
from dasrlib.training.step import Step, sample_batch

CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # float32 sums in another order
SPACE = DegradationSpace.isotropic(4)
TINY_MOCO = replace(MOCO_1024, queue_size=8)


def patches(seed: int, b: int = 6) -> Tensor:
    return torch.rand(b, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


# One part at a time

MORE_THAN_ONE = {
    # A queue's keys are old: they can pass no gradient, and come from an encoder of their own.
    "short-queue": {"negatives", "queue_size", "key_gradient", "momentum", "batchnorm"},
    "short-rgb-two-pictures": {"encoder_input", "positives"},
    "labels-rgb": {"encoder_input", "supervised"},
}


def changes(recipe: ContrastiveRecipe, parent: ContrastiveRecipe) -> set[str]:
    fields = [field.name for field in dataclasses.fields(ContrastiveRecipe)]
    return {f for f in fields if getattr(recipe, f) != getattr(parent, f)}


@pytest.mark.parametrize("name", sorted(set(TRIALS) - {"moco", "short"}))
def test_a_row_changes_one_part_of_its_parent(name):
    changed = changes(TRIALS[name][1], MOCO_1024 if name.startswith("moco") else IN_BATCH)
    if name in MORE_THAN_ONE:
        assert changed == MORE_THAN_ONE[name]
    else:
        assert len(changed) == 1


def test_the_two_parents_are_the_profiles_recipes():
    assert TRIALS["short"][1] == profiles.get("laptop").recipe
    # MoCo's queue and momentum are scaled, each for its own length of training.
    of_laptop = profiles.with_moco_recipe(profiles.get("laptop")).recipe
    for recipe in (TRIALS["moco"][1], of_laptop):
        assert changes(recipe, MOCO) == {"queue_size", "momentum"}
    assert of_laptop != TRIALS["moco"][1]


def test_titles_and_file_names_tell_the_rows_apart():
    assert len({title for title, _ in TRIALS.values()}) == len(TRIALS)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") for name in TRIALS)


@pytest.mark.parametrize("name", [n for n in TRIALS if not TRIALS[n][1].supervised])
def test_labels_never_reach_a_contrastive_recipe(name):
    recipe = TRIALS[name][1]
    learner = ContrastiveLearner(build_encoder(recipe), recipe)
    labels = torch.full((6,), math.nan)  # a recipe that reads them is found out
    assert math.isfinite(learner(patches(0), patches(1), labels).loss.item())


# What the trials see


def test_positives_of_one_picture_or_of_two():
    # A picture of one grey tells which it is, whatever the blur.
    grey = [(f"{i}", torch.full((3, 64, 64), i / 16)) for i in range(16)]
    source = PatchPairs(grey, 64)
    one, two = (
        [
            part.mean(dim=(1, 2, 3))
            for part in sample_batch(
                source, SPACE, 0, replace(IN_BATCH, positives=positives), 6, 0
            )[:2]
        ]
        for positives in ("same-picture", "same-degradation")
    )
    assert len(one[0].unique()) > 3
    torch.testing.assert_close(one[1], one[0], **CLOSE)
    torch.testing.assert_close(two[0], one[0], **CLOSE)  # every recipe gets the same queries
    torch.testing.assert_close(two[1], one[0].roll(1), **CLOSE)


@pytest.mark.parametrize("positives", ["same-picture", "same-degradation"])
def test_positives_share_their_degradation(positives):
    # A single picture, in whole: all that flips and turns leave is how far it was blurred.
    source = PatchPairs([("noise", torch.rand(3, 64, 64))], 64)
    batch = sample_batch(source, SPACE, 0, replace(IN_BATCH, positives=positives), 6, 0)
    of_query, of_key = batch.query.std(dim=(1, 2, 3)), batch.key.std(dim=(1, 2, 3))
    torch.testing.assert_close(of_key, of_query, rtol=0.01, atol=0)
    assert torch.equal(of_query.argsort(descending=True), batch.widths.argsort())


def tiny(iterations: int) -> Schedule:
    return Schedule(Stage(iterations, lr=1e-3, batch=4), patch=8)


def test_training_changes_the_encoder_and_is_the_same_for_a_seed():
    source = PatchPairs([(f"{i}", torch.rand(3, 48, 48)) for i in range(4)], 32)
    first, log = train(TINY_MOCO, tiny(20), source, SPACE, seed=3)
    again, same = train(TINY_MOCO, tiny(20), source, SPACE, seed=3)
    assert log == same
    assert [set(row) for row in log] == [{"iteration", "loss", "in_batch"}] * 2
    assert [row["iteration"] for row in log] == [10, 20]
    assert log != train(TINY_MOCO, tiny(20), source, SPACE, seed=4)[1]
    assert not first.training
    torch.manual_seed(3)
    start = build_encoder(TINY_MOCO).state_dict()
    for name, weight in first.named_parameters():
        assert torch.equal(weight, again.state_dict()[name])
        assert not torch.equal(weight, start[name]), name


def test_the_log_holds_means_over_ten_iterations(monkeypatch):
    source = PatchPairs([(f"{i}", torch.rand(3, 48, 48)) for i in range(4)], 32)
    seen, call = [], Step.__call__

    def spied(self, batch):
        seen.append(call(self, batch))
        return seen[-1]

    monkeypatch.setattr(Step, "__call__", spied)
    _, log = train(TINY_MOCO, tiny(20), source, SPACE)
    for logged, name in (("loss", "contrastive"), ("in_batch", "in_batch")):
        means = torch.stack([getattr(losses, name) for losses in seen]).view(2, 10).mean(dim=1)
        assert [row[logged] for row in log] == pytest.approx(means.tolist(), abs=1e-4)


# The probe set


def probe_pictures(copies: int = 1) -> list[tuple[str, Tensor]]:
    corners = [(name, picture[:, :48, :48]) for name, picture in data.images("samples")[:3]]
    return [pair for pair in corners for _ in range(copies)]


@pytest.mark.parametrize("noisy", [False, True])
def test_a_probe_set_degrades_the_same_way_every_time(noisy):
    first, again = (ProbeSet(probe_pictures(), noisy).questions for _ in range(2))
    assert set(first) == ({"angle", "noise"} if noisy else {"width"})
    for question, (lr, labels, owners) in first.items():
        assert len(lr) == len(labels) == len(owners) == 12
        assert all(map(torch.equal, lr, again[question][0]))
        assert len({picture.numpy().tobytes() for picture in lr}) == 12


def test_a_probe_set_scores_what_is_known_and_what_is_guessed():
    probe_set = ProbeSet(probe_pictures(copies=6), noisy=False)
    lr, labels, _ = probe_set.questions["width"]
    width = {id(picture): float(label) for picture, label in zip(lr, labels, strict=True)}
    knows = probe_set.score(lambda picture: torch.tensor([[width[id(picture)], 1.0]]))
    assert knows["width"] == 1.0
    assert knows["width r2"] > 0.99

    def recognises(picture: Tensor) -> Tensor:
        """A vector that says which picture under which kernel, but only who has seen that one."""
        seed = int(picture.double().sum() * 1000)
        return torch.randn(1, DIMENSION, generator=torch.Generator().manual_seed(seed))

    # Five copies of a picture are the nearest neighbours of the sixth: kept apart, they do not
    # help.
    guesses = probe_set.score(recognises)
    assert guesses["width"] < 0.6
    assert guesses["width r2"] < 0.5


# The study


@pytest.fixture
def two_recipes(monkeypatch):
    """A study of two recipes, with probes that cost little."""
    few = {name: TRIALS[name] for name in ("moco", "short")}
    monkeypatch.setattr(recipe_study, "TRIALS", few)
    monkeypatch.setattr(recipe_study, "NOISY_TRIALS", few)
    monkeypatch.setattr(probes, "ridge_r2", lambda vectors, *_: float(vectors.mean()))


def study(folder, seed: int = 0, minutes: float | None = None, **changes: object):
    profile = replace(profiles.get("smoke"), **{"patch": 8, **changes})
    pictures = probe_pictures()
    images = (pictures, pictures)
    return run_study(folder, profile, images, pictures, False, seed, None, minutes, False)


def numbers(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("minutes", "provenance")} for row in rows]


def test_a_study_goes_on_where_it_was_killed(tmp_path, monkeypatch, two_recipes):
    whole = study(tmp_path / "whole")
    trained = []

    def killed_at_the_second(recipe, *arguments):
        if trained:
            raise KeyboardInterrupt
        trained.append(recipe)
        return train(recipe, *arguments)

    monkeypatch.setattr(recipe_study, "train", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "killed")
    assert trained == [MOCO_1024]

    def counted(recipe, *arguments):
        trained.append(recipe)
        return train(recipe, *arguments)

    monkeypatch.setattr(recipe_study, "train", counted)
    rows = study(tmp_path / "killed")
    assert trained == [MOCO_1024, IN_BATCH]
    assert numbers(rows) == numbers(whole)
    assert [row["name"] for row in rows][-2:] == ["moco", "short"]
    assert rows[-1]["test"] != rows[-2]["test"]
    assert study(tmp_path / "killed") == rows
    assert trained == [MOCO_1024, IN_BATCH]


def test_a_study_refuses_trials_with_other_settings(tmp_path, two_recipes):
    folder = tmp_path / "runs"
    study(folder)
    with pytest.raises(
        ValueError,
        match=r"holds a run with other settings \(schedule.patch: 8 is stored, 10 was asked",
    ):
        study(folder, patch=10)
    kept = len(list(folder.iterdir()))
    study(folder, seed=1)  # another seed has files of its own
    assert len(list(folder.iterdir())) == 2 * kept


def test_a_study_out_of_time_says_so_and_leaves_no_half_file(tmp_path, monkeypatch, two_recipes):
    assert study(tmp_path, minutes=0) is None

    def fails(*_: object, **__: object) -> str:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(recipe_study.json, "dumps", fails)
        with pytest.raises(OSError, match="disk full"):
            study(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_reproduce_by_the_command_in_the_smoke_profile(tmp_path, monkeypatch, two_recipes):
    monkeypatch.setattr(figures, "folder", lambda: tmp_path / "figures")
    words = ["reproduce", "recipes", "--profile", "smoke", "--folder", str(tmp_path)]
    stopped = CliRunner().invoke(app, [*words, "--minutes", "0"])
    assert "stopped before the last trial" in stopped.output
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "mean nothing and are not kept" in said.output
    assert not (tmp_path / "figures").exists()
    found = recipe_study.reproduce("smoke", tmp_path / "smoke" / "recipes", minutes=0)
    assert found is not None, "all of it was there"
    names = ["untrained-rgb", "untrained-high-pass", "pixel-statistics"]
    for rows, questions in ((found["isotropic"], {"width"}), (found["noisy"], {"angle", "noise"})):
        assert [row["name"] for row in rows] == [*names, "moco", "short"]
        assert all(questions <= set(row["test"]) == set(row["held_out"]) for row in rows)
    assert found["held_out"] == "3 held-out pictures of samples"
    assert json.loads(json.dumps(found)) == found


# The figure


def test_the_figure_shows_every_number():
    def row(name: str, title: str, recipe: ContrastiveRecipe | None, share: float) -> dict:
        at = {"width": share, "angle": share, "noise": share, "width r2": -share, "noise r2": share}
        log = [{"iteration": 10, "loss": 5.0, "in_batch": 2.5}] if recipe else []
        taken = {"recipe": dataclasses.asdict(recipe) if recipe else None, "log": log}
        return {
            "name": name,
            "title": title,
            **taken,
            "test": at,
            "held_out": {k: v / 2 for k, v in at.items()},
        }

    named = {"pixel-statistics": ("six pixel statistics", None), **TRIALS}
    rows = [row(name, *parts, 0.3 + i / 100) for i, (name, parts) in enumerate(named.items())]
    study = {"isotropic": rows, "noisy": rows, "batch": 16, "iterations": 400, "queue": 1024}
    figure = draw.recipes({**study, "chance": 0.25, "test": "B100", "held_out": "20 pictures"})
    bars, *_ = figure.axes
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(
        [100 * row["test"]["width"] for row in rows]
    )
    assert [label.get_text() for label in bars.get_yticklabels()] == [row["title"] for row in rows]
    assert {"−0.30", f"−{0.3 + (len(rows) - 1) / 100:.2f}"} <= {t.get_text() for t in bars.texts}
    titles = {ax.get_title(): ax for ax in figure.axes}
    for name, chances in (("MoCo, queue 1024", ["ln 16", "ln 1025"]), ("short", ["ln 16"])):
        assert [text.get_text() for text in titles[name].texts] == chances
        drawn = [list(line.get_ydata()) for line in titles[name].lines]
        assert [5.0] in drawn
        assert [2.5] in drawn
    plt.close(figure)
