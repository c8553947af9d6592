"""Which pictures a command reads and which files it writes, settled before the work begins."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dasrlib.data.picture_reading import EXTENSIONS, Header, read_header
from dasrlib.data.picture_writing import FORMATS, check_format
from dasrlib.records.atomic_write import check_folder, check_writable

# The size that a picture becomes; raises ValueError for one that the command cannot take.
Resized = Callable[[Header], Header]
NamesIn = Callable[[Path], Counter[str]]


@dataclass(frozen=True)
class Outputs:
    """What the options say of the new files.

    A file stands beside its picture, as photo-x4.png for photo.jpg. Where another picture of that
    name is beside it (photo.jpg and photo.png), the name keeps the extension: photo.jpg-x4.png.

    Args:
        out: a file for a single picture; or a folder, in which the folders of a named folder are
            made again; None for beside the picture.
        suffix: between name and extension; None for `default`.
        default: the command's own suffix.
        kind: the format, one that `--format` takes; None for that of a file `out`, else PNG.
        overwrite: whether files that exist are made again.
    """

    out: Path | None
    suffix: str | None
    default: str
    kind: str | None
    overwrite: bool

    @property
    def chosen_suffix(self) -> str:
        return self.default if self.suffix is None else self.suffix


class Job(NamedTuple):
    """A picture to read, and the file to write."""

    source: Path
    target: Path


@dataclass
class Plan:
    """The work of a command, and what was found out about the rest before it."""

    jobs: list[Job] = field(default_factory=list)
    refused: list[Exception] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    pictures: int = 0  # also those that are refused, or done already


class _Given(NamedTuple):
    """A picture to work on, by the name or the folder that it was given by."""

    path: Path
    folder: Path  # between the named folder and the picture; "." for a picture that was named
    named: bool  # by its own name, not found in a folder or by a pattern of ours


def plan(names: Sequence[Path], outputs: Outputs, resized: Resized) -> Plan:
    """Everything that can be known before the work, for pictures, folders and patterns.

    An input is never written to. A file that exists is left alone unless asked for otherwise. A
    picture that is the output for another one is left out, so that the same command can be given
    again.

    Raises:
        ValueError: the options do not go together.
        OSError: nothing can be written into the folder.
    """
    found = Plan()
    names, outputs = _take_second_as_output(names, outputs, found.remarks)
    given = _unique(_expand(names, outputs.out, found.refused))
    found.pictures = len(found.refused)
    if not given:
        return found
    one_file = outputs.out if _is_one_file(names, given, outputs) else None
    if outputs.out is not None and not one_file:
        check_folder(outputs.out)
    names_in = cache(_names_in)
    targets = [one_file or _target(item, outputs, names_in) for item in given]
    makers: dict[str, list[Path]] = {}  # of a file, the pictures that would become it
    for item, target in zip(given, targets, strict=True):
        makers.setdefault(_key(target), []).append(item.path)
    # Without a suffix, an output cannot be told from a picture.
    told = bool(outputs.chosen_suffix) and not one_file
    is_output = {item.path: told and _key(item.path) in makers for item in given}
    never = {_identity(item.path) for item in given
             if not is_output[item.path] or (item.named and outputs.overwrite)}  # fmt: skip
    for item, target in zip(given, targets, strict=True):
        job = Job(item.path, target)
        if not item.named and _is_older_output(item.path, outputs, names_in):
            continue
        if is_output[item.path]:
            maker = makers[_key(item.path)][0]
            found.remarks.append(f"{item.path} is the output for {maker}: left out")
            continue
        found.pictures += 1
        try:
            if len(makers[_key(target)]) > 1:
                raise ValueError(
                    f"{item.path} and another picture would both become {target}: give them to two "
                    "commands, each with a folder of its own (-o)"
                )
            if os.path.lexists(target):
                if _identity(target) in never:
                    raise ValueError(
                        f"{target} is an input, and an input is never written to: name another file"
                    )
                if not outputs.overwrite and not one_file and not target.is_dir():
                    found.remarks.append(f"{target} exists already, --overwrite makes it again")
                    continue
            check_format(target, *resized(read_header(item.path)))
            if not one_file:
                check_folder(target.parent)
            if one_file or target.parent.is_dir():
                check_writable(target, outputs.overwrite)
        except (ValueError, OSError) as error:
            found.refused.append(with_name(job, error))
        else:
            found.jobs.append(job)
    return found


def with_name(job: Job, error: Exception) -> Exception:
    """The error, with the picture's name before its sentence where it names neither file."""
    said = str(error)
    named = job.source.name in said or job.target.name in said
    return error if named else ValueError(f"{job.source}: {said}")


