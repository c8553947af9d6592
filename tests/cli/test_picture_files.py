"""dasr upscale and degrade: which files are read, written, kept and refused, before the work."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from dasrlib import data, degradation, estimates, inference, weights

WIDTH, HEIGHT = 24, 12


@pytest.fixture
def worked(monkeypatch) -> list[str]:
    """The size of every picture that the network was given, by a network that takes no time."""
    given: list[str] = []

    def upscale_picture(picture, model, *_, **__):
        given.append(picture.size)
        larger = picture.pixels.repeat_interleave(4, 1).repeat_interleave(4, 2)
        alpha = picture.alpha_of_size(*larger.shape[1:])
        return replace(picture, pixels=larger, alpha=alpha)

    monkeypatch.setattr(inference, "upscale_picture", upscale_picture)
    monkeypatch.setattr(estimates, "read", lambda lr: estimates.Estimate(0, 100))
    return given


@pytest.fixture
def idle(monkeypatch):
    """No command gets as far as its work."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr(inference, "upscale_picture", work)
    monkeypatch.setattr(degradation, "degrade", work)


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(*names: str, colour: str = "teal", size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(name)


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def new(before: dict[str, bytes]) -> list[str]:
    """The new files; those from before are as they were."""
    after = contents()
    assert {name: after.get(name) for name in before} == before
    return sorted(after.keys() - before.keys())


# Names


def test_two_pictures_are_two_inputs(dasr, worked):
    """The second one was once taken for the output, and lost."""
    picture("a.png", "b.png")
    before = contents()
    dasr("upscale", "a.png", "b.png")
    assert new(before) == ["a-x4.png", "b-x4.png"]
    assert data.read_header("a-x4.png") == (4 * HEIGHT, 4 * WIDTH)


@pytest.mark.parametrize("words", [("n.jpg", "n.png"), ("n.jpg",)], ids=["both", "one"])
def test_two_pictures_of_one_name_keep_their_extensions(dasr, worked, words):
    """Also where one of them is given alone: its output would be taken for the other's later."""
    picture("n.jpg", "n.png")
    before = contents()
    dasr("upscale", *words)
    assert new(before) == [f"{word}-x4.png" for word in words]


def test_small_and_capital_letters_are_one_name(dasr, worked):
    """As on Windows and macOS."""
    picture("N.jpg", "n.png", "m.png")
    before = contents()
    dasr("upscale", "N.jpg", "n.png", "m.png")
    assert new(before) == ["N.jpg-x4.png", "m-x4.png", "n.png-x4.png"]


def test_a_folder_keeps_its_tree(dasr, worked):
    picture("in/a.png", "in/sub/deep/b.jpg", "in/.hidden/c.png", "in/.d.png")
    Path("in/notes.txt").write_text("no picture")
    before = contents()
    dasr("upscale", "in", "-o", "out")
    assert new(before) == ["out/a-x4.png", "out/sub/deep/b-x4.png"]


def test_a_folder_without_output_gets_them_inside_and_the_rerun_does_nothing(dasr, worked):
    picture("in/a.png", "in/sub/b.jpg")
    before = contents()
    dasr("upscale", "in")
    assert new(before) == ["in/a-x4.png", "in/sub/b-x4.png"]
    before = contents()
    said = dasr("upscale", "in")
    assert new(before) == []
    assert len(worked) == 2
    assert said.count("exists already") == 2


def test_an_output_folder_inside_the_input_is_not_an_input(dasr, worked):
    picture("in/a.png")
    dasr("upscale", "in", "-o", "in/large")
    before = contents()
    dasr("upscale", "in", "-o", "in/large", "--suffix", "-once-more")
    assert new(before) == ["in/large/a-once-more.png"]


def test_patterns_are_expanded_where_the_shell_does_not(dasr, worked):
    picture("a.png", "b.png", "c.jpg", "sub/d.png", "[1].png")
    before = contents()
    dasr("upscale", "[ab].png", "**/d.png", "[1].png")
    assert new(before) == ["[1]-x4.png", "a-x4.png", "b-x4.png", "sub/d-x4.png"]
    said = dasr("upscale", "*.webp", code=1)
    assert said == "dasr: no file matches *.webp\n"
    assert dasr("upscale", "*.webp", "-o", "a.jpg", code=1) == said


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (("--format", "jpg"), "a-x4.jpg"),
        (("--format", "webp", "--suffix", "-large"), "a-large.webp"),
        (("--format", "same"), "a-x4.bmp"),
        (("--format", "tif"), "a-x4.tif"),
        (("--suffix", "", "-o", "out"), "out/a.png"),
        (("-o", "b.webp"), "b.webp"),
        (("-o", "out"), "out/a-x4.png"),
        (("-o", "b.jpeg", "--format", "jpg"), "b.jpeg"),
        (("b.tif",), "b.tif"),
    ],
)
def test_the_options_name_the_file(dasr, worked, words, made):
    picture("a.bmp")
    before = contents()
    dasr("upscale", "a.bmp", *words)
    assert new(before) == [made]
    kinds = {".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF"}
    with Image.open(made) as opened:
        assert opened.format == kinds.get(Path(made).suffix, "WEBP")


