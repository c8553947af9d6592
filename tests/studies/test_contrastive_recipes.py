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
import torch.nn.functional as F
from torch import Tensor, nn
from typer.testing import CliRunner

from dasrlib import data, figures, probes, profiles
from dasrlib.acceleration import devices
from dasrlib.cli import app
from dasrlib.degradation import DegradationSpace
from dasrlib.plots import recipes as draw
from dasrlib.profiles import Stage
from dasrlib.representation import DIMENSION, InBatch, MoCo
from dasrlib.studies import contrastive_recipes as trials
from dasrlib.studies import recipe_study
from dasrlib.studies.contrastive_recipes import (
    PAPERS,
    RECIPES,
    SHORT,
    Recipe,
    Schedule,
    Trial,
    build_encoder,
    train,
)
from dasrlib.studies.recipe_study import Examination, Study
from dasrlib.training.patches import PatchPairs

CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # float32 sums in another order
NO_WIDTHS = torch.full((6,), math.nan)  # a recipe that reads them is found out
SPACE = DegradationSpace.isotropic(4)


def patches(seed: int, b: int = 6) -> Tensor:
    return torch.rand(b, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


def step(module: nn.Module, loss: Tensor) -> None:
    """Plain gradient descent, so that equal gradients mean equal weights."""
    module.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter -= 0.05 * parameter.grad


def columns(queue: Tensor) -> Tensor:
    """The queue's keys in an order that does not depend on where they stand."""
    return queue[:, queue[0].argsort()]


# The two parents are the library's own


def test_the_papers_trial_is_moco():
    # In float64: over several steps a rounding of float32 grows to something.
    trial = Trial(PAPERS, queue_size=12).train().double()
    moco = MoCo(build_encoder(PAPERS), 12, PAPERS.momentum, PAPERS.temperature).train().double()
    moco.query_encoder.load_state_dict(trial.encoder.state_dict())
    moco.key_encoder.load_state_dict(trial.key_encoder.state_dict())
    moco.queue.copy_(trial.queue.flip(1))  # a trial's oldest stand last, MoCo's first
    for i in range(4):  # 24 keys: the queue goes round twice
        query, key = patches(2 * i).double(), patches(2 * i + 1).double()
        loss, _ = trial(query, key, NO_WIDTHS)
        same = moco(query, key).loss
        torch.testing.assert_close(loss, same, **CLOSE)
        torch.testing.assert_close(columns(trial.queue), columns(moco.queue), **CLOSE)
        step(trial, loss)
        step(moco, same)
    pairs = zip(trial.key_encoder.parameters(), moco.key_encoder.parameters(), strict=True)
    for key_weight, same_weight in pairs:
        torch.testing.assert_close(key_weight, same_weight, **CLOSE)


def test_the_short_trial_is_in_batch():
    trial = Trial(SHORT, queue_size=16).train().double()
    in_batch = InBatch(build_encoder(SHORT), SHORT.temperature).train().double()
    in_batch.query_encoder.load_state_dict(trial.encoder.state_dict())
    for i in range(2):
        query, key = patches(2 * i).double(), patches(2 * i + 1).double()
        loss, _ = trial(query, key, NO_WIDTHS)
        same = in_batch(query, key).loss
        torch.testing.assert_close(loss, same, **CLOSE)
        step(trial, loss)
        step(in_batch, same)


def test_the_short_recipe_is_the_one_the_profiles_ship():
    laptop = profiles.get("laptop")
    assert (SHORT.input, SHORT.temperature) == (laptop.encoder_input, laptop.temperature)
    assert laptop.recipe == "in-batch"


# One part at a time

MORE_THAN_ONE = {
    # A queue's keys are old: they can pass no gradient, and come from an encoder of their own.
    "short, with a queue": {"negatives", "key_gradient", "momentum", "normalisation"},
    "RGB input, positives from two pictures": {"input", "positives"},
    "labels, RGB input": {"input", "labels"},
}


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"the paper's", "short"}))
def test_a_row_changes_one_part_of_its_parent(name):
    parent = PAPERS if name.startswith("the paper's") else SHORT
    fields = [field.name for field in dataclasses.fields(Recipe)]
    changed = {f for f in fields if getattr(RECIPES[name], f) != getattr(parent, f)}
    if name in MORE_THAN_ONE:
        assert changed == MORE_THAN_ONE[name]
    else:
        assert len(changed) == 1


