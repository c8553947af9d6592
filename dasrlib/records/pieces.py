"""A folder cut into pieces small enough to be carried to another machine, and put together there.

The pieces are one tar, cut: NAME.part-000, NAME.part-001, … with NAME.json, the sizes and the
SHA-256 of all. The tar is not compressed: to gzip, trained float32 numbers are mostly noise.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from dasrlib.records.atomic_write import atomic_write

# What atomic_write and unpack leave behind if the power goes, by name.
_TEMPORARY = re.compile(r"\.(?:.+(\.[^.]+)|[^.]+)\.[a-z0-9_]{8}(?(1)\1)|\..+\.unpacking", re.DOTALL)


def pack(folder: str | Path, out: str | Path, size: int = 16_000_000) -> list[Path]:
    """All files below `folder` as pieces of at most `size` bytes in `out`, and their manifest.

    Named for the folder; an earlier pack of that name is replaced. Returns the pieces' paths and,
    last, the manifest's. The same files give the same pieces. Raises ValueError for a folder
    without files or with links, and for an `out` inside it.
    """
    folder, out = Path(folder), Path(out)
    if size < 1:
        raise ValueError(f"the size of a piece must be at least 1 byte, got {size}")
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: give the folder of a run, or of several")
    if out.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{out} lies in {folder}, which is to be packed: choose a folder outside")
    name = folder.resolve().name
    manifest = out / f"{name}.json"
    if manifest.exists():
        _read(manifest)  # refused where it is something else, which must not be lost
    out.mkdir(parents=True, exist_ok=True)
    pieces: list[dict[str, Any]] = []
    with TemporaryFile(dir=out) as tar:
        _write_tar(folder, tar)
        # The folder could be read to its end. From here to the last line there is no manifest, so
        # that a pack that is cut is none.
        manifest.unlink(missing_ok=True)
        for path in out.iterdir():
            stem, _, number = path.name.rpartition(".part-")
            if stem == name and number.isdecimal():
                path.unlink()
        tar.seek(0)
        while data := tar.read(size):
            piece = f"{name}.part-{len(pieces):03}"
            with atomic_write(out / piece) as temporary:
                temporary.write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            pieces.append({"name": piece, "size": len(data), "sha256": sha256})
    with atomic_write(manifest) as temporary:
        temporary.write_text(json.dumps({"pieces": pieces}, indent=1) + "\n")
    return [*(out / piece["name"] for piece in pieces), manifest]


def _write_tar(folder: Path, out: IO[bytes]) -> None:
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")):
            path = folder / name
            passing = any(_TEMPORARY.fullmatch(part) for part in name.split("/"))
            if passing or (path.is_dir() and not path.is_symlink()):
                continue
            if path.is_symlink() or not path.is_file():
                raise ValueError(f"{path} is a link or a device: put a plain file in its place")
            # A fresh TarInfo has no owner and no date. The size is that of the file now open: a
            # run that goes on meanwhile replaces its checkpoint and lengthens its log.
            with path.open("rb") as file:
                member = tarfile.TarInfo(name)
                member.size = os.fstat(file.fileno()).st_size
                tar.addfile(member, file)
        if not tar.getmembers():
            raise ValueError(f"{folder} holds no files: give the folder of a run, or of several")


def _read(manifest: Path) -> list[tuple[Path, int, str]]:
    """The path, the bytes and the SHA-256 of every piece."""
    if not manifest.is_file():
        raise FileNotFoundError(f"there is no manifest {manifest}: bring it over, or pack again")
    try:
        pieces = json.loads(manifest.read_text())["pieces"]
        found = [(manifest.with_name(p["name"]), p["size"], p["sha256"]) for p in pieces]
    except (ValueError, TypeError, KeyError):
        found = []
    if not found:
        raise ValueError(f"{manifest} is no manifest of pieces: give the .json that pack wrote")
    return found


def unpack(manifest: str | Path, folder: str | Path) -> list[Path]:
    """The packed files below `folder`, all or none; the pieces lie beside the manifest.

    Returns the files' paths. Raises FileNotFoundError or ValueError, and writes nothing, where a
    piece is missing or damaged or a name points out of the folder; FileExistsError where the
    folder is not empty.
    """
    manifest, folder = Path(manifest), Path(folder).resolve()
    pieces = _read(manifest)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} is no empty folder: choose another one, or remove it")
    for path, size, sha256 in pieces:
        _check(path, size, sha256)
    staging = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        with TemporaryFile(dir=folder.parent) as tar:
            for path, _, _ in pieces:
                tar.write(path.read_bytes())
            tar.seek(0)
            _extract(tar, staging)
        if folder.exists():  # and empty: not every system renames onto a folder
            folder.rmdir()
        staging.replace(folder)
    except tarfile.TarError as error:
        raise ValueError(f"{manifest}: {error}; nothing was unpacked, pack again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _check(path: Path, size: int, sha256: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: bring this piece over")
    if (found := path.stat().st_size) != size:
        raise ValueError(f"{path} has {found} bytes, not {size}: bring this piece over again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{path} is damaged, by its SHA-256: bring this piece over again")


def _extract(tar: IO[bytes], folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("this Python cannot unpack safely: install its latest patch release")
    with tarfile.open(fileobj=tar, mode="r:") as opened:
        for member in opened:
            if not member.isreg():
                raise tarfile.ExtractError(f"{member.name!r} is no plain file")
            # Without attributes: the files get the rights and the date of any new file.
            opened.extract(member, folder, set_attrs=False, filter="data")
