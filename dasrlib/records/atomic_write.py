"""Files written whole or not at all, and the check before the work that makes them."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def check_writable(
    path: str | Path, overwrite: bool = False, inputs: Iterable[str | Path] = ()
) -> Path:
    """The path with `~` expanded; refuses one that cannot or must not be written to.

    Call it before the work. An existing file is refused unless `overwrite` is asked for, and one of
    the `inputs` always, also through another path to the same file.
    """
    path = Path(path).expanduser()
    if os.path.exists(path):  # unlike path.exists(), False for a name that is too long
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder: name a file in it, as {path / 'FILE'}")
        if not path.is_file():
            raise OSError(f"{path} is not an ordinary file: name another file")
        read = (Path(name).expanduser() for name in inputs)
        if any(file.exists() and path.samefile(file) for file in read):
            raise ValueError(
                f"{path} is an input, and an input is never written to: name another file"
            )
    if os.path.lexists(path) and not overwrite:  # also a broken link
        raise FileExistsError(
            f"{path} exists already: name another file, or replace it with --overwrite"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {path.parent}: create it, or name another file"
        )
    _try_writing(path)
    return path


def check_folder(folder: Path) -> None:
    """Refuses a folder that files cannot be written into; it need not exist, but its place must.

    Call it before the work.
    """
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{place} is not a folder: name another folder")
    _try_writing(place / folder.name)


def _try_writing(path: Path) -> None:
    """Permissions are not enough to know: the name may be too long, or the folder special."""
    try:
        _temporary_beside(path).unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise type(error)(f"cannot write {path} ({reason}): name another file") from error


def _temporary_beside(path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    return Path(name)


def remove_leftovers(path: Path) -> None:
    """Removes what killed writes of `path` left beside it; no other process may be writing it."""
    made_by_mkstemp = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{path.suffix}")
    for file in path.parent.glob(f".{path.name}.*"):
        if made_by_mkstemp.fullmatch(file.name):
            file.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to; it replaces `path` if there was no error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_beside(path)
    try:
        yield temporary
        with temporary.open("rb") as file:  # on the disk before the name is: a machine may stop
            os.fsync(file.fileno())
        # mkstemp makes private files; give this one the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
