"""§4.2: the authors' own weights are fetched, known by their git blob id, and read as tensors."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
import torch
from authors_rule import rule_state, shapes_at

from dasrlib import authors, compositions, weights
from dasrlib.data.downloads import DownloadError


def packed(state: object) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def git_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


@pytest.fixture(scope="module")
def checkpoint(golden) -> bytes:
    """A checkpoint of the authors' names and shapes, made by rule."""
    return packed(rule_state(shapes_at(golden, 4)))


@pytest.fixture
def offered(server, monkeypatch, tmp_path):
    """Puts a body on the server as the only checkpoint, x4-iso; gives the folder to download to."""
    monkeypatch.setenv("DASR_DATA", str(tmp_path))
    monkeypatch.setattr(authors, "ADDRESS", server.url + "/{commit}/{run}/model_600.pt")

    def offer(body: bytes, expected: str | None = None) -> Path:
        run = authors.CHECKPOINTS["x4-iso"][0]
        server.files = {f"/{authors.COMMIT}/{run}/model_600.pt": body}
        entry = {"x4-iso": (run, expected or git_id(body))}
        monkeypatch.setattr(authors, "CHECKPOINTS", entry)
        return tmp_path

    return offer


def refused(words: str) -> None:
    """The download ends with one sentence, and leaves neither a checkpoint nor weights."""
    with pytest.raises(DownloadError, match=words) as error:
        authors.get()
    assert "\n" not in str(error.value)
    folder = Path(os.environ["DASR_DATA"]) / "authors"
    assert not [*folder.glob("*.safetensors"), *folder.glob("*.pt")]


def test_the_four_checkpoints_are_those_of_one_commit():
    assert list(authors.CHECKPOINTS) == ["x2-iso", "x3-iso", "x4-iso", "x4-aniso"]
    for name, (run, blob) in authors.CHECKPOINTS.items():
        scale, space = name.split("-")
        assert run == f"blindsr_{scale}_bicubic_{space}"
        assert len(blob) == 40
    assert authors.ADDRESS.format(commit=authors.COMMIT, run="blindsr_x4_bicubic_iso") == (
        "https://raw.githubusercontent.com/LongguangWang/DASR/"
        "51524af8021c94a502ee002e135867a1b75dc7d0/experiment/blindsr_x4_bicubic_iso/model/"
        "model_600.pt"
    )


def test_a_blob_id_is_that_of_git(tmp_path):
    (tmp_path / "hello").write_bytes(b"hello\n")
    # As `git hash-object` prints it.
    assert authors.blob_id(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_checkpoint_becomes_weights_and_is_not_fetched_again(offered, server, checkpoint):
    root = offered(checkpoint)
    assert authors.get() == root / "authors"
    assert [path.name for path in (root / "authors").iterdir()] == ["x4-iso.safetensors"]
    model = weights.load("authors/x4-iso")
    state = torch.load(io.BytesIO(checkpoint), weights_only=True)
    for key, tensor in weights.from_authors(state, 4).state_dict().items():
        assert torch.equal(model.state_dict()[key], tensor), key  # float32, to the last bit
    asked = len(server.requests)
    authors.get()
    assert len(server.requests) == asked
    assert compositions.is_here("authors", 4)
    assert not compositions.is_here("authors", 2)
    assert compositions.load("authors", 4).scale == 4


def test_another_file_is_refused_and_removed(offered, checkpoint):
    offered(checkpoint, expected="0" * 40)
    refused(f"git blob id {git_id(checkpoint)}, expected 0000.*run the download again")


def test_a_download_that_was_cut_off_goes_on(offered, server, checkpoint):
    root = offered(checkpoint)
    server.break_after, server.breaks = len(checkpoint) // 3, 10
    refused("cannot be downloaded")
    assert (root / "authors" / "x4-iso.pt.part").stat().st_size >= len(checkpoint) // 3
    server.break_after = None
    authors.get()
    assert server.requests[-1][1].startswith("bytes=")
    assert weights.load("authors/x4-iso").scale == 4


def test_a_truncated_file_is_refused(offered, checkpoint):
    """The server says that this is all."""
    offered(checkpoint[: len(checkpoint) // 2], expected=git_id(checkpoint))
    refused("expected " + git_id(checkpoint))


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_no_code_in_a_checkpoint_is_run(offered, tmp_path):
    offered(packed({"G.head.0.weight": Malicious(str(tmp_path / "owned"))}))
    with pytest.raises(ValueError, match="cannot be read as tensors alone"):
        authors.get()
    assert not (tmp_path / "owned").exists()
    assert not [*(tmp_path / "authors").iterdir()]


def test_a_checkpoint_of_something_else_is_refused(offered, tmp_path):
    offered(packed({"weight": torch.rand(3)}))
    with pytest.raises(ValueError, match="not a ×4 DASR checkpoint of the authors'"):
        authors.get()
    assert not [*(tmp_path / "authors").iterdir()]


def test_no_network_is_one_sentence(offered, server, checkpoint):
    offered(checkpoint)
    server.status = 503
    refused(r"cannot be downloaded \(status 503\): check the network")


def test_a_folder_that_cannot_be_written_is_one_sentence(offered, tmp_path, checkpoint):
    offered(checkpoint)
    (tmp_path / "authors").write_text("a file")
    with pytest.raises(DownloadError, match="cannot write the authors' weights to"):
        authors.get()


def test_weights_that_are_not_here_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("DASR_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="`dasr data get authors` downloads x2-iso"):
        weights.load("authors/x4-iso")
