"""A run carried in pieces: whole and the same on the other machine, or a sentence and nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from dasrlib import profiles, training
from dasrlib.cli import app
from dasrlib.records import pieces
from dasrlib.records.atomic_write import whole_file
from dasrlib.records.pieces import pack, unpack

SIZE = 4096
LENGTHS = (0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE)
FILES = {f"run-{n}/checkpoint.pt": n for n in LENGTHS} | {".log": 7, "deep/er/σ " + 120 * "x": 7}


def filled(folder: Path, sizes: dict[str, int]) -> Path:
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashlib.shake_128(name.encode()).digest(size))
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file and every folder, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
            for p in sorted(folder.rglob("*"))}  # fmt: skip


@pytest.mark.parametrize("size", [1000, SIZE, 10 * 1024 - 1, 10 * 1024, 10 * 1024 + 1, 10**6])
def test_round_trip(tmp_path, size):
    folder, target = filled(tmp_path / "runs", FILES), tmp_path / "new" / "there"
    *parts, manifest = pack(folder, tmp_path / "out", size)
    assert [path.name for path in parts] == [f"runs.part-{i:03}" for i in range(len(parts))]
    assert sorted((tmp_path / "out").iterdir()) == [manifest, *parts]
    sizes = [path.stat().st_size for path in parts]
    assert sizes[:-1] == [size] * (len(parts) - 1)
    assert 0 < sizes[-1] <= size
    assert unpack(manifest, target) == sorted(target / name for name in FILES)
    assert contents(target) == contents(folder)
    assert all(path.stat().st_mtime > 1e9 for path in target.rglob("*")), "dated 1970"
    assert list(target.parent.iterdir()) == [target]


def test_the_same_files_give_the_same_pieces(tmp_path):
    for name in ("a", "b"):
        folder = filled(tmp_path / name / "run", FILES)
        for path in folder.rglob("*.pt"):
            os.utime(path, (ord(name), ord(name)))
            path.chmod(0o600 + ord(name) % 2 * 0o44)
        parts = pack(folder, tmp_path / f"out-{name}", SIZE)[:-1]
    assert contents(tmp_path / "out-a") == contents(tmp_path / "out-b")
    joined = io.BytesIO(b"".join(path.read_bytes() for path in parts))
    with tarfile.open(fileobj=joined) as tar:
        assert tar.getnames() == sorted(FILES)


def test_what_is_being_written_stays_out(tmp_path):
    folder = filled(tmp_path / "run", {"checkpoint.pt": 9, ".half.unpacking/a": 9, "LOCK": 9})
    with whole_file(folder / "checkpoint.pt"), whole_file(folder / "LOCK"):
        manifest = pack(folder, tmp_path / "out")[-1]
    unpack(manifest, tmp_path / "new")
    assert set(contents(tmp_path / "new")) == {"checkpoint.pt", "LOCK"}


DAMAGES = {
    "is missing": lambda path: path.unlink(),
    "has 4097 bytes, not 4096": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "has 4095 bytes, not 4096": lambda path: path.write_bytes(path.read_bytes()[1:]),
    "is damaged": lambda path: path.write_bytes(path.read_bytes()[::-1]),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_a_bad_piece_is_named_and_nothing_is_written(tmp_path, said):
    *parts, manifest = pack(filled(tmp_path / "run", FILES), tmp_path / "out", SIZE)
    DAMAGES[said](parts[2])
    before = contents(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=f"run.part-002 {said}.* bring this"):
        unpack(manifest, tmp_path / "new" / "there")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "kind"), [("../evil", tarfile.REGTYPE), ("a/../../b", b"0"), ("evil", tarfile.SYMTYPE)]
)
def test_a_file_that_would_leave_the_folder_is_refused(tmp_path, name, kind):
    evil = tarfile.TarInfo(name)
    evil.type, evil.linkname = kind, "good"
    with tarfile.open(fileobj=(packed := io.BytesIO()), mode="w") as tar:
        tar.addfile(tarfile.TarInfo("good"))
        tar.addfile(evil)
    data = packed.getvalue()
    piece = {"name": "x.part-000", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (tmp_path / "x.part-000").write_bytes(data)
    (tmp_path / "x.json").write_text(json.dumps({"pieces": [piece]}))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"'{name}' .*(outside|no plain file).*; nothing was"):
        unpack(tmp_path / "x.json", tmp_path / "new")
    assert contents(tmp_path) == before


def test_an_interrupted_pack_is_none_and_the_next_leaves_nothing_of_it(tmp_path, monkeypatch):
    folder, out = filled(tmp_path / "run", FILES), tmp_path / "out"
    others = set(filled(out, {"run.part-notes": 1, "run-2.part-000": 1}).iterdir())
    manifest = pack(folder, out, SIZE)[-1]

    def interrupted(path: Path):
        if path.name == "run.part-002":
            raise KeyboardInterrupt
        return whole_file(path)

    with monkeypatch.context() as patched:
        patched.setattr(pieces, "whole_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack(folder, out, 2 * SIZE)
    assert set(out.iterdir()) == others | {out / "run.part-000", out / "run.part-001"}
    with pytest.raises(FileNotFoundError, match=r"there is no manifest .*run.json: .*pack again"):
        unpack(manifest, tmp_path / "new")
    assert set(pack(folder, out, 10**6)) | others == set(out.iterdir())


def test_pack_refuses_in_one_sentence_and_leaves_the_last_pack(tmp_path):
    folder, out = filled(tmp_path / "run", FILES), tmp_path / "out"
    pack(folder, out)
    (tmp_path / "empty").mkdir()
    (out / "empty.json").write_text('{"mine": 1}')
    before = contents(out)
    for source, target, said in [
        (tmp_path / "nowhere", out, "there is no folder .*nowhere: give"),
        (folder, folder / "deep", "lies in .*run, which is to be packed: choose"),
        (tmp_path / "empty", out, "empty.json is no manifest of pieces: give"),
        (tmp_path / "empty", tmp_path, "empty holds no files: give"),
    ]:
        with pytest.raises(ValueError, match=said):
            pack(source, target)
    with pytest.raises(ValueError, match="at least 1 byte, got 0"):
        pack(folder, out, 0)
    (folder / "zlink").symlink_to(folder / "deep")
    with pytest.raises(ValueError, match="zlink is a link or a device: put"):
        pack(folder, out)
    assert contents(out) == before


def test_unpack_refuses_a_folder_that_holds_something(tmp_path):
    folder = filled(tmp_path / "run", FILES)
    manifest = pack(folder, tmp_path / "out")[-1]
    before = contents(folder)
    for target in (folder, folder / "run-1/checkpoint.pt"):
        with pytest.raises(FileExistsError, match="is no empty folder: choose another one, or"):
            unpack(manifest, target)
    assert contents(folder) == before
    (tmp_path / "empty").mkdir()
    unpack(manifest, tmp_path / "empty")
    assert contents(tmp_path / "empty") == before


@pytest.mark.parametrize("cut", [2, 6], ids=["stage 1", "stage 2"])
def test_a_carried_run_ends_like_the_uncut_one(tmp_path, monkeypatch, cut):
    stage = profiles.Stage(iterations=4, lr=5e-4, batch=2)
    profile = replace(profiles.get("smoke"), patch=12, stage1=stage, stage2=stage)
    pictures = [(name, torch.rand(3, 40, 44)) for name in "abc"]

    def trained(name: str, minutes: float | None = None) -> tuple[int, training.Run]:
        run = training.Run(
            *(tmp_path / name, "model4", profile, 2), images=(pictures, pictures[:1]), device="cpu"
        )
        # A minute an iteration, so that `minutes` cuts where it is told.
        clock = SimpleNamespace(monotonic=lambda: 60.0 * run.iteration)
        monkeypatch.setattr(training.run, "time", clock)
        begun = run.iteration
        assert run.train(minutes, progress=False) == (minutes is None)
        return begun, run

    _, whole = trained("whole")
    trained("here/run", cut - 0.5)
    manifest = pack(tmp_path / "here/run", tmp_path / "out", 16_000)[-1]
    (tmp_path / "here").rename(tmp_path / "gone")
    unpack(manifest, tmp_path / "there/run")
    begun, carried = trained("there/run")
    assert begun == cut  # it did not start anew, which would end the same
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(carried.model.state_dict()[name], tensor), name
    assert carried.log() == whole.log()
    files = [contents(run.folder.path)["weights.safetensors"] for run in (carried, whole)]
    assert files[0] == files[1]


def test_console(tmp_path):
    folder, new = filled(tmp_path / "run", {"checkpoint.pt": 16_000_000}), tmp_path / "new"

    def dasr(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["reproduce", *map(str, words)])
        assert result.exit_code == code, result.output
        return result.output

    said = dasr("pack", folder, tmp_path)
    assert "run.part-000  16,000,000 bytes" in said
    assert "run.part-001  " in said
    assert "new/checkpoint.pt  16,000,000 bytes" in dasr("unpack", tmp_path / "run.json", new)
    assert contents(new) == contents(folder)
    assert "dasr: " in dasr("unpack", tmp_path / "run.json", new, code=1)
