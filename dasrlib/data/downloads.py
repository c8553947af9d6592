"""Verified downloads: a file of a dataset is whole and has its checksum, or it is not there.

`registry.json` lists every file with its address and SHA-256. Two sets at the paper's scale come
as archives: DIV2K with a published MD5, Flickr2K with none, so its SHA-256 is recorded beside it on
the first download and demanded afterwards. An interrupted download is continued where it broke off.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pooch
import requests
from tqdm.auto import tqdm

from dasrlib.errors import unknown_name_message

ATTEMPTS = 3
PAUSE = 1.0  # seconds before the second attempt, twice as many before the third
TIMEOUT = (10, 60)  # seconds: to connect, between two chunks
CHUNK = 1 << 16  # bytes
INCOMPLETE = ".incomplete"  # lies in a dataset's folder while something is missing there

pooch.get_logger().setLevel("WARNING")  # one bar says more than a line for each of 400 files


class DownloadError(RuntimeError):
    """A dataset could not be fetched whole: the message says what was wrong and what to do."""


@functools.cache
def registry() -> dict[str, dict[str, Any]]:
    """The datasets that can be downloaded, by name, as `registry.json` describes them.

    Each has `homepage`, `use`, and either `files` (name to `url` and `sha256`) or `archives` (name
    to `url` and, where one is published, `md5`). Section 4.1.
    """
    text = resources.files("dasrlib.data").joinpath("registry.json").read_text(encoding="utf-8")
    return json.loads(text)


def default_folder() -> Path:
    """Where downloads go: `DASR_DATA` if it is set and writable, else pooch's cache for dasrlib."""
    chosen = os.environ.get("DASR_DATA")
    if chosen:
        folder = Path(chosen).expanduser().absolute()
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if existing.is_dir() and os.access(existing, os.W_OK):
            return folder
    return cache_folder()


def cache_folder() -> Path:
    """The folder that pooch keeps for dasrlib, whether or not it is there yet."""
    return Path(pooch.os_cache("dasrlib"))


def get(
    name: str,
    folder: str | Path | None = None,
    base_url: str | None = None,
    progress: bool = True,
) -> Path:
    """Fetch what is missing of a dataset into `<folder>/<name>/` and return that folder.

    Every file is checked, those that were already there too: one with the wrong checksum is
    removed and fetched again, so that a second call costs reading and no network. Archives are
    unpacked, without the low-resolution copies some hold, and then deleted; what came out is
    verified from then on, and fetching it again means fetching the archive. `folder` defaults to
    `default_folder()`. `base_url` names a mirror laid out like the folder:
    `<base_url>/<name>/<file>`.

    Raises DownloadError for an unknown name, a server that is not there, a file that breaks off
    (it is continued by the next call), a wrong checksum, an unsafe archive, a folder that cannot be
    written. Section 4.1.
    """
    if name not in registry():
        raise DownloadError(unknown_name_message("dataset", name, registry()))
    dataset = registry()[name]
    target = Path(default_folder() if folder is None else folder).expanduser().absolute() / name
    try:
        target.mkdir(parents=True, exist_ok=True)
        files = {
            file: entry
            for file, entry in dataset.get("files", {}).items()
            if not _matches(target / file, entry["sha256"])
        }
        archives = {
            file: entry
            for file, entry in dataset.get("archives", {}).items()
            if not _is_unpacked(target / file)
        }
        marker = target / INCOMPLETE
        if files or archives:
            marker.touch()
        with requests.Session() as session:
            quiet = not (progress and files)
            for file, entry in tqdm(files.items(), desc=name, unit="file", disable=quiet):
                url = _address(entry["url"], base_url, name, file)
                _fetch(url, target / file, entry["sha256"], session, progress=False)
            for file, entry in archives.items():
                url = _address(entry["url"], base_url, name, file)
                _fetch_archive(url, target / file, entry.get("md5"), session, progress)
        marker.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DownloadError(
            f"cannot keep {name} in {target} ({reason}): expected a folder that can be written and "
            "has room; choose another or free space, and run the download again"
        ) from error
    return target


