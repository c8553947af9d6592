"""Downloads of datasets: a file without the checksum of `registry.json` is refused (§4.1).

pooch fetches and checks each file. No checksum of Flickr2K is published: its SHA-256 is recorded on
the first download and expected afterwards.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import pooch
import requests
from tqdm.auto import tqdm

from dasrlib.errors import unknown_name_message
from dasrlib.records.atomic_write import atomic_write

RETRIES = 2  # of each file, within one call
TIMEOUT = (10, 60)  # seconds: to connect, between two chunks
CHUNK = 1 << 16  # bytes
INCOMPLETE = ".incomplete"  # a file in a dataset's folder while something is missing there

pooch.get_logger().setLevel("WARNING")  # one progress bar instead of a line for each of 400 files


class DownloadError(RuntimeError):
    """A dataset could not be downloaded: the message says why and what to do."""


@functools.cache
def registry() -> dict[str, dict[str, Any]]:
    """`registry.json`: name -> `homepage`, `use`, and `files` or `archives` (§4.1).

    Those are name -> `url` and `sha256` of a file; `url` and, if one is published, `md5` of an
    archive.
    """
    text = resources.files("dasrlib.data").joinpath("registry.json").read_text(encoding="utf-8")
    return json.loads(text)


def default_folder() -> Path:
    """Where downloads go: `DASR_DATA` if it is set and writable, else pooch's cache for dasrlib."""
    folder = Path(os.environ.get("DASR_DATA") or cache_folder()).expanduser().absolute()
    return cache_folder() if folder.exists() and not os.access(folder, os.W_OK) else folder


def cache_folder() -> Path:
    """The folder that pooch keeps for dasrlib; it need not exist yet."""
    return Path(pooch.os_cache("dasrlib"))


def get(name: str, folder: str | Path | None = None) -> Path:
    """Download what is missing of a dataset into `<folder>/<name>/`, and return that folder (§4.1).

    Files that exist are checked too. Until all are there, the dataset counts as missing. An archive
    is deleted after its HR pictures are unpacked.

    Raises:
        DownloadError: the name is unknown, a file cannot be fetched or has the wrong checksum, an
            archive cannot be unpacked, or the folder cannot be written to.
    """
    if name not in registry():
        raise DownloadError(unknown_name_message("dataset", name, registry()))
    target = Path(default_folder() if folder is None else folder).expanduser().absolute() / name
    files, archives = (registry()[name].get(kind, {}) for kind in ("files", "archives"))
    with writing(name, target):
        target.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if not _matches(target / file, files[file]["sha256"])]
        packed = [archive for archive in archives if not _is_unpacked(target / archive)]
        if missing or packed:
            (target / INCOMPLETE).touch()
        downloader = pooch.HTTPDownloader(timeout=TIMEOUT)
        for file in tqdm(missing, desc=name, unit="file", disable=not missing):
            _fetch(files[file]["url"], target / file, files[file]["sha256"], downloader)
        for archive in packed:
            _fetch_archive(archives[archive]["url"], target / archive, archives[archive].get("md5"))
        (target / INCOMPLETE).unlink(missing_ok=True)
    return target