def test_a_second_name_that_is_no_file_is_the_output_and_said(dasr, worked):
    picture("a.png")
    said = dasr("upscale", "a.png", "new.png")
    assert said.startswith("new.png is taken for the output, as -o new.png\n")
    assert Path("new.png").is_file()


def test_an_output_of_another_run_is_no_picture_of_a_pattern(dasr, worked):
    """A picture that is named is one all the same."""
    picture("a.jpg", "b.png", "n.jpg", "n.tif")
    dasr("upscale", "a.jpg", "n.jpg")
    before = contents()
    dasr("upscale", "*.png")
    assert new(before) == ["b-x4.png"]
    before = contents()
    dasr("upscale", "a-x4.png")
    assert new(before) == ["a-x4-x4.png"]


def test_a_picture_given_twice_is_done_once(dasr, worked):
    picture("in/a.png")
    Path("link.png").symlink_to("in/a.png")
    dasr("upscale", "in/a.png", "in", "in/../in/a.png", "link.png")
    assert len(worked) == 1


def test_a_tilde_is_the_home_folder(dasr, worked, monkeypatch):
    monkeypatch.setenv("HOME", os.getcwd())
    monkeypatch.setenv("USERPROFILE", os.getcwd())
    picture("a.png", "b.png")
    before = contents()
    dasr("upscale", "~/a.png", "~/b*.png", "--out=~/out")
    assert new(before) == ["out/a-x4.png", "out/b-x4.png"]
    dasr("degrade", "a.png", "--out=~/small.webp")
    assert Path("small.webp").is_file()


# What exists


def test_a_rerun_does_only_what_is_missing(dasr, worked):
    """Of a pattern that the shell expands, the outputs are among the names."""
    picture("a.png", "b.png", "c.png")
    dasr("upscale", "a.png", "b.png", "c.png")
    Path("b-x4.png").unlink()
    before = contents()
    said = dasr("upscale", *sorted(map(str, Path().glob("*.png"))))
    assert new(before) == ["b-x4.png"]
    assert len(worked) == 4
    assert "a-x4.png exists already, --overwrite makes it again" in said
    assert "a-x4.png is the output for a.png: left out" in said


@pytest.mark.parametrize("command", ["upscale", "degrade"])
def test_files_are_made_again_when_asked(dasr, worked, command):
    picture("a.png", "in/b.png")
    dasr(command, "a.png", "in")
    before = contents()
    picture("a.png", "in/b.png", colour="pink")
    dasr(command, "a.png", "in", "--overwrite")
    after = contents()
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def test_a_named_file_that_exists_is_refused(dasr, idle):
    """It was asked for by name, so it is an error, unlike an output that is there already."""
    picture("a.png", "b.png")
    before = contents()
    for command in ("upscale", "degrade"):
        said = dasr(command, "a.png", "-o", "b.png", code=1)
        assert said.startswith("dasr: b.png exists already: name another file, or replace it with")
        assert len(said.splitlines()) == 1
    assert new(before) == []


NEVER = {
    "onto itself": ("a.png", "-o", "./a.png"),
    "through a link": ("a.png", "-o", "link.png"),
    "from a link": ("link.png", "-o", "a.png"),
    "by the name of an output": ("a.png", "a-x4.png"),
    "by folder and suffix": ("in/a.png", "in/sub/a.png", "-o", "in", "--suffix", ""),
    "two folders": ("in/sub", "in/a.png", "-o", "in", "--suffix", ""),
    "found in a folder": ("in", "large/b", "-o", "large", "--suffix", ""),
    "through a link into a folder": ("in/b", "-o", "out"),
}


@pytest.mark.parametrize("command", ["upscale", "degrade"])
@pytest.mark.parametrize("case", NEVER)
def test_an_input_is_never_written_to(dasr, worked, case, command):
    picture("a.png", "a-x4.png", "a-lr.png", "in/a.png", "in/sub/a.png", "in/b/a.png")
    picture("large/b/a.png")
    Path("link.png").symlink_to("a.png")
    Path("out").mkdir()
    for end in ("x4", "lr"):
        Path(f"out/a-{end}.png").symlink_to("../in/b/a.png")
    before = contents()
    words = NEVER[case]
    if command == "degrade":
        words = tuple(word.replace("x4", "lr") for word in words)
    said = dasr(command, *words, "--overwrite", code=1)
    assert "never written to" in said or "need a folder of their own" in said
    made = new(before)  # and all files are as they were
    assert made == [] or case == "found in a folder"  # which holds other pictures too


