"""The console: every command, and one sentence for everything that can be wrong with its input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import typer
from typer.testing import CliRunner

from dasrlib import baselines, cli, data, evaluation, figures, paper, training, weights
from dasrlib.cli import app
from dasrlib.records.run_record import Measurement

WEIGHTS = "laptop/model4-x4-iso"


def dasr(*words: object, code: int = 0):
    """What a command says; its exit status is checked."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def commands() -> list[tuple[str, ...]]:
    """Every command with the words that lead to it."""

    def below(command, words: tuple[str, ...]):
        if not hasattr(command, "commands"):
            return [words]
        return [
            path for name, sub in command.commands.items() for path in below(sub, (*words, name))
        ]

    return below(typer.main.get_command(app), ())


@pytest.fixture
def photo(tmp_path) -> Path:
    """A piece of a real photograph, 72×96."""
    image = data.load_image(data.paths("samples")[0])[:, 100:172, 120:216]
    data.save_image(image, tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_commands_are_those_promised():
    assert set(commands()) == {
        ("upscale",),
        ("degrade",),
        ("train",),
        ("evaluate",),
        ("bench",),
        ("notebooks",),
        ("reproduce", "ablation"),
        ("reproduce", "recipes"),
        ("reproduce", "table2"),
        ("reproduce", "table3"),
        ("reproduce", "baselines"),
        ("reproduce", "general"),
        ("reproduce", "real"),
        ("reproduce", "unseen"),
        ("reproduce", "assumption"),
        ("data", "list"),
        ("data", "get"),
        ("data", "weights"),
    }


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help_shows_an_example(words):
    said = dasr(*words, "--help")
    assert f"Example:  dasr {' '.join(words)}" in said


def test_no_words_show_the_help():
    result = CliRunner().invoke(app, [])
    assert "Usage" in result.output
    assert "upscale" in result.output


# From a photograph to a number


def test_degrade_upscale_evaluate(tmp_path, photo):
    small, large = tmp_path / "lr" / "small.png", tmp_path / "large.png"
    small.parent.mkdir()
    said = dasr("degrade", photo, "-o", small, "--sigma", 1.2, "--noise", 2)
    assert "96×72 -> 24×18" in said
    assert data.load_image(small).shape == (3, 18, 24)

    said = dasr("upscale", small, "-o", large, "--dtype", "float32")
    assert said.startswith("computing in float32")
    assert "the weights that fit: laptop/" in said
    assert "24×18 -> 96×72" in said
    assert data.load_image(large).shape == (3, 72, 96)
    dasr("upscale", small, "--dtype", "float32")
    beside = data.load_image(small.with_name("small-x4.png"))
    assert torch.equal(beside, data.load_image(large))
    dasr("upscale", small, "-o", tmp_path / "tiled.png", "--tile", 64, "--dtype", "float32")
    assert torch.equal(data.load_image(tmp_path / "tiled.png"), beside)

    folder = tmp_path / "set"
    folder.mkdir()
    photo.rename(folder / "photo.png")
    said = dasr(
        *("evaluate", "--images", folder, "--sigma", 0, "--sigma", 1.2),
        *("--out", tmp_path / "rows.json"),
    )
    assert said.startswith("computing in float32\n")
    assert f"{folder}, 1 picture, ×4" in said
    assert WEIGHTS in said
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["system"], row["degradation"]) for row in rows] == [
        ("bicubic", 0),
        ("bicubic", 1.2),
        (WEIGHTS, 0),
        (WEIGHTS, 1.2),
    ]
    assert all(row["picture"] == "photo" and 15 < row["psnr"] < 50 for row in rows)
    assert f"{rows[0]['psnr']:.2f}" in said


def test_degrade_anisotropic_is_the_librarys(tmp_path, photo):
    from dasrlib.degradation import Degradations, degrade

    out = tmp_path / "out.png"
    words = ("--lambda1", 3.5, "--lambda2", 1.5, "--theta", 30, "--scale", 3, "--noise", 5)
    dasr("degrade", photo, out, *words, "--seed", 7)
    asked = Degradations.anisotropic(3.5, 1.5, torch.pi / 6, 3, 5)
    lr = degrade(data.load_image(photo)[None], asked, torch.Generator().manual_seed(7))[0]
    # 30° in radians may differ in the last bit, a level where a value lies near a half.
    difference = (data.load_image(out) - lr).abs() * 255
    assert difference.max() < 1.01
    assert (difference > 0.5).float().mean() < 0.01
    dasr("degrade", photo, tmp_path / "other.png", *words, "--seed", 8)
    assert not torch.equal(data.load_image(tmp_path / "other.png"), data.load_image(out))