@pytest.mark.parametrize(("negatives", "candidates"), [("batch", 6), ("queue", 17), ("both", 22)])
def test_how_many_candidates_each_kind_of_negatives_has(negatives, candidates):
    trial = Trial(replace(PAPERS, negatives=negatives), queue_size=16)
    for encoder in (trial.encoder, trial.key_encoder):  # all embeddings alike
        nn.init.zeros_(encoder.mlp[-1].weight)
        nn.init.ones_(encoder.mlp[-1].bias)
    if negatives != "batch":
        trial.queue.copy_(F.normalize(torch.ones_like(trial.queue), dim=0))
    loss, in_batch = trial(patches(0), patches(1), NO_WIDTHS)
    assert loss.item() == pytest.approx(math.log(candidates), abs=1e-4)
    assert in_batch.item() == pytest.approx(math.log(6), abs=1e-4)


@pytest.mark.parametrize(
    ("recipe", "reaches"),
    [
        (SHORT, True),
        (replace(SHORT, normalisation="group"), True),
        (replace(SHORT, normalisation="group", key_gradient=False), False),
        (replace(SHORT, normalisation="apart", key_gradient=False), False),
        # Not through the key's embedding, but the query's BatchNorm has seen the keys.
        (replace(SHORT, key_gradient=False), True),
        (PAPERS, False),
        (RECIPES["short, with a queue"], False),
    ],
)
def test_whether_a_gradient_comes_through_the_keys(recipe, reaches):
    key = patches(1).requires_grad_()
    Trial(recipe, queue_size=16).train()(patches(0), key, NO_WIDTHS)[0].backward()
    assert (key.grad is not None and bool((key.grad != 0).any())) == reaches


@pytest.mark.parametrize("name", [name for name in RECIPES if not RECIPES[name].labels])
def test_labels_never_reach_a_contrastive_recipe(name):
    loss, _ = Trial(RECIPES[name], queue_size=16)(patches(0), patches(1), NO_WIDTHS)
    assert math.isfinite(loss.item())


def test_the_recipe_with_labels_reads_no_key_and_regresses_the_width():
    trial = Trial(RECIPES["labels, RGB input"], queue_size=16).eval()
    guess = trial.read_out(trial.encoder(patches(0))[0])[:, 0].detach()
    loss, _ = trial(patches(0), torch.full((6, 3, 12, 12), math.nan), guess + 2)
    assert loss.item() == pytest.approx(4)


@pytest.mark.parametrize(("divided", "invariant"), [(True, True), (False, False)])
def test_only_the_divided_input_loses_the_contrast(divided, invariant):
    encoder = build_encoder(replace(SHORT, divided=divided)).eval()
    images = patches(0)
    with torch.inference_mode():
        before, after = encoder(images)[0], encoder(0.3 * images + 0.2)[0]
    assert ((before - after).norm() / before.norm() < 0.02) == invariant


def test_group_norm_is_the_one_that_does_not_look_at_the_batch():
    for normalisation, alone in (("group", True), ("together", False)):
        encoder = build_encoder(replace(SHORT, normalisation=normalisation)).train()
        images = patches(0)
        whole, part = encoder(images)[0][:3], encoder(images[:3])[0]
        assert torch.allclose(whole, part, rtol=1e-3, atol=1e-5) == alone


# What the trials see


def test_positives_of_one_picture_or_of_two():
    # A picture of one grey tells which it is, whatever the blur.
    grey = [(f"{i}", torch.full((3, 64, 64), i / 16)) for i in range(16)]
    source = PatchPairs(grey, 64)
    one, two = (
        [part.mean(dim=(1, 2, 3)) for part in trials._draw(source, SPACE, recipe, 6, 0)[:2]]
        for recipe in (SHORT, RECIPES["short, positives from two pictures"])
    )
    assert len(one[0].unique()) > 3
    torch.testing.assert_close(one[1], one[0], **CLOSE)
    torch.testing.assert_close(two[0], one[0], **CLOSE)  # every recipe gets the same queries
    torch.testing.assert_close(two[1], one[0].roll(1), **CLOSE)


