"""dasr upscale and degrade from file to file: what belongs to a picture, and old code pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import commands

from dasrlib import __version__, data, inference, weights
from dasrlib.data import picture_writing

WORDS = {"upscale": (), "degrade": ("--scale", 2, "--sigma", 1, "--noise", 10)}
SCALE = {"upscale": 4, "degrade": 0.5}


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def colours() -> np.ndarray:
    """A piece of a photograph, 24×32, upright."""
    image = data.load_image_uint8(data.paths("samples")[0])[:, 100:124, 120:152]
    return image.permute(1, 2, 0).numpy()


@pytest.fixture(params=["upscale", "degrade"])
def command(request) -> str:
    return request.param


def enlarged(command: str, height: int, width: int) -> tuple[int, int]:
    return int(SCALE[command] * height), int(SCALE[command] * width)


def test_the_network_sees_what_the_library_reads(dasr, colours):
    Image.fromarray(colours).save("a.png")
    dasr("upscale", "a.png", "-o", "b.png", "--dtype", "float32", "--device", "cpu")
    expected = inference.upscale("a.png", "laptop/model4-x4-iso", dtype=torch.float32)
    assert torch.equal(data.load_image("b.png"), expected)


def test_grey_stays_grey(dasr, colours, command):
    Image.fromarray(colours[..., 0]).save("a.png")
    dasr(command, "a.png", "-o", "b.png", *WORDS[command])
    with Image.open("b.png") as opened:
        assert opened.mode == "L"
        assert opened.size[::-1] == enlarged(command, 24, 32)
    Image.fromarray(colours).save("c.png")
    dasr(command, "c.png", "-o", "d.png", *WORDS[command])
    with Image.open("d.png") as opened:
        assert opened.mode == "RGB"


@pytest.mark.parametrize("kind", ["png", "webp", "tif"])
def test_transparency_is_enlarged_and_kept(dasr, colours, command, kind):
    alpha = np.full((24, 32, 1), 255, np.uint8)
    alpha[:, 16:] = 0
    hidden = colours * (alpha > 0)  # black under what is not to be seen
    Image.fromarray(np.concatenate([hidden, alpha], axis=2)).save("a.png")
    dasr(command, "a.png", "-o", f"b.{kind}", "--seed" if command == "degrade" else "--tile", 32)
    found = data.read_picture(f"b.{kind}")
    h, w = enlarged(command, 24, 32) if command == "upscale" else (6, 8)
    assert found.alpha is not None
    assert found.alpha.shape == (1, h, w)
    assert (found.alpha[:, :, : w // 4] == 255).all()
    assert (found.alpha[:, :, -w // 4 :] == 0).all()
    # No dark edge: the hidden black was replaced before.
    edge = found.pixels[:, :, w // 2 - w // 8 : w // 2].float().mean()
    inner = found.pixels[:, :, w // 4 : w // 2 - w // 8].float().mean()
    assert edge > 0.8 * inner


def test_transparency_is_put_over_white_for_jpeg_and_said(dasr, command):
    Image.new("RGBA", (32, 24), (0, 0, 0, 0)).save("a.png")
    said = dasr(command, "a.png", "-o", "b.jpg")
    assert "a.png: JPEG holds no transparency: it is put over white\n" in said
    assert (data.load_image("b.jpg") > 0.97).all()


def test_sixteen_bits_stay_sixteen(dasr):
    ramp = np.linspace(20000, 22000, 24 * 32).astype(np.uint16).reshape(24, 32)
    Image.fromarray(ramp).save("a.png")
    said = dasr("upscale", "a.png", "-o", "b.png")
    assert "computing 16 bits in float32\n" in said
    found = data.read_picture("b.png")
    assert found.bits == 16
    levels = (found.pixels * 65535).round().int()
    assert len(levels.unique()) > 200  # in 8 bits there would be some ten
    assert abs(levels.float().mean() - 21000) < 600
    said = dasr("upscale", "a.png", "-o", "b.jpg")
    assert "a.png: JPEG holds 8 bits per channel: the picture's 16 are rounded\n" in said
    said = dasr("degrade", "a.png", "-o", "c.png")
    assert "a.png: its 16 bits become 8, to which §3.1 rounds\n" in said
    assert data.read_picture("c.png").bits == 8


def test_sixteen_bits_are_computed_in_float32(monkeypatch):
    """bfloat16 has 8 bits, so that the others would be noise."""
    seen = []
    monkeypatch.setattr(
        inference, "upscale_tiles", lambda *_, dtype, bits: seen.append(dtype) or ()
    )
    model = weights.load("laptop/model4-x4-iso")
    for bits in (8, 16):
        inference.upscale_picture(data.Picture(torch.rand(3, 8, 9), bits=bits), model)
    assert seen == [None, torch.float32]


def test_exif_and_rotation_go_along(dasr, colours, command):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    Image.fromarray(colours).save("a.jpg", exif=exif)
    for kind in ("png", "jpg"):
        dasr(command, "a.jpg", "-o", f"b.{kind}", *WORDS[command])
        with Image.open(f"b.{kind}") as opened:
            assert opened.size == enlarged(command, 24, 32)  # turned
            opened.load()
            assert opened.getexif()[0x010F] == "Maker"
            assert 0x0112 not in opened.getexif()


def test_what_is_odd_is_said(dasr, colours):
    Image.fromarray(colours).save("a.png", icc_profile=b"no profile")
    said = dasr("degrade", "a.png", "-o", "b.png")
    assert "a.png: its colour profile is ignored" in said


def test_weights_that_do_not_fit_are_said(dasr, colours):
    noise = np.random.default_rng(0).normal(0, 40, (48, 64, 3))
    Image.fromarray((128 + noise).clip(0, 255).astype(np.uint8)).save("a.png")
    said = dasr("upscale", "a.png", "-o", "b.png")
    assert "the weights that fit: laptop/photo-x4" in said
    said = dasr("upscale", "a.png", "-o", "c.png", "--weights", "laptop/model4-x4-iso")
    assert "laptop/model4-x4-iso was trained without noise" in said


def test_the_noise_of_a_picture_does_not_depend_on_the_others(dasr, colours):
    """So that a rerun, which does only what is missing, makes the same files."""
    for name in ("a.png", "b.png"):
        Image.fromarray(colours).save(name)
    dasr("degrade", "a.png", "b.png", "--noise", 20, "--scale", 2)
    assert Path("a-lr.png").read_bytes() == Path("b-lr.png").read_bytes()
    noise = data.load_image("a-lr.png") - data.load_image_uint8("a.png")[:, ::2, ::2] / 255
    assert noise.std() * 255 > 10


# Old code pages: a pipe or a file on Windows, a notebook's `!dasr`

HELPS = """
import sys
from dasrlib.cli import app
for words in {words}:
    print("##", *words, flush=True)
    app([*words, "--help"], standalone_mode=False)