def test_degrade_ends_with_jpeg_where_a_quality_is_given(tmp_path, photo):
    from dasrlib.jpeg import compress

    dasr("degrade", photo, tmp_path / "plain.png", "--noise", 5)
    dasr("degrade", photo, tmp_path / "jpeg.png", "--noise", 5, "--quality", 30)
    plain = data.load_image(tmp_path / "plain.png")[None]
    expected = compress(plain, torch.tensor([30.0]))[0]
    assert torch.equal(data.load_image(tmp_path / "jpeg.png"), expected)
    said = dasr("degrade", photo, tmp_path / "no.png", "--quality", 101, code=1)
    assert said == "dasr: the JPEG quality must be 1..100, or 0 for no JPEG, got 101\n"


def test_evaluate_shows_the_printed_row_for_a_dataset(monkeypatch, photo, tmp_path):
    (tmp_path / "datasets" / "Set5").mkdir(parents=True)
    photo.rename(tmp_path / "datasets" / "Set5" / "photo.png")
    monkeypatch.setenv("DASR_DATA", str(tmp_path / "datasets"))
    said = dasr("evaluate", "--images", "Set5", "--sigma", 3.6)
    assert "as printed (Table 2)" in said
    printed = paper.table2(4)["DASR"]["Set5"][3.6]
    assert said.splitlines()[-1].split()[-1] == f"{printed:.2f}"
    assert "as printed" not in dasr("evaluate", "--images", "Set5", "--sigma", 3.5)


# An input is never written to, an existing file only when asked


@pytest.fixture
def idle(monkeypatch):
    """No command gets as far as its work."""

    def worked(*_: object, **__: object) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr(evaluation, "benchmark", worked)


NEVER = {
    "rows onto weights": ("--weights", "my.safetensors", "--out", "my.safetensors"),
    "rows onto a picture": ("--out", "set/photo.png"),
}


@pytest.fixture
def desk(tmp_path, photo, monkeypatch) -> Path:
    """A folder in which every output of evaluate exists."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(weights.find(WEIGHTS), "my.safetensors")
    Path("set").mkdir()
    shutil.copy(photo, "set/photo.png")
    Path("rows.json").write_text("[]")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rows_that_exist_are_kept(desk, idle):
    before = contents(desk)
    said = dasr("evaluate", "--images", "set", "--out", "rows.json", code=1)
    assert said.startswith("dasr: rows.json exists already: name another file, or ")
    assert contents(desk) == before


def test_rows_that_exist_are_replaced_when_asked(desk):
    dasr("evaluate", "--images", "set", "--sigma", 0, "--out", "rows.json", "--overwrite")
    assert len(json.loads(Path("rows.json").read_text())) == 2


@pytest.mark.parametrize("words", [(), ("--overwrite",)], ids=["", "overwrite"])
@pytest.mark.parametrize("case", NEVER)
def test_an_input_is_never_written_to(case, words, desk, idle):
    before = contents(desk)
    said = dasr("evaluate", "--images", "set", *NEVER[case], *words, code=1)
    assert len(said.splitlines()) == 1
    assert "is an input, and an input is never written to: name another file" in said
    assert contents(desk) == before


def test_a_folder_for_rows_is_refused_before_the_work(desk, idle):
    said = dasr("evaluate", "--images", "set", "--out", "set", code=1)
    assert said.startswith("dasr: set is a folder: name a file in it")


# Training


class Ticks:
    """A clock that goes on a second whenever it is looked at: no test depends on the machine."""

    def __init__(self) -> None:
        self._seconds = count()

    def monotonic(self) -> float:
        return float(next(self._seconds))

    perf_counter = monotonic


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five small training pictures."""
    folder = tmp_path / "own"
    folder.mkdir()
    for i in range(5):
        image = torch.rand(3, 66, 70 + i, generator=torch.Generator().manual_seed(i))
        data.save_image(image, folder / f"{i}.png")
    return folder


def test_train_for_photographs(tmp_path, folder):
    words = ("train", "--profile", "smoke", "--images", folder, "--out", tmp_path / "run")
    dasr(*words, "--space", "photo")
    record = weights.record(tmp_path / "run" / "weights.safetensors")
    assert record.space["noise"] == 25
    assert record.space["quality"] == [40, 95]
    assert record.profile["recipe"]["encoder_input"] == "high-pass-both"
    assert len(record.readout.weight[0]) == 256
    assert "λ 4, 1.5, noise 10, JPEG 60" in record.log[-1]["psnr"]