@pytest.mark.parametrize("positives", ["picture", "degradation"])
def test_positives_share_their_degradation(positives):
    # A single picture, in whole: all that flips and turns leave is how far it was blurred.
    source = PatchPairs([("noise", torch.rand(3, 64, 64))], 64)
    query, key, widths = trials._draw(source, SPACE, Recipe(positives=positives), 6, 0)
    of_query, of_key = query.std(dim=(1, 2, 3)), key.std(dim=(1, 2, 3))
    torch.testing.assert_close(of_key, of_query, rtol=0.01, atol=0)
    assert torch.equal(of_query.argsort(descending=True), widths.argsort())


def tiny(iterations: int) -> Schedule:
    return Schedule(Stage(iterations, lr=1e-3, batch=4), patch=8, queue_size=8)


def test_training_changes_the_encoder_and_is_the_same_for_a_seed():
    devices._fastest_on_processor.cache_clear()  # the first trial of a process measures, and draws
    source = PatchPairs([(f"{i}", torch.rand(3, 48, 48)) for i in range(4)], 32)
    first, log = train(PAPERS, tiny(20), source, SPACE, seed=3)
    again, same = train(PAPERS, tiny(20), source, SPACE, seed=3)
    assert log == same
    assert [set(row) for row in log] == [{"iteration", "loss", "in_batch"}] * 2
    assert [row["iteration"] for row in log] == [10, 20]
    assert log != train(PAPERS, tiny(20), source, SPACE, seed=4)[1]
    assert not first.training
    torch.manual_seed(3)
    start = Trial(PAPERS, 8).encoder.state_dict()
    for name, weight in first.named_parameters():
        assert torch.equal(weight, again.state_dict()[name])
        assert not torch.equal(weight, start[name]), name


def test_the_log_holds_means_over_ten_iterations(monkeypatch):
    source = PatchPairs([(f"{i}", torch.rand(3, 48, 48)) for i in range(4)], 32)
    seen, forward = [], Trial.forward

    def spied(self, *arguments):
        seen.append(forward(self, *arguments))
        return seen[-1]

    monkeypatch.setattr(Trial, "forward", spied)
    _, log = train(PAPERS, tiny(20), source, SPACE)
    for i, name in enumerate(("loss", "in_batch")):
        means = torch.stack([values[i].detach() for values in seen]).view(2, 10).mean(dim=1)
        assert [row[name] for row in log] == pytest.approx(means.tolist(), abs=1e-4)


# The examination


def exam_pictures(copies: int = 1) -> list[tuple[str, Tensor]]:
    corners = [(name, picture[:, :48, :48]) for name, picture in data.images("samples")[:3]]
    return [pair for pair in corners for _ in range(copies)]


@pytest.mark.parametrize("noisy", [False, True])
def test_an_examination_degrades_the_same_way_every_time(noisy):
    first, again = (Examination(exam_pictures(), noisy).questions for _ in range(2))
    assert set(first) == ({"angle", "noise"} if noisy else {"width"})
    for question, (lr, labels, owners) in first.items():
        assert len(lr) == len(labels) == len(owners) == 12
        assert all(map(torch.equal, lr, again[question][0]))
        assert len({picture.numpy().tobytes() for picture in lr}) == 12


def test_an_examination_marks_what_is_known_and_what_is_guessed():
    exam = Examination(exam_pictures(copies=6), noisy=False)
    lr, labels, _ = exam.questions["width"]
    width = {id(picture): float(label) for picture, label in zip(lr, labels, strict=True)}
    knows = exam.of(lambda picture: torch.tensor([[width[id(picture)], 1.0]]))
    assert knows["width"] == 1.0
    assert knows["width r2"] > 0.99

    def recognises(picture: Tensor) -> Tensor:
        """A vector that says which picture under which kernel, but only who has seen that one."""
        seed = int(picture.double().sum() * 1000)
        return torch.randn(1, DIMENSION, generator=torch.Generator().manual_seed(seed))

    # Five copies of a picture are the nearest neighbours of the sixth: kept apart, they do not
    # help.
    guesses = exam.of(recognises)
    assert guesses["width"] < 0.6
    assert guesses["width r2"] < 0.5


# The study


@pytest.fixture
def two_recipes(monkeypatch):
    """A study of two recipes, with an examination that costs little."""
    few = {name: RECIPES[name] for name in ("the paper's", "short")}
    monkeypatch.setattr(recipe_study, "RECIPES", few)
    monkeypatch.setattr(recipe_study, "NOISY_RECIPES", few)
    monkeypatch.setattr(probes, "ridge_r2", lambda vectors, *_: float(vectors.mean()))