"""


def run(code_page: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": code_page, "PYTHONUTF8": "0"}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, timeout=300, env=environment
    )


@pytest.mark.parametrize("code_page", ["cp1252", "cp1251", "ascii"])
def test_every_help_can_be_piped(code_page):
    words = [(), *commands()]
    ended = run(code_page, "-c", HELPS.format(words=words))
    assert ended.returncode == 0, ended.stderr.decode("ascii", "replace")
    assert ended.stdout.count(b"##") == len(words)
    assert ended.stdout.count(b"Usage: ") == len(words)


@pytest.mark.parametrize("code_page", ["cp1252", "cp1251"])
def test_results_can_be_piped(colours, code_page):
    for name in ("a.png", "фото.png"):
        Image.fromarray(colours).save(name)
    Path("b.png").write_text("no picture")
    said = b""
    for words in (("degrade", "a.png", "фото.png", "b.png"), ("upscale", "a-lr.png", "b.png")):
        ended = run(code_page, "-m", "dasrlib.cli", *words)
        assert ended.returncode == 1, ended.stderr.decode(code_page)
        assert b"b.png cannot be read as a picture" in ended.stderr
        said += ended.stdout
    assert Path("фото-lr.png").is_file()
    assert Path("a-lr-x4.png").is_file()
    times = "×" if code_page == "cp1252" else "?"  # cp1251 has none
    assert f"32{times}24 -> 8{times}6" in said.decode(code_page)
    ended = run(code_page, "-m", "dasrlib.cli", "data", "list")
    assert ended.returncode == 0
    assert b"samples" in ended.stdout


# The page about it


def test_the_page_names_what_there_is():
    page = (Path(__file__).parents[2] / "docs" / "pictures.md").read_text(encoding="utf-8")
    formats = picture_writing.FORMATS
    assert f"JPEG {formats['.jpg'].longest} pixels a side, WebP {formats['.webp'].longest})" in page
    said = run("utf-8", "-c", HELPS.format(words=[(), ("upscale",)])).stdout.decode()
    options = set(re.findall(r"`(?:dasr )?(--[a-z-]+)", page))
    assert {"--suffix", "--format", "--overwrite"} < options
    assert all(option in said for option in options)


# The console itself


def test_the_version(dasr):
    assert dasr("--version") == f"dasrlib {__version__}\n"


def test_a_shell_can_complete_commands_and_choices():
    assert "--install-completion" in run("utf-8", "-m", "dasrlib.cli", "--help").stdout.decode()
    code = "from dasrlib.cli import app; app(prog_name='dasr')"
    for typed, expected in (("dasr up", "upscale"), ("dasr upscale --format we", "webp")):
        asked = {"_DASR_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "3"}
        asked["COMP_CWORD"] = str(len(typed.split()) - 1)
        ended = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **asked},
        )
        assert expected in ended.stdout.split(), ended.stderr