def test_a_system_to_compare_with_is_trained_and_measured(tmp_path, folder):
    words = ("train", "--profile", "smoke", "--images", folder, "--model", "srmdnf")
    dasr(*words, "--out", tmp_path / "run", "--iterations", 3)
    file = tmp_path / "run" / "weights.safetensors"
    record = weights.record(file)
    assert record.model == "srmdnf"
    assert record.log[-1]["iteration"] == 3
    said = dasr("evaluate", "--weights", file, "--images", folder, "--sigma", 1.2)
    assert str(file) in said
    told, bicubic = (float(line.split()[-3]) for line in said.splitlines()[:-3:-1])
    assert 5 < told < 50
    assert told != bicubic


def test_a_network_without_a_picture_is_not_measured(tmp_path, folder):
    dncnn = baselines.build("dncnn", 4, "smoke")
    file = weights.save(dncnn, tmp_path / "net.safetensors")
    said = dasr("evaluate", "--weights", file, "--images", folder, code=1)
    assert "holds dncnn, which makes no SR picture" in said


def test_train_runs_and_resumes(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(training.run, "time", Ticks())
    words = ("train", "--profile", "smoke", "--images", folder, "--out", tmp_path / "run")
    said = dasr(*words, "--minutes", 0.2)
    assert "stopped at iteration" in said
    at = int(said.split("stopped at iteration ")[1].split()[0])
    assert 0 < at < 20
    said = dasr(*words)
    assert f"resumed at iteration {at} of 20" in said
    assert "weights.safetensors" in said
    assert weights.load(tmp_path / "run" / "weights.safetensors").name == "model4"
    assert (tmp_path / "run" / "log.jsonl").is_file()
    said = dasr(*words, "--seed", 1, code=1)
    assert "holds a run with other settings" in said


def test_small_pictures_are_skipped_and_smaller_patches_take_them(tmp_path, folder):
    data.save_image(torch.rand(3, 30, 31), folder / "1 stamp.png")
    words = ("train", "--profile", "smoke", "--images", folder, "--iterations", 11)
    with pytest.warns(UserWarning, match=r"1 of 5 pictures are skipped: .*1 stamp of 30×31"):
        dasr(*words, "--out", tmp_path / "run")
    dasr(*words, "--out", tmp_path / "fine", "--patch", 7)
    records = [weights.record(tmp_path / name / "weights.safetensors") for name in ("run", "fine")]
    assert [record.pictures["count"] for record in records] == [4, 5]
    assert [record.profile["patch"] for record in records] == [16, 7]
    said = dasr(*words, "--out", tmp_path / "no", "--patch", 2, code=1)
    assert "patch must be a finite number, at least 3, got 2" in said


# Data


def test_data_list_says_what_is_here(monkeypatch, tmp_path, photo):
    (tmp_path / "datasets" / "Set5").mkdir(parents=True)
    photo.rename(tmp_path / "datasets" / "Set5" / "photo.png")
    monkeypatch.setenv("DASR_DATA", str(tmp_path / "datasets"))
    monkeypatch.setattr(data.downloads, "cache_folder", lambda: tmp_path / "cache")
    lines = {line.split()[0]: line for line in dasr("data", "list").splitlines()}
    assert "samples" in lines
    assert str(tmp_path / "datasets" / "Set5") in lines["Set5"]
    assert "not here: dasr data get Set14" in lines["Set14"]


def test_data_weights_lists_the_bundled_models():
    said = dasr("data", "weights")
    for name, record in weights.catalogue().items():
        line = next(line for line in said.splitlines() if line.startswith(name))
        assert f"{record.minutes:.0f} minutes" in line
        assert record.provenance["device"] in line


def test_data_get_names_the_nearest(tmp_path):
    said = dasr("data", "get", "Sett14", "--folder", tmp_path, code=1)
    assert "did you mean 'Set14'" in said
    assert list(tmp_path.iterdir()) == []


# Notebooks


def test_notebooks_opens_jupyterlab(monkeypatch):
    asked = []

    def run(words: list[str], **_: object) -> SimpleNamespace:
        asked.append(words)
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(cli.commands.subprocess, "run", run)
    dasr("notebooks", code=3)
    assert asked[0][:3] == [sys.executable, "-m", "jupyterlab"]
    assert Path(asked[0][3]).name == "notebooks"


# Measuring


def test_bench_prints_a_table_and_keeps_no_part_of_one(monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "folder", lambda: tmp_path)
    said = dasr("bench", "--device", "cpu", "--quick", "--only", "grouped_conv")
    assert "the numbers mean nothing" in said
    assert "grouped_conv2d forward + backward" in said
    assert "inference" not in said
    assert list(tmp_path.iterdir()) == []


def test_bench_keeps_a_whole_one(monkeypatch, tmp_path):
    from dasrlib import bench

    whole = {**bench.run("cpu", "grouped_conv", quick=True), "quick": False}
    monkeypatch.setattr(bench, "run", lambda device, only, quick: whole)
    monkeypatch.setattr(figures, "folder", lambda: tmp_path)
    name = f"bench-{bench.slug(whole['provenance']['device'])}"
    dasr("bench", "--only", "grouped_conv")
    monkeypatch.setitem(whole, "quick", True)
    dasr("bench", "--quick")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(whole, "quick", False)
    said = dasr("bench")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.json", f"{name}.png"]
    assert str(tmp_path / f"{name}.json") in said


# What is wrong with the input: one sentence, status 1, no traceback

WRONG = {
    "scale": (("degrade", "PHOTO", "OUT", "--scale", 5), "scale must be 2, 3 or 4, got 5"),
    "scale of a training": (
        ("train", "--profile", "smoke", "--out", "RUN", "--scale", 5),
        "scale must be 2, 3 or 4, got 5",
    ),
    "negative width": (
        ("degrade", "PHOTO", "OUT", "--sigma", -1),
        "must be positive and finite, got -1",
    ),
    "width of 0": (
        ("degrade", "PHOTO", "OUT", "--lambda1", 0, "--lambda2", 1),
        "lambda1 must be positive and finite, got 0",
    ),
    "half an ellipse": (("degrade", "PHOTO", "OUT", "--lambda1", 2), "both --lambda1 and"),
    "noise": (("degrade", "PHOTO", "OUT", "--noise", -3), "noise must not be negative, got -3"),
    "too small": (("degrade", "STAMP", "OUT"), "8×8 is too small for a 21×21 kernel"),
    "missing file": (("upscale", "gone.png"), "gone.png"),
    "no picture": (("upscale", "LETTER"), "cannot be read as a picture"),
    "no picture to degrade": (("degrade", "LETTER", "OUT"), "cannot be read as a picture"),
    "unknown weights": (
        ("upscale", "PHOTO", "--weights", "laptop/modle4-x4-iso"),
        "did you mean 'laptop/model4-x4-iso'",
    ),
    "missing weights": (
        ("upscale", "PHOTO", "--weights", "gone.safetensors"),
        "there is no file gone.safetensors",
    ),
    "broken weights": (("upscale", "PHOTO", "--weights", "BROKEN"), "not a whole safetensors"),
    "tile": (("upscale", "PHOTO", "--tile", 8), "tile must be at least 32 LR pixels, got 8"),
    "unknown dataset": (("evaluate", "--images", "Sett14"), "did you mean 'Set14'"),
    "unknown dataset to train on": (
        ("train", "--profile", "smoke", "--images", "BSD400", "--out", "RUN"),
        "did you mean 'BSDS400'",
    ),
    "unknown model": (
        ("train", "--profile", "smoke", "--model", "modle4", "--out", "RUN"),
        "did you mean 'model4'",
    ),
    "ikc without its sftmd": (
        ("train", "--profile", "smoke", "--model", "ikc", "--out", "RUN"),
        "ikc is trained around a trained SFTMD",
    ),
    "unknown profile": (("train", "--profile", "labtop", "--out", "RUN"), "did you mean 'laptop'"),
    "empty folder": (("evaluate", "--images", "EMPTY"), "no pictures in"),
    "pictures smaller than a patch": (
        ("train", "--profile", "smoke", "--images", "STAMPS", "--out", "RUN"),
        "smaller than 64×64 pixels, a patch (a of 8×9, b of 8×9): train with smaller patches",
    ),
    "misspelt dtype": (("upscale", "PHOTO", "OUT", "--dtype", "bf16"), "got 'bf16'"),
    "misspelt dtype of a run": (
        ("train", "--profile", "smoke", "--dtype", "half", "--out", "RUN"),
        "dtype must be one of 'float32', 'bfloat16', got 'half'",
    ),
    "unknown group to measure": (("bench", "--only", "blurr"), "did you mean 'blur'"),
    "unknown device": (("bench", "--device", "gpu"), "no device is named 'gpu'"),
    "unknown dataset to get": (("data", "get", "Urban10"), "did you mean 'Urban100'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence_for_what_is_wrong(case, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training.run, "fastest_dtype", lambda device: torch.float32)
    (tmp_path / "letter.png").write_text("Dear reader,")
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "stamps").mkdir()
    for name in "abc":
        stamp = torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(0))
        data.save_image(stamp, tmp_path / "stamps" / f"{name}.png")
    places = {
        "PHOTO": photo,
        "OUT": tmp_path / "out.png",
        "RUN": tmp_path / "run",
        "LETTER": tmp_path / "letter.png",
        "BROKEN": tmp_path / "broken.safetensors",
        "EMPTY": tmp_path / "empty",
        "STAMP": tmp_path / "stamps" / "a.png",
        "STAMPS": tmp_path / "stamps",
    }
    words, sentence = WRONG[case]
    said = dasr(*(places.get(word, word) for word in words), code=1)
    assert said.startswith("dasr: ")
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said
    assert sentence in said
    assert not (tmp_path / "out.png").exists()


def test_a_loss_that_is_no_number_is_a_sentence_too(monkeypatch, tmp_path):
    def diverges(*_: object, **__: object) -> None:
        raise FloatingPointError("the loss is nan at iteration 7: try a lower learning rate")

    monkeypatch.setattr(training, "Run", diverges)
    said = dasr("train", "--profile", "smoke", "--out", tmp_path, code=1)
    assert said.strip() == "dasr: the loss is nan at iteration 7: try a lower learning rate"


@pytest.mark.parametrize(("words", "graph"), [([], True), (["--no-graph"], False)])
def test_the_recording_can_be_left_out(monkeypatch, tmp_path, words, graph):
    asked = []

    def started(*_: object, **options: object) -> None:
        asked.append(options["graph"])
        raise ValueError("enough")

    monkeypatch.setattr(training, "Run", started)
    dasr("train", "--profile", "smoke", "--out", tmp_path, *words, code=1)
    assert asked == [graph]


def test_an_interrupt_is_told_and_has_its_own_status(monkeypatch, tmp_path):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "Run", interrupted)
    assert "interrupted" in dasr("train", "--profile", "smoke", "--out", tmp_path, code=130)