# What goes wrong


@pytest.mark.parametrize("command", ["upscale", "degrade"])
def test_a_bad_file_is_said_and_the_rest_is_done(dasr, worked, command):
    picture("in/a.png", "in/c.png")
    Path("in/b.png").write_text("Dear reader,")
    whole = Path("in/a.png").read_bytes()
    Path("in/half.png").write_bytes(whole[: len(whole) // 2])
    before = contents()
    said = dasr(command, "in", "gone.png", "-o", "out", code=1)
    end = "-x4" if command == "upscale" else "-lr"
    assert new(before) == [f"out/a{end}.png", f"out/c{end}.png"]
    errors = [line for line in said.splitlines() if line.startswith("dasr: ")]
    assert sum("cannot be read as a picture" in line for line in errors) == 2
    assert "there is no file gone.png: check the path to the picture" in said
    assert errors[-1] == "dasr: 3 of 5 pictures were not done"
    picture("in/b.png")
    before = contents()
    dasr(command, "in", "-o", "out", code=1)
    assert new(before) == [f"out/b{end}.png"]


def test_a_failure_of_the_work_is_one_pictures(dasr, worked, monkeypatch):
    picture("a.png", "b.png", "c.png")
    write = data.write_picture

    def full(made, path):
        if path.name == "b-x4.png":
            raise OSError("No space left on device")
        write(made, path)

    monkeypatch.setattr(data, "write_picture", full)
    said = dasr("upscale", "a.png", "b.png", "c.png", code=1)
    assert "dasr: b.png: No space left on device\n" in said
    assert Path("c-x4.png").is_file()


def test_two_outputs_of_one_name_are_refused_before_the_work(dasr, worked):
    picture("one/n.png", "two/n.png", "three/m.png")
    before = contents()
    said = dasr("upscale", "one", "two", "three", "-o", "out", code=1)
    assert new(before) == ["out/m-x4.png"]
    assert said.count("and another picture would both become out/n-x4.png") == 2


def test_a_result_is_written_before_it_is_printed(dasr, worked, monkeypatch):
    picture("a.png")

    def broken_pipe(text: str = "", **_: object) -> None:
        if "->" in text:
            raise BrokenPipeError("the reader is gone")

    monkeypatch.setattr("dasrlib.cli.pictures.typer.echo", broken_pipe)
    dasr("upscale", "a.png", code=1)
    assert Path("a-x4.png").is_file()


BEFORE = {
    "a folder for one file": (("upscale", "a.png", "-o", "no/b.png"), "there is no folder no"),
    "its place for many": (
        ("upscale", "a.png", "-o", "a.png/out"),
        "a.png is not a folder: name another folder",
    ),
    "rights": (("upscale", "a.png", "-o", "/proc/b.png"), "cannot write /proc/b.png ("),
    "rights of a folder": (("degrade", "a.png", "-o", "/proc/out"), "cannot write /proc/out ("),
    "rights for many": (("upscale", "a.png", "in", "-o", "/proc/out"), "cannot write /proc/out ("),
    "a file in the place of a folder": (
        ("upscale", "deep", "-o", "in"),
        "deep/a.png/b.png: in/a.png is not a folder: name another folder",
    ),
    "extension": (("degrade", "a.png", "-o", "b.xyz"), "cannot write b.xyz: expected an extension"),
    "extension of a second name": (("upscale", "a.png", "b.xyz"), "cannot write b.xyz: expected"),
    "the same, for which there is no writer": (
        ("upscale", "g.gif", "--format", "same"),
        "cannot write g-x4.gif: expected an extension",
    ),
    "WebP": (
        ("upscale", "wide.png", "-o", "b.webp"),
        "cannot write b.webp of 16400×12 pixels: WEBP holds at most 16383 a side, use .png",
    ),
    "JPEG": (
        ("upscale", "wider.png", "--format", "jpg"),
        "cannot write wider-x4.jpg of 65504×12 pixels: JPEG holds at most 65500 a side, use .png",
    ),
    "tiny": (("upscale", "tiny.png"), "tiny.png: a picture of 3×2 is too small"),
    "kernel": (("degrade", "a.png", "--scale", 2, "-o", "b.png", "--sigma", -1), "positive"),
    "small": (("degrade", "stamp.png"), "stamp.png: a picture of 8×8 is too small for a 21×21"),
    "one file for many": (
        ("upscale", "a.png", "tiny.png", "-o", "b.png"),
        "-o b.png is the name of one file, and there are 2 pictures: name a folder",
    ),
    "one file for a folder": (
        ("upscale", "in", "-o", "b.png"),
        "-o b.png is the name of a file, and the pictures are a folder: name a folder",
    ),
    "an empty folder": (("upscale", "empty"), "no pictures in empty: expected files ending in"),
    "a name that is too long": (("upscale", "a.png", "--suffix", "x" * 260), "cannot write a"),
    "a folder as a suffix": (
        ("upscale", "a.png", "--suffix", "../b"),
        "--suffix is a part of a file's name, got '../b': name folders by -o",
    ),
    "format and file": (
        ("upscale", "a.png", "-o", "b.jpg", "--format", "png"),
        "--format png and -o b.jpg are different formats: leave one of them out",
    ),
    "suffix and file": (
        ("degrade", "a.png", "-o", "b.jpg", "--suffix", "-b"),
        "--suffix and -o b.jpg both name the file: leave one of them out",
    ),
    "two kernels": (
        ("degrade", "a.png", "--sigma", 3, "--lambda1", 2, "--lambda2", 1),
        "--sigma and --lambda1 name different kernels: leave one of them out",
    ),
    "an angle of nothing": (
        ("degrade", "a.png", "--sigma", 2, "--theta", 45),
        "--theta turns an anisotropic kernel: add --lambda1 and --lambda2",
    ),
    "noise without end": (("degrade", "a.png", "--noise", "inf"), "noise must be finite, got inf"),
    "no angle": (
        ("degrade", "a.png", "--lambda1", 2, "--lambda2", 1, "--theta", "nan"),
        "theta must be finite, got nan",
    ),
    "tile": (("upscale", "a.png", "--tile", 8), "tile must be at least 32 LR pixels, got 8"),
    "device": (("upscale", "a.png", "--device", "cdua"), "did you mean 'cuda'?"),
    "a network that is not blind": (
        ("upscale", "a.png", "--weights", "laptop/model5-x4-iso"),
        "model5 is not blind",
    ),
}


@pytest.mark.parametrize("case", BEFORE)
def test_what_cannot_be_done_is_one_sentence_before_the_work(dasr, idle, case):
    picture("a.png", "in/a.png", "deep/a.png/b.png", "g.gif")
    picture("wide.png", size=(4100, 3))
    picture("wider.png", size=(16376, 3))
    picture("tiny.png", size=(2, 3))
    picture("stamp.png", size=(8, 8))
    Path("empty").mkdir()
    before = contents()
    words, sentence = BEFORE[case]
    if case.startswith("rights") and not Path("/proc").is_dir():
        pytest.skip("a folder of Linux into which nobody can write")
    said = dasr(*words, code=1)
    assert said.startswith("dasr: ")
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert new(before) == []


def test_a_bad_format_is_told_the_good_ones(dasr, idle):
    picture("a.png")
    said = dasr("upscale", "a.png", "--format", "gif", code=2)
    assert "'png', 'jpg', 'webp', 'tif', 'same'" in said


def test_weights_are_read_once_for_all_pictures(dasr, worked, monkeypatch):
    read = []
    load = weights.load

    def counted(name):
        read.append(name)
        return load(name)

    monkeypatch.setattr(weights, "load", counted)
    picture("a.png", "b.png", "c.png")
    dasr("upscale", "a.png", "b.png", "c.png")
    assert read == ["laptop/model4-x4-iso"]


def test_the_device_computes(dasr, monkeypatch):
    seen = []

    def refused(picture, model, *_, **__):
        seen.append(next(model.parameters()).device.type)
        raise ValueError("enough")

    monkeypatch.setattr(inference, "upscale_picture", refused)
    monkeypatch.setattr(estimates, "read", lambda lr: estimates.Estimate(0, 100))
    monkeypatch.setattr(
        "dasrlib.acceleration.devices.device_named", lambda name: torch.device(name or "cpu")
    )
    picture("a.png")
    dasr("upscale", "a.png", "--device", "meta", code=1)
    dasr("upscale", "a.png", code=1)
    assert seen == ["meta", "cpu"]


def test_a_shell_that_cannot_copy_loses_nothing(dasr, worked):
    """What was there in the output folder stays."""
    picture("a.png", "out/a-x4.png", "out/other.png")
    before = contents()
    dasr("upscale", "a.png", "-o", "out")
    assert new(before) == []
    shutil.rmtree("out")
    dasr("upscale", "a.png", "-o", "out")
    assert Path("out/a-x4.png").is_file()