@contextlib.contextmanager
def writing(name: str, target: Path) -> Iterator[None]:
    """Turns an error of the disk into a DownloadError that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DownloadError(
            f"cannot write {name} to {target} ({reason}): free space there or name another folder, "
            "and run the download again"
        ) from error


def fetch_large(url: str, path: Path, known_hash: str | None = None) -> None:
    """Downloads one large file, with a bar; what arrived before a break is kept for the next call.

    known_hash: a SHA-256 or "md5:…"; None where the caller checks the file.
    """
    partial = path.with_name(f"{path.name}.part")
    _fetch(url, path, known_hash, functools.partial(_resume, partial))


def _matches(path: Path, known_hash: str) -> bool:
    return path.is_file() and pooch.file_hash(str(path)) == known_hash


def _fetch(url: str, path: Path, known_hash: str | None, downloader: Any) -> None:
    """Download one file; known_hash is a SHA-256 or "md5:…"."""
    known, urls = {path.name: known_hash}, {path.name: url}
    fetcher = pooch.create(path.parent, "", registry=known, urls=urls, retry_if_failed=RETRIES)
    try:
        fetcher.fetch(path.name, downloader=downloader)
    except requests.RequestException as error:
        status = error.response.status_code if error.response is not None else None
        reason = f"status {status}" if status else type(error).__name__
        raise DownloadError(
            f"{url} cannot be downloaded ({reason}): check the network connection and run the "
            "download again"
        ) from error
    except ValueError as error:  # pooch's error for a wrong checksum; it has removed the file
        raise DownloadError(
            f"{url} does not have the expected checksum {known_hash}: the file was removed, run "
            "the download again"
        ) from error


def _resume(partial: Path, url: str, output_file: str, pooch: Any) -> None:
    """A downloader for pooch that keeps what arrived in `partial` and asks only for the rest."""
    have = partial.stat().st_size if partial.exists() else 0
    # Positions in the file itself, not in a compressed transfer.
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code != 416:  # 416: nothing is missing, the checksum decides
            response.raise_for_status()
            have = have if response.status_code == 206 else 0  # else the whole file is sent
            total = have + int(response.headers["Content-Length"])
            bar = tqdm(total=total, initial=have, unit="B", unit_scale=True)
            with open(partial, "ab" if have else "wb") as out, bar:
                for chunk in response.iter_content(CHUNK):
                    bar.update(out.write(chunk))
            if partial.stat().st_size != total:
                raise requests.ConnectionError("fewer bytes than announced")
    os.replace(partial, output_file)


def _record(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.json")


def _recorded(archive: Path) -> dict[str, Any]:
    """The SHA-256 of an unpacked archive and of every picture from it."""
    if not _record(archive).exists():
        return {"sha256": None, "files": {}}
    return json.loads(_record(archive).read_text(encoding="utf-8"))


def _is_unpacked(archive: Path) -> bool:
    files = _recorded(archive)["files"]
    return bool(files) and all(_matches(archive.with_name(name), files[name]) for name in files)


def _fetch_archive(url: str, archive: Path, md5: str | None) -> None:
    # What was recorded on the first download is stronger than an md5.
    known_hash = _recorded(archive)["sha256"] or (f"md5:{md5}" if md5 else None)
    fetch_large(url, archive, known_hash)
    sha256 = pooch.file_hash(str(archive))
    try:
        files = _unpack(archive)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        archive.unlink()
        raise DownloadError(
            f"{url} cannot be unpacked: expected a whole archive of HR pictures, no two of one "
            "name; it was removed, run the download again"
        ) from error
    with atomic_write(_record(archive)) as temporary:
        temporary.write_text(json.dumps({"sha256": sha256, "files": files}, indent=1))
    archive.unlink()


def _unpack(archive: Path) -> dict[str, str]:
    """Put the HR pictures of an archive beside it, without its folders; returns their SHA-256."""

    def is_hr(name: str) -> bool:
        # Flickr2K's archive also holds LR versions, and files that macOS adds ("._000001.png").
        picture = PurePosixPath(name)
        return "_LR" not in name and picture.suffix == ".png" and picture.name[0] != "."

    with TemporaryDirectory(prefix=".unpacking-", dir=archive.parent) as staging:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(staging, [name for name in zipped.namelist() if is_hr(name)])
        else:
            with tarfile.open(archive) as tar:
                members = [member for member in tar if member.isfile() and is_hr(member.name)]
                tar.extractall(staging, members, filter="data")
        pictures = sorted(Path(staging).rglob("*.png"))
        files = {path.name: pooch.file_hash(str(path)) for path in pictures}
        if not 0 < len(files) == len(pictures):
            raise tarfile.TarError
        for path in pictures:
            os.replace(path, archive.with_name(path.name))
    return files