def test_a_real_process_ends_with_status_1_and_one_line(tmp_path):
    words = ["-m", "dasrlib.cli", "upscale", str(tmp_path / "gone.png")]
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("dasr: ")
    assert len(ended.stderr.splitlines()) == 1
    assert "gone.png" in ended.stderr


def test_a_console_without_greek_letters_loses_nothing(tmp_path, photo):
    """As a pipe of Windows is; σ and − are not in its code page."""
    folder = tmp_path / "set"
    folder.mkdir()
    photo.rename(folder / "photo.png")
    words = ["evaluate", "--images", folder, "--sigma", "1.2", "--out", tmp_path / "rows.json"]
    ended = subprocess.run(
        [sys.executable, "-m", "dasrlib.cli", *map(str, words)],
        capture_output=True,
        timeout=300,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )
    assert ended.returncode == 0, ended.stderr
    assert b"?" in ended.stdout.splitlines()[2]  # in place of σ
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 2


def test_a_tilde_is_the_home_folder_where_the_shell_leaves_it(tmp_path, photo, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    dasr("degrade", photo, "~/small.webp")
    assert (tmp_path / "small.webp").is_file()
    (tmp_path / "small.webp").unlink()
    dasr("evaluate", "--images", tmp_path, "--sigma", 0, "--out=~/rows.json")
    assert (tmp_path / "rows.json").is_file()


def test_rows_of_equal_pictures_are_valid_json(tmp_path, photo, monkeypatch):
    def equal(system: evaluation.System, *_: object, **__: object) -> list[Measurement]:
        return [Measurement(system.name, "a", 0.0, float("inf"), 1.0, 0, 0.1)]

    monkeypatch.setattr(evaluation, "benchmark", equal)
    dasr("evaluate", "--sigma", 0, "--out", tmp_path / "rows.json")
    text = (tmp_path / "rows.json").read_text()
    rows = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert [row["psnr"] for row in rows] == [None, None]


def test_a_picture_that_is_too_small_is_named(tmp_path, photo):
    folder = tmp_path / "set"
    folder.mkdir()
    photo.rename(folder / "photo.png")
    data.save_image(torch.rand(3, 9, 20), folder / "stamp.png")
    assert "the picture stamp: " in dasr("evaluate", "--images", folder, "--sigma", 1.2, code=1)
