"""Datasets and folders of pictures, and the samples that every machine has (§4.1).

A dataset is a folder of its name, such as `Set14/`, in the folder that the environment variable
`DASR_DATA` names, or where `dasrlib.data.downloads` puts what it downloads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from dasrlib.data import downloads
from dasrlib.data.image_files import load_image, load_image_uint8
from dasrlib.data.picture_writing import FORMATS
from dasrlib.errors import unknown_name_message

Pictures = Sequence[tuple[str, Tensor]]  # (name, (3, H, W) RGB)

# The colour pictures inside these packages; scikit-image downloads its other ones.
SAMPLES = {
    "skimage/data": "astronaut.png chelsea.png coffee.png hubble_deep_field.jpg ihc.png "
    "motorcycle_left.png rocket.jpg",
    "sklearn/datasets/images": "china.jpg flower.jpg",
}

Item = TypeVar("Item")


def search_folders() -> list[Path]:
    """The folders searched for datasets, in order: `DASR_DATA` if set, then the download cache."""
    chosen = os.environ.get("DASR_DATA")
    return [*([Path(chosen).expanduser()] if chosen else []), downloads.cache_folder()]


def available() -> dict[str, Path | None]:
    """Every dataset by name, with its folder, or None if it is not on this machine as a whole."""
    found: dict[str, Path | None] = {"samples": _samples()[0].parent}
    return found | {name: _folder_of(name) for name in downloads.registry()}


def paths(name: str | Path) -> list[Path]:
    """The picture files that `images` reads, for datasets too large for memory, such as DIV2K."""
    if name == "samples":
        return _samples()
    if name in downloads.registry():
        folder = _folder_of(str(name))
        if folder is None:
            raise FileNotFoundError(
                f"{name} is not on this machine: run `dasr data get {name}`, or set DASR_DATA"
            )
    else:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            sentence = unknown_name_message("dataset", name, ["samples", *downloads.registry()])
            raise ValueError(f"{sentence}, or a path to a folder")
    found = _pictures(folder)
    if not found:
        raise FileNotFoundError(
            f"no pictures in {folder}: expected files ending in {', '.join(FORMATS)}"
        )
    return found


def images(name: str | Path, limit: int | None = None) -> list[tuple[str, Tensor]]:
    """The pictures of a dataset or a folder, sorted by file name (§4.1).

    Args:
        name: a dataset of `downloads.registry()`, a path to a folder (folders inside it are not
            searched), or "samples": nine photographs inside scikit-image and scikit-learn, which
            need no network.
        limit: how many to read, at least 1; by default all.

    Returns:
        For each picture its file's name without extension, and (3, H, W) float32 RGB in [0, 1].

    Raises:
        ValueError: the name is none of these, the limit is below 1, or files are no pictures.
        FileNotFoundError: the dataset is not on this machine, or the folder has no pictures.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, or None for all images, got {limit}")
    chosen = paths(name)[:limit]
    return _named(chosen, _read(chosen, [load_image] * len(chosen)))


def split(items: Sequence[Item], held_out: int = 20) -> tuple[list[Item], list[Item]]:
    """Divide a sequence into (train, held out) by position alone, the held-out items spread evenly.

    At most a quarter is held out, so that a small folder still has items to train on.
    """
    if held_out == 0:
        return list(items), []
    if len(items) < 2 or held_out < 0:
        raise ValueError(
            f"cannot hold out {held_out} of {len(items)} images: expected 0 or more, of at least 2"
        )
    count = min(held_out, max(1, len(items) // 4))
    step = len(items) // count
    chosen = set(range(step - 1, step * count, step))
    train = [item for index, item in enumerate(items) if index not in chosen]
    return train, [items[index] for index in sorted(chosen)]


def training_images(names: Sequence[str | Path], held_out: int) -> tuple[Pictures, Pictures]:
    """Datasets or folders as (train, held out); those to train on are uint8, a quarter of the
    memory. Only pictures of the first one are held out."""
    train: list[tuple[str, Tensor]] = []
    kept: list[tuple[str, Tensor]] = []
    for i, name in enumerate(names):
        more, out = split(paths(name), held_out if i == 0 else 0)
        readers = [load_image_uint8] * len(more) + [load_image] * len(out)
        pictures = _read([*more, *out], readers)
        train += _named(more, pictures[: len(more)])
        kept += _named(out, pictures[len(more) :])
    return train, kept


def _named(files: Sequence[Path], pictures: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
    return [(path.stem, picture) for path, picture in zip(files, pictures, strict=True)]


def _read(files: Sequence[Path], readers: Sequence[Callable[[Path], Tensor]]) -> list[Tensor]:
    """Each file by its reader; raises one ValueError that names all that are no pictures."""

    def attempt(reader: Callable[[Path], Tensor], path: Path) -> Tensor | ValueError:
        try:
            return reader(path)
        except ValueError as error:
            return error

    # Decoding a picture takes longer than reading it, and leaves other cores free.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(attempt, readers, files))
    refused = {p.name: f for p, f in zip(files, found, strict=True) if isinstance(f, ValueError)}
    if refused:
        first = next(iter(refused.values()))
        if len(refused) == 1:
            raise first
        raise ValueError(
            f"{len(refused)} files of {files[0].parent} cannot be used ({', '.join(refused)}): "
            f"repair or remove them; of the first: {first}"
        ) from first
    return [picture for picture in found if isinstance(picture, Tensor)]


def _samples() -> list[Path]:
    files = []
    for folder, names in SAMPLES.items():
        package = folder.partition("/")[0]
        found = find_spec(package)  # without importing it: scikit-learn takes seconds
        if found is None or found.origin is None:
            raise FileNotFoundError(
                f"the samples of {package} are not on this machine: install scikit-image and "
                "scikit-learn"
            )
        files += [Path(found.origin).parents[1] / folder / name for name in names.split()]
    return sorted(files, key=lambda path: path.name)


def _folder_of(name: str) -> Path | None:
    """The first folder with the dataset; one with an unfinished download does not count."""
    for folder in (place / name for place in search_folders()):
        if _pictures(folder) and not (folder / downloads.INCOMPLETE).exists():
            return folder
    return None


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.suffix.lower() in FORMATS)
    return sorted(path for path in files if path.is_file() and not path.name.startswith("."))
