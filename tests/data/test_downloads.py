"""Downloads against a real server on this machine that can be told to misbehave."""

import hashlib
import io
import json
import os
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dasrlib.data import downloads
from dasrlib.data.downloads import DownloadError

BODY = bytes(range(256)) * 40  # 10240 bytes, every position told apart from its neighbours
OTHER = b"another picture"


class Server:
    """Serves `files` by path; counts what was asked, and misbehaves as its switches say."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []  # (path, Range header)
        self.break_after: int | None = None  # bytes of each answer before the line goes dead
        self.breaks = 10**9  # so many answers break, then no more
        self.ranges = True
        self.status: int | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append((self.path, self.headers.get("Range")))
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def answer(self, handler):
        body = self.files.get(handler.path)
        if self.status or body is None:
            handler.send_error(self.status or 404)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
        start = int(wanted[1]) if wanted and self.ranges else 0
        if start >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        rest = body[start:]
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        if self.break_after is not None and self.breaks > 0:
            self.breaks -= 1
            rest = rest[: self.break_after]
        handler.wfile.write(rest)

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    server = Server()
    yield server
    server.close()


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


def tarred(files: dict[str, bytes], link: str | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
        if link:
            entry = tarfile.TarInfo("link.png")
            entry.type = tarfile.SYMTYPE
            entry.linkname = link
            archive.addfile(entry)
    return out.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def get(name: str, folder: Path) -> Path:
    return downloads.get(name, folder, progress=False)


def refusal(name: str, folder: Path) -> str:
    with pytest.raises(DownloadError) as caught:
        get(name, folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_dataset_arrives_whole_and_nothing_else_with_it(pets, tmp_path):
    assert get("Pets", tmp_path) == tmp_path / "Pets"
    assert contents(tmp_path / "Pets") == pets


def test_a_second_call_asks_the_server_for_nothing(pets, server, tmp_path):
    get("Pets", tmp_path)
    server.requests.clear()
    get("Pets", tmp_path)
    assert server.requests == []


def test_a_file_that_went_bad_is_fetched_again_and_only_that(pets, server, tmp_path):
    get("Pets", tmp_path)
    (tmp_path / "Pets" / "cat.png").write_bytes(BODY[:-1] + b"?")
    server.requests.clear()
    get("Pets", tmp_path)
    assert server.requests == [("/cat.png", None)]
    assert contents(tmp_path / "Pets") == pets


def test_a_mirror_is_asked_instead(pets, server, tmp_path):
    server.files = {f"/mirror/Pets/{name}": body for name, body in pets.items()}
    downloads.get("Pets", tmp_path, base_url=f"{server.url}/mirror/", progress=False)
    assert contents(tmp_path / "Pets") == pets
    assert [path for path, _ in server.requests] == ["/mirror/Pets/cat.png", "/mirror/Pets/dog.png"]


def test_the_bars_can_be_seen(pets, tmp_path, capsys):
    downloads.get("Pets", tmp_path)
    assert "2/2" in capsys.readouterr().err


def test_a_file_that_breaks_off_is_continued_by_the_next_call(pets, server, tmp_path):
    server.break_after = 1000
    message = refusal("Pets", tmp_path)
    arrived = 1000 * downloads.ATTEMPTS
    assert f"cat.png broke off after {arrived} bytes" in message
    assert "run the same download again" in message
    assert not (tmp_path / "Pets" / "cat.png").exists()
    assert (tmp_path / "Pets" / downloads.INCOMPLETE).exists()

    server.break_after = None
    server.requests.clear()
    get("Pets", tmp_path)
    assert server.requests == [("/cat.png", f"bytes={arrived}-"), ("/dog.png", None)]
    assert contents(tmp_path / "Pets") == pets


def test_a_single_break_is_mended_within_the_call(pets, server, tmp_path):
    server.break_after, server.breaks = 4000, 1
    get("Pets", tmp_path)
    assert server.requests[:2] == [("/cat.png", None), ("/cat.png", "bytes=4000-")]
    assert contents(tmp_path / "Pets") == pets


def test_a_server_without_ranges_starts_anew(pets, server, tmp_path):
    server.ranges = False
    server.break_after, server.breaks = 4000, 1
    get("Pets", tmp_path)
    assert server.requests[1] == ("/cat.png", "bytes=4000-")
    assert contents(tmp_path / "Pets") == pets


def test_what_was_kept_may_be_all_there_is(pets, server, tmp_path):
    (tmp_path / "Pets").mkdir()
    (tmp_path / "Pets" / ".cat.png.part").write_bytes(BODY)
    get("Pets", tmp_path)
    assert [path for path, _ in server.requests] == ["/cat.png", "/dog.png"]
    assert contents(tmp_path / "Pets") == pets


def test_what_was_kept_of_a_longer_file_is_dropped(pets, server, tmp_path):
    (tmp_path / "Pets").mkdir()
    (tmp_path / "Pets" / ".cat.png.part").write_bytes(BODY + b"more")
    get("Pets", tmp_path)
    assert contents(tmp_path / "Pets") == pets


def test_a_wrong_checksum_leaves_nothing_and_the_next_call_is_clean(pets, server, tmp_path):
    server.files["/cat.png"] = BODY[:-1] + b"?"
    message = refusal("Pets", tmp_path)
    assert "/cat.png does not have the checksum" in message
    assert hashlib.sha256(BODY).hexdigest() in message
    assert list(contents(tmp_path / "Pets")) == [downloads.INCOMPLETE]

    server.files["/cat.png"] = BODY
    server.requests.clear()
    get("Pets", tmp_path)
    assert server.requests[0] == ("/cat.png", None)
    assert contents(tmp_path / "Pets") == pets


def test_a_file_that_went_bad_does_not_stay_when_it_cannot_be_replaced(pets, server, tmp_path):
    get("Pets", tmp_path)
    (tmp_path / "Pets" / "cat.png").write_bytes(BODY[:-1] + b"?")
    server.status = 404
    refusal("Pets", tmp_path)
    assert set(contents(tmp_path / "Pets")) == {"dog.png", downloads.INCOMPLETE}


def test_a_server_that_is_not_there(pets, server, tmp_path):
    server.close()
    message = refusal("Pets", tmp_path)
    assert f"{server.url}/cat.png cannot be fetched (ConnectionError)" in message
    assert "network connection" in message
    assert list(contents(tmp_path / "Pets")) == [downloads.INCOMPLETE]


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (503, downloads.ATTEMPTS)])
def test_only_a_server_in_trouble_is_asked_again(pets, server, tmp_path, status, attempts):
    server.status = status
    assert f"cannot be fetched (status {status})" in refusal("Pets", tmp_path)
    assert len(server.requests) == attempts


def test_an_address_that_is_none(pets, tmp_path):
    with pytest.raises(DownloadError, match=r"^mirror/Pets/cat.png is no address .*http://"):
        downloads.get("Pets", tmp_path, base_url="mirror", progress=False)


def test_an_unknown_dataset_is_refused_with_the_nearest(tmp_path):
    assert "'set41': did you mean 'Set14'?" in refusal("set41", tmp_path)
    assert "'div2k': did you mean 'DIV2K'?" in refusal("div2k", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_one(pets, tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = refusal("Pets", tmp_path / "file")
    assert f"cannot keep Pets in {tmp_path / 'file' / 'Pets'}" in message


def test_a_zip_is_unpacked_flat_and_then_known_by_its_files(archived, server, tmp_path):
    archived("zoo.zip", zipped({"Zoo_HR/1.png": BODY, "Zoo_HR/2.png": OTHER}), md5=True)
    get("Zoo", tmp_path)
    found = contents(tmp_path / "Zoo")
    record = json.loads(found.pop("zoo.zip.json"))
    assert found == {"1.png": BODY, "2.png": OTHER}
    assert record["sha256"] == hashlib.sha256(server.files["/zoo.zip"]).hexdigest()

    server.requests.clear()
    get("Zoo", tmp_path)
    assert server.requests == []

    (tmp_path / "Zoo" / "2.png").unlink()
    get("Zoo", tmp_path)
    assert (tmp_path / "Zoo" / "2.png").read_bytes() == OTHER


def test_a_zip_with_the_wrong_md5_is_not_unpacked(archived, server, tmp_path):
    archived("zoo.zip", zipped({"1.png": BODY}), md5=True)
    server.files["/zoo.zip"] = zipped({"1.png": OTHER})
    assert "does not have the checksum md5:" in refusal("Zoo", tmp_path)
    assert list(contents(tmp_path / "Zoo")) == [downloads.INCOMPLETE]


def test_low_resolution_copies_and_hidden_files_stay_out(archived, tmp_path):
    files = {
        "Flickr2K/Flickr2K_HR/1.png": BODY,
        "Flickr2K/Flickr2K_LR_bicubic/X2/1x2.png": OTHER,
        "Flickr2K/Flickr2K_HR/._1.png": OTHER,
    }
    archived("zoo.tar", tarred(files))
    get("Zoo", tmp_path)
    assert set(contents(tmp_path / "Zoo")) == {"1.png", "zoo.tar.json"}


def test_an_archive_without_checksum_must_stay_what_it_was_at_first(archived, server, tmp_path):
    first = tarred({"1.png": BODY})
    archived("zoo.tar", first)
    get("Zoo", tmp_path)
    (tmp_path / "Zoo" / "1.png").unlink()
    server.files["/zoo.tar"] = tarred({"1.png": OTHER})
    assert hashlib.sha256(first).hexdigest() in refusal("Zoo", tmp_path)
    assert not (tmp_path / "Zoo" / "1.png").exists()


@pytest.mark.parametrize("evil", ["../../evil.png", "/evil.png", "..\\evil.png", "C:\\evil.png"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_that_points_outside_is_refused(archived, tmp_path, pack, evil):
    name = "zoo.zip" if pack is zipped else "zoo.tar"
    archived(name, pack({"1.png": BODY, evil: OTHER}))
    message = refusal("Zoo", tmp_path)
    assert f"{name} holds {evil!r}, which points outside its folder" in message
    assert list(contents(tmp_path / "Zoo")) == [downloads.INCOMPLETE]
    assert not list(tmp_path.rglob("*evil*"))


def test_an_archive_with_a_link_is_refused(archived, tmp_path):
    archived("zoo.tar", tarred({"1.png": BODY}, link="/etc/hostname"))
    assert "holds 'link.png', which is no file" in refusal("Zoo", tmp_path)
    assert list(contents(tmp_path / "Zoo")) == [downloads.INCOMPLETE]


def test_an_archive_with_one_name_twice_is_refused(archived, tmp_path):
    archived("zoo.zip", zipped({"a/1.png": BODY, "b/1.png": OTHER}))
    assert "holds two files named 1.png" in refusal("Zoo", tmp_path)
    assert list(contents(tmp_path / "Zoo")) == [downloads.INCOMPLETE]


@pytest.mark.parametrize("name", ["zoo.zip", "zoo.tar"])
def test_an_archive_that_is_none_is_refused_and_removed(archived, tmp_path, name):
    archived(name, BODY)
    assert "is not a whole zip or tar archive" in refusal("Zoo", tmp_path)
    assert list(contents(tmp_path / "Zoo")) == [downloads.INCOMPLETE]


def test_downloads_go_to_dasr_data_if_it_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("DASR_DATA", str(tmp_path / "not" / "there" / "yet"))
    assert downloads.default_folder() == tmp_path / "not" / "there" / "yet"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert downloads.default_folder() == downloads.cache_folder()
    monkeypatch.delenv("DASR_DATA")
    assert downloads.default_folder() == downloads.cache_folder()


def test_the_default_folder_is_used(pets, tmp_path, monkeypatch):
    monkeypatch.setenv("DASR_DATA", str(tmp_path))
    downloads.get("Pets", progress=False)
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