def _take_second_as_output(
    names: Sequence[Path], outputs: Outputs, remarks: list[str]
) -> tuple[Sequence[Path], Outputs]:
    """`dasr upscale photo.jpg new.png`: a second name that is no file can only be the output."""
    new = names[1] if len(names) == 2 and outputs.out is None else None
    if new is None or not new.suffix or os.path.lexists(new) or _is_pattern(new):
        return names, outputs
    remarks.append(f"{new} is taken for the output, as -o {new}")
    return names[:1], replace(outputs, out=new)


def _is_pattern(name: Path) -> bool:
    return glob.has_magic(str(name)) and not os.path.lexists(name)


def _expand(names: Sequence[Path], out: Path | None, refused: list[Exception]) -> Iterator[_Given]:
    """The pictures behind the names; a missing file is among them, and refused when it is read."""
    for name in names:
        if name.is_dir():
            inside = [_Given(path, path.parent.relative_to(name), False)
                      for path in _pictures_in(name, out)]  # fmt: skip
            kinds = ", ".join(EXTENSIONS)
            nothing = f"no pictures in {name}: expected files ending in {kinds}"
        elif _is_pattern(name):  # no shell of Windows does it
            matches = sorted(map(Path, glob.glob(str(name), recursive=True)))
            inside = [_Given(path, Path(), False) for path in matches if path.is_file()]
            nothing = f"no file matches {name}"
        else:
            inside, nothing = [_Given(name, Path(), True)], ""
        if not inside:
            refused.append(FileNotFoundError(nothing))
        yield from inside


def _pictures_in(folder: Path, out: Path | None) -> Iterator[Path]:
    """The pictures of a folder and the folders in it, sorted; not what is hidden, and not `out`."""
    skipped = out.resolve() if out is not None else None
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (Path(place) / name).resolve() != skipped
        )
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(EXTENSIONS):
                yield Path(place) / name


def _unique(given: Iterator[_Given]) -> list[_Given]:
    """Each file once, by whichever name it came first."""
    first: dict[object, _Given] = {}
    for item in given:
        first.setdefault(_identity(item.path), item)
    return list(first.values())


def _is_one_file(names: Sequence[Path], given: Sequence[_Given], outputs: Outputs) -> bool:
    """Whether `out` is the name of a file and not of a folder; refuses options that contradict."""
    out = outputs.out
    if out is None or out.is_dir() or not out.suffix:
        return False
    if len(given) != 1 or any(name.is_dir() for name in names):
        if out.suffix.lower() not in FORMATS:
            return False
        raise ValueError(
            f"-o {out} is the name of one file, and there are {len(given)} pictures: name a folder"
            if len(given) != 1
            else f"-o {out} is the name of a file, and the pictures are a folder: name a folder"
        )
    if outputs.suffix is not None:
        raise ValueError(f"--suffix and -o {out} both name the file: leave one of them out")
    wanted = _extension(given[0].path, outputs.kind) if outputs.kind else out.suffix
    if FORMATS.get(wanted.lower()) != FORMATS.get(out.suffix.lower()):
        raise ValueError(
            f"--format {outputs.kind} and -o {out} are different formats: leave one of them out"
        )
    return True


def _is_older_output(source: Path, outputs: Outputs, names_in: NamesIn) -> bool:
    """Whether the picture that this one was made from, by its name, is beside it."""
    stem, suffix = source.stem, outputs.chosen_suffix
    if not suffix or not stem.endswith(suffix):
        return False
    original = stem.removesuffix(suffix)
    beside = source.with_name(original) if original else source.parent
    return names_in(source.parent)[original.casefold()] > 0 or beside.is_file()


def _target(given: _Given, outputs: Outputs, names_in: NamesIn) -> Path:
    source = given.path
    suffix = outputs.chosen_suffix
    if Path(f"a{suffix}").name != f"a{suffix}" or "\\" in suffix:
        raise ValueError(f"--suffix is a part of a file's name, got {suffix!r}: name folders by -o")
    folder = source.parent if outputs.out is None else outputs.out / given.folder
    if not suffix and _key(folder) == _key(source.parent):
        raise ValueError("without a --suffix the files need a folder of their own: name it by -o")
    has_twin = names_in(source.parent)[source.stem.casefold()] > 1
    name = source.name if has_twin else source.stem
    return folder / f"{name}{suffix}{_extension(source, outputs.kind)}"


def _extension(source: Path, kind: str | None) -> str:
    return source.suffix if kind == "same" else f".{kind or 'png'}"


def _names_in(folder: Path) -> Counter[str]:
    """How many pictures of a folder have each name without extension, in small letters."""
    files = os.listdir(folder) if folder.is_dir() else []
    pictures = (name for name in files if name.lower().endswith(EXTENSIONS))
    return Counter(Path(name).stem.casefold() for name in pictures)


def _key(path: Path) -> str:
    """Equal for two names of one place, also where small and capital letters are the same."""
    return os.path.abspath(path).casefold()


def _identity(path: Path) -> object:
    """Equal for two names of one file, also through links."""
    try:
        found = path.stat()
    except OSError:  # there is none
        return _key(path)
    return found.st_dev, found.st_ino