def study(folder, seed: int = 0, **changes: object) -> Study:
    profile = replace(profiles.get("smoke"), **{"patch": 8, **changes})
    pictures = exam_pictures()
    return Study(folder, profile, (pictures, pictures), pictures, seed=seed)


def numbers(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("minutes", "provenance")} for row in rows]


def test_a_study_goes_on_where_it_was_killed(tmp_path, monkeypatch, two_recipes):
    whole = study(tmp_path / "whole").run(progress=False)
    trained = []

    def killed_at_the_second(recipe, *arguments):
        if trained:
            raise KeyboardInterrupt
        trained.append(recipe)
        return train(recipe, *arguments)

    monkeypatch.setattr(recipe_study, "train", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "killed").run(progress=False)
    assert trained == [PAPERS]

    def counted(recipe, *arguments):
        trained.append(recipe)
        return train(recipe, *arguments)

    monkeypatch.setattr(recipe_study, "train", counted)
    rows = study(tmp_path / "killed").run(progress=False)
    assert trained == [PAPERS, SHORT]
    assert numbers(rows) == numbers(whole)
    assert [row["name"] for row in rows][-2:] == ["the paper's", "short"]
    assert rows[-1]["test"] != rows[-2]["test"]
    assert study(tmp_path / "killed").run(progress=False) == rows
    assert trained == [PAPERS, SHORT]


def test_a_study_refuses_trials_with_other_settings(tmp_path, two_recipes):
    folder = tmp_path / "runs"
    study(folder).run(progress=False)
    with pytest.raises(ValueError, match="holds a trial with other settings: remove it"):
        study(folder, patch=10).run(progress=False)
    kept = len(list(folder.iterdir()))
    study(folder, seed=1).run(progress=False)  # another seed has files of its own
    assert len(list(folder.iterdir())) == 2 * kept


def test_a_study_out_of_time_says_so_and_leaves_no_half_file(tmp_path, monkeypatch, two_recipes):
    assert study(tmp_path).run(minutes=0, progress=False) is None

    def fails(*_: object, **__: object) -> str:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(recipe_study.json, "dumps", fails)
        with pytest.raises(OSError, match="disk full"):
            study(tmp_path).run(progress=False)
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
    names = ["untrained, RGB input", "untrained, high-pass input", "six pixel statistics"]
    for rows, questions in ((found["isotropic"], {"width"}), (found["noisy"], {"angle", "noise"})):
        assert [row["name"] for row in rows] == [*names, "the paper's", "short"]
        assert all(questions <= set(row["test"]) == set(row["held_out"]) for row in rows)
    assert found["held_out"] == "3 held-out pictures of samples"
    assert json.loads(json.dumps(found)) == found


# The figure


def test_the_figure_shows_every_number():
    def row(name: str, recipe: Recipe | None, share: float) -> dict:
        at = {"width": share, "angle": share, "noise": share, "width r2": -share, "noise r2": share}
        log = [{"iteration": 10, "loss": 5.0, "in_batch": 2.5}] if recipe else []
        taken = {"recipe": dataclasses.asdict(recipe) if recipe else None, "log": log}
        return {"name": name, **taken, "test": at, "held_out": {k: v / 2 for k, v in at.items()}}

    named = {"six pixel statistics": None, **RECIPES}
    rows = [row(name, recipe, 0.3 + i / 100) for i, (name, recipe) in enumerate(named.items())]
    study = {"isotropic": rows, "noisy": rows, "batch": 16, "iterations": 400, "queue": 1024}
    figure = draw.recipes({**study, "chance": 0.25, "test": "B100", "held_out": "20 pictures"})
    bars, *_ = figure.axes
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(
        [100 * row["test"]["width"] for row in rows]
    )
    assert [label.get_text() for label in bars.get_yticklabels()] == list(named)
    assert {"−0.30", f"−{0.3 + (len(rows) - 1) / 100:.2f}"} <= {t.get_text() for t in bars.texts}
    titles = {ax.get_title(): ax for ax in figure.axes}
    for name, chances in (("the paper's", ["ln 16", "ln 1025"]), ("short", ["ln 16"])):
        assert [text.get_text() for text in titles[name].texts] == chances
        drawn = [list(line.get_ydata()) for line in titles[name].lines]
        assert [5.0] in drawn
        assert [2.5] in drawn
    plt.close(figure)