class ResumingDownloader:
    """A downloader for pooch that keeps what has arrived and asks only for the rest.

    The bytes gather in `partial`, which survives an interruption; the next call sends an HTTP Range
    request for what is missing, and starts anew where the server answers without ranges. Raises
    DownloadError after a few attempts. pooch itself keeps nothing of a broken download.
    """

    def __init__(self, partial: Path, session: requests.Session, progress: bool = False):
        self.partial = partial
        self.session = session
        self.progress = progress

    def __call__(
        self, url: str, output_file: Any, pooch: Any, *, check_only: bool | None = False
    ) -> None:
        """Fetch `url` whole and move it to the path `output_file`."""
        reason = ""
        for attempt in range(ATTEMPTS):
            time.sleep(attempt * PAUSE)
            try:
                self._receive(url)
                os.replace(self.partial, output_file)
                return
            except requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                reason = f"status {status}"
                if status < 500:  # asking again would not help
                    break
            except (requests.ConnectionError, requests.Timeout) as error:
                reason = type(error).__name__
            except requests.exceptions.ChunkedEncodingError:
                reason = "the connection was closed"
            except (requests.RequestException, ValueError) as error:
                raise DownloadError(
                    f"{url} is no address to download from ({type(error).__name__}): expected "
                    "http:// or https://; correct the base_url"
                ) from error
        if self._size():
            raise DownloadError(
                f"{url} broke off after {self._size()} bytes ({reason}), expected the whole file: "
                "run the same download again, it continues from there"
            )
        raise DownloadError(
            f"{url} cannot be fetched ({reason}), expected a server that has the file: check the "
            "address and the network connection, and run the download again"
        )

    def _size(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _receive(self, url: str) -> None:
        have = self._size()
        headers = {"Accept-Encoding": "identity"}  # positions must be those of the file itself
        if have:
            headers["Range"] = f"bytes={have}-"
        with self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # nothing after `have`: all is here, or another file
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    return
                self.partial.unlink()
                raise requests.ConnectionError("what was kept is not the beginning of this file")
            response.raise_for_status()
            if response.status_code != 206:  # the server sends everything, whatever was asked
                have = 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else None
            # A body that ends early would be refused with its last chunk; here the chunk is kept,
            # and the length is looked at below.
            response.raw.enforce_content_length = False
            with (
                open(self.partial, "ab" if have else "wb") as out,
                tqdm(
                    desc=self.partial.name.strip(".").removesuffix(".part"),
                    total=total,
                    initial=have,
                    unit="B",
                    unit_scale=True,
                    disable=not self.progress,
                ) as bar,
            ):
                for chunk in response.iter_content(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self._size() != total:
            raise requests.exceptions.ChunkedEncodingError("fewer bytes than announced")


def _address(url: str, base_url: str | None, name: str, file: str) -> str:
    return url if base_url is None else f"{base_url.rstrip('/')}/{name}/{file}"


def _matches(path: Path, known_hash: str) -> bool:
    """Whether the file is there with this hash: a bare SHA-256, or `algorithm:digest`."""
    algorithm, _, digest = known_hash.rpartition(":")
    return path.is_file() and pooch.file_hash(str(path), alg=algorithm or "sha256") == digest


def _fetch(
    url: str, path: Path, known_hash: str | None, session: requests.Session, progress: bool
) -> None:
    if known_hash is not None and not _matches(path, known_hash):
        path.unlink(missing_ok=True)  # under its name lies the right file or none
    downloader = ResumingDownloader(path.with_name(f".{path.name}.part"), session, progress)
    try:
        pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)
    except ValueError as error:  # pooch's word for a wrong hash; it has removed the file
        raise DownloadError(
            f"{url} does not have the checksum {known_hash} that was expected: the file was "
            "removed; run the download again, or give a base_url that has the right one"
        ) from error


def _record(archive: Path) -> Path:
    """Beside where the archive was: its SHA-256 and that of every file that came out of it."""
    return archive.with_name(f"{archive.name}.json")


def _is_unpacked(archive: Path) -> bool:
    if not _record(archive).exists():
        return False
    files = json.loads(_record(archive).read_text(encoding="utf-8"))["files"]
    return all(_matches(archive.with_name(name), sha256) for name, sha256 in files.items())


def _fetch_archive(
    url: str, archive: Path, md5: str | None, session: requests.Session, progress: bool
) -> None:
    record = _record(archive)
    known_hash = f"md5:{md5}" if md5 else None
    if record.exists():  # from the first download, and stronger than an md5
        known_hash = json.loads(record.read_text(encoding="utf-8"))["sha256"]
    _fetch(url, archive, known_hash, session, progress)
    sha256 = pooch.file_hash(str(archive))
    try:
        files = _unpack(archive, progress)
    except DownloadError:
        archive.unlink()
        raise
    draft = record.with_name(f".{record.name}.part")
    draft.write_text(json.dumps({"sha256": sha256, "files": files}, indent=1), encoding="utf-8")
    os.replace(draft, record)
    archive.unlink()


def _unpack(archive: Path, progress: bool) -> dict[str, str]:
    """Put the archive's files beside it, all or none; returns their SHA-256 by name."""
    staging = archive.with_name(f".{archive.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    members = _zip_members(archive) if archive.suffix == ".zip" else _tar_members(archive)
    try:
        for member, content in tqdm(members, desc="unpacking", unit="file", disable=not progress):
            name = _flat_name(member, archive)
            if name is None:
                continue
            if (staging / name).exists():
                raise DownloadError(f"{archive.name} holds two files named {name}, expected one")
            with open(staging / name, "wb") as out:
                shutil.copyfileobj(content, out)
        names = sorted(path.name for path in staging.iterdir())
        if not names:
            raise DownloadError(f"{archive.name} holds no pictures: it is not the one expected")
        files = {name: pooch.file_hash(str(staging / name)) for name in names}
        for name in names:
            os.replace(staging / name, archive.with_name(name))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        raise DownloadError(
            f"{archive.name} is not a whole zip or tar archive: it was removed, run the download "
            "again"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return files


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if not entry.is_dir():
                with opened.open(entry) as content:
                    yield entry.filename, content


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as opened:
        for entry in opened:
            content = None if entry.islnk() or entry.issym() else opened.extractfile(entry)
            if content is not None:
                yield entry.name, content
            elif not entry.isdir():
                raise DownloadError(
                    f"{archive.name} holds {entry.name!r}, which is no file: expected an archive "
                    "of pictures; nothing was unpacked"
                )


def _flat_name(member: str, archive: Path) -> str | None:
    """The name a member gets directly below the dataset's folder; None if it is to stay out."""
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member:
        raise DownloadError(
            f"{archive.name} holds {member!r}, which points outside its folder: expected an "
            "archive of pictures; nothing was unpacked"
        )
    # Flickr2K's archive also carries its bicubic and unknown low-resolution versions.
    is_low_resolution = any("_LR" in folder for folder in path.parts[:-1])
    return None if is_low_resolution or path.name.startswith(".") else path.name
