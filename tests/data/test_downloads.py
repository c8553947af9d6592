"""Downloads against a real server on this machine that can be told to misbehave."""

import hashlib
import io
import json
import os
import re
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from dasrlib.data import downloads
from dasrlib.data.downloads import DownloadError

BODY = bytes(range(256)) * 40  # 10240 bytes, every position told apart from its neighbours
OTHER = b"another picture"


@pytest.fixture
def pets(server, monkeypatch):
    """A dataset of two files, `Pets`, in the registry and on the server."""
    files = {"cat.png": BODY, "dog.png": OTHER}
    server.files = {f"/{name}": body for name, body in files.items()}
    entries = {
        name: {"url": f"{server.url}/{name}", "sha256": hashlib.sha256(body).hexdigest()}
        for name, body in files.items()
    }
    monkeypatch.setattr(downloads, "registry", lambda: {"Pets": {"files": entries}})
    return files


@pytest.fixture
def archived(server, monkeypatch):
    """Puts an archive on the server as the only one of the dataset `Zoo`."""

    def put(name: str, body: bytes, md5: bool = False):
        server.files[f"/{name}"] = body
        entry = {"url": f"{server.url}/{name}"}
        if md5:
            entry["md5"] = hashlib.md5(body).hexdigest()
        monkeypatch.setattr(downloads, "registry", lambda: {"Zoo": {"archives": {name: entry}}})

    return put


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return out.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    """A tar with a symbolic link in it, which is never unpacked."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    return out.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(name: str, folder: Path) -> str:
    with pytest.raises(DownloadError) as caught:
        downloads.get(name, folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Sets of files


def test_a_dataset_arrives_whole_and_nothing_else_with_it(pets, tmp_path, capsys):
    assert downloads.get("Pets", tmp_path) == tmp_path / "Pets"
    assert contents(tmp_path / "Pets") == pets
    assert "2/2" in capsys.readouterr().err


def test_a_second_call_asks_the_server_for_nothing(pets, server, tmp_path):
    downloads.get("Pets", tmp_path)
    server.requests.clear()
    downloads.get("Pets", tmp_path)
    assert server.requests == []


def test_a_file_that_went_bad_is_fetched_again_and_only_that(pets, server, tmp_path):
    downloads.get("Pets", tmp_path)
    (tmp_path / "Pets" / "cat.png").write_bytes(BODY[:-1] + b"?")
    server.requests.clear()
    downloads.get("Pets", tmp_path)
    assert server.requests == [("/cat.png", None)]
    assert contents(tmp_path / "Pets") == pets


def test_a_set_that_was_interrupted_counts_as_missing_and_is_completed(pets, server, tmp_path):
    server.files["/dog.png"] = None
    assert "/dog.png cannot be downloaded (status 404)" in refusal("Pets", tmp_path)
    assert set(contents(tmp_path / "Pets")) == {"cat.png", downloads.INCOMPLETE}

    server.files["/dog.png"] = OTHER
    server.requests.clear()
    downloads.get("Pets", tmp_path)
    assert server.requests == [("/dog.png", None)]
    assert contents(tmp_path / "Pets") == pets


def test_a_single_break_is_mended_within_the_call(pets, server, tmp_path):
    server.break_after, server.breaks = 4000, 1
    downloads.get("Pets", tmp_path)
    assert contents(tmp_path / "Pets") == pets


def test_a_wrong_checksum_leaves_nothing_and_the_next_call_is_clean(pets, server, tmp_path):
    server.files["/cat.png"] = BODY[:-1] + b"?"
    message = refusal("Pets", tmp_path)
    assert "/cat.png does not have the expected checksum" in message
    assert hashlib.sha256(BODY).hexdigest() in message
    assert list(contents(tmp_path / "Pets")) == [downloads.INCOMPLETE]

    server.files["/cat.png"] = BODY
    downloads.get("Pets", tmp_path)
    assert contents(tmp_path / "Pets") == pets


def test_a_server_that_is_not_there(pets, server, tmp_path):
    server.close()
    message = refusal("Pets", tmp_path)
    assert f"{server.url}/cat.png cannot be downloaded (ConnectionError)" in message
    assert "network connection" in message
    assert list(contents(tmp_path / "Pets")) == [downloads.INCOMPLETE]


def test_an_unknown_dataset_is_refused_with_the_nearest(tmp_path):
    assert "'set41': did you mean 'Set14'?" in refusal("set41", tmp_path)
    assert "'div2k': did you mean 'DIV2K'?" in refusal("div2k", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_one(pets, tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = refusal("Pets", tmp_path / "file")
    assert f"cannot write Pets to {tmp_path / 'file' / 'Pets'} (" in message


# Archives


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_is_unpacked_flat_and_then_known_by_its_files(archived, server, tmp_path, pack):
    name = "zoo.zip" if pack is zipped else "zoo.tar"
    archived(name, pack({"Zoo_HR/1.png": BODY, "Zoo_HR/2.png": OTHER}), md5=True)
    downloads.get("Zoo", tmp_path)
    found = contents(tmp_path / "Zoo")
    record = json.loads(found.pop(f"{name}.json"))
    assert found == {"1.png": BODY, "2.png": OTHER}
    assert record["sha256"] == hashlib.sha256(server.files[f"/{name}"]).hexdigest()

    server.requests.clear()
    downloads.get("Zoo", tmp_path)
    assert server.requests == []

    (tmp_path / "Zoo" / "2.png").unlink()
    downloads.get("Zoo", tmp_path)
    assert (tmp_path / "Zoo" / "2.png").read_bytes() == OTHER


def test_an_archive_that_breaks_off_is_continued(archived, server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK", 10)  # a chunk that breaks off is lost
    archived("zoo.zip", zipped({"1.png": BODY}), md5=True)
    server.break_after = 100
    assert "/zoo.zip cannot be downloaded (" in refusal("Zoo", tmp_path)
    assert downloads.INCOMPLETE in contents(tmp_path / "Zoo")
    arrived = (tmp_path / "Zoo" / "zoo.zip.part").stat().st_size
    assert 0 < arrived == 100 * (1 + downloads.RETRIES)

    server.break_after = None
    server.requests.clear()
    downloads.get("Zoo", tmp_path)
    assert server.requests == [("/zoo.zip", f"bytes={arrived}-")]
    assert set(contents(tmp_path / "Zoo")) == {"1.png", "zoo.zip.json"}


@pytest.mark.parametrize("case", ["no ranges", "all was kept", "too much was kept"])
def test_what_was_kept_of_an_archive_may_be_of_any_length(
    archived, server, tmp_path, monkeypatch, case
):
    body = zipped({"1.png": BODY})
    archived("zoo.zip", body, md5=True)
    server.ranges = case != "no ranges"
    if case == "no ranges":  # no second transfer is needed
        monkeypatch.setattr(downloads, "RETRIES", 0)
    kept = {"no ranges": body[:50], "all was kept": body, "too much was kept": body + b"more"}
    (tmp_path / "Zoo").mkdir()
    (tmp_path / "Zoo" / "zoo.zip.part").write_bytes(kept[case])
    downloads.get("Zoo", tmp_path)
    assert (tmp_path / "Zoo" / "1.png").read_bytes() == BODY


def test_an_archive_with_the_wrong_md5_is_not_unpacked(archived, server, tmp_path):
    archived("zoo.zip", zipped({"1.png": BODY}), md5=True)
    server.files["/zoo.zip"] = zipped({"1.png": OTHER})
    assert "does not have the expected checksum md5:" in refusal("Zoo", tmp_path)
    assert list(contents(tmp_path / "Zoo")) == [downloads.INCOMPLETE]


def test_an_archive_without_checksum_must_stay_what_it_was_at_first(archived, server, tmp_path):
    first = tarred({"1.png": BODY})
    archived("zoo.tar", first)
    downloads.get("Zoo", tmp_path)
    (tmp_path / "Zoo" / "1.png").unlink()
    server.files["/zoo.tar"] = tarred({"1.png": OTHER})
    assert hashlib.sha256(first).hexdigest() in refusal("Zoo", tmp_path)
    assert not (tmp_path / "Zoo" / "1.png").exists()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_low_resolution_copies_and_hidden_files_stay_out(archived, tmp_path, pack):
    files = {
        "Flickr2K/Flickr2K_HR/1.png": BODY,
        "Flickr2K/Flickr2K_LR_bicubic/X2/1x2.png": OTHER,
        "Flickr2K/Flickr2K_HR/._1.png": OTHER,
        "Flickr2K/readme.txt": OTHER,
    }
    name = "zoo.zip" if pack is zipped else "zoo.tar"
    archived(name, pack(files))
    downloads.get("Zoo", tmp_path)
    assert set(contents(tmp_path / "Zoo")) == {"1.png", f"{name}.json"}


@pytest.mark.parametrize("evil", ["../../evil.png", "/evil.png", "..\\evil.png", "C:\\evil.png"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_nothing_of_an_archive_lands_outside_the_folder(archived, tmp_path, pack, evil):
    archived("zoo.zip" if pack is zipped else "zoo.tar", pack({"1.png": BODY, evil: OTHER}))
    folder = tmp_path / "deep" / "down"
    # Whether it is refused or its name made harmless is the standard library's choice.
    with suppress(DownloadError):
        downloads.get("Zoo", folder)
    outside = [path for path in tmp_path.rglob("*evil*") if path.parent != folder / "Zoo"]
    assert outside == []
    assert not Path("/evil.png").exists()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("zoo.zip", BODY),
        ("zoo.tar", BODY),
        ("zoo.tar", tarred({"1.png": BODY})[:3000]),
        ("zoo.zip", zipped({"readme.txt": BODY})),
        ("zoo.zip", zipped({"a/1.png": BODY, "b/1.png": OTHER})),
    ],
    ids=["no zip", "no tar", "half a tar", "no pictures", "one name twice"],
)
def test_an_archive_that_cannot_be_unpacked_is_removed(archived, tmp_path, name, body):
    archived(name, body)
    assert f"/{name} cannot be unpacked: expected" in refusal("Zoo", tmp_path)
    assert list(contents(tmp_path / "Zoo")) == [downloads.INCOMPLETE]


# Where they go, and what the registry says


def test_downloads_go_to_dasr_data_if_it_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("DASR_DATA", str(tmp_path / "not" / "there" / "yet"))
    assert downloads.default_folder() == tmp_path / "not" / "there" / "yet"
    monkeypatch.setenv("DASR_DATA", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert downloads.default_folder() == downloads.cache_folder()
    monkeypatch.delenv("DASR_DATA")
    assert downloads.default_folder() == downloads.cache_folder()


def test_the_default_folder_is_used(pets, tmp_path, monkeypatch):
    monkeypatch.setenv("DASR_DATA", str(tmp_path))
    downloads.get("Pets")
    assert contents(tmp_path / "Pets") == pets


def test_the_registry_names_every_file_with_a_checksum():
    sizes = {name: len(entry.get("files", ())) for name, entry in downloads.registry().items()}
    counted = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "BSDS400": 400}
    assert sizes == counted | {"RealSRSet": 20, "DIV2K": 0, "Flickr2K": 0}
    for entry in downloads.registry().values():
        for name, file in entry.get("files", {}).items():
            assert re.fullmatch(r"[0-9a-f]{64}", file["sha256"]), name
            assert file["url"].startswith("https://"), name
            assert "/" not in name


@pytest.mark.parametrize(
    ("name", "every"), [("Set5", 1), ("Set14", 1), ("RealSRSet", 1), ("B100", 10), ("BSDS400", 20)]
)
def test_the_files_on_disk_are_those_of_the_registry(dasr_data, name, every):
    folder = dasr_data / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not under DASR_DATA")
    files = sorted(downloads.registry()[name]["files"].items())
    for file, entry in files[::every]:
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == entry["sha256"], file
