"""The authors' own weights: four checkpoints of their repository, downloaded and converted once.

They are files of one commit, each known by the id that git gives to its content. A file with
another id is refused. It is read as tensors alone, so no code in it is run, and kept as safetensors
in float32; the checkpoint itself is removed. Their licence is MIT.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from dasrlib import weights
from dasrlib.data import downloads
from dasrlib.data.downloads import DownloadError

COMMIT = "51524af8021c94a502ee002e135867a1b75dc7d0"
ADDRESS = "https://raw.githubusercontent.com/LongguangWang/DASR/{commit}/experiment/{run}/model/model_600.pt"
# By our name: the folder of the run, and the git blob id of its model_600.pt.
CHECKPOINTS = {
    "x2-iso": ("blindsr_x2_bicubic_iso", "a55bb07df7bf1ff641f6d6e36d3147e9f1b43c6a"),
    "x3-iso": ("blindsr_x3_bicubic_iso", "164b809eba7034ab8f8c27d90ffc33c0895ac44b"),
    "x4-iso": ("blindsr_x4_bicubic_iso", "b2db203d019d1ea5e484d0ddb3f44144c2987684"),
    "x4-aniso": ("blindsr_x4_bicubic_aniso", "f772b1a47f7ba2a374758593b8c3ef6a479da58d"),
}


def blob_id(path: Path) -> str:
    """The id git gives to a file: SHA-1 over "blob SIZE", a zero byte and the content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as file:
        for chunk in iter(functools.partial(file.read, 1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def get(folder: str | Path | None = None) -> Path:
    """Downloads and converts the checkpoints that are missing; returns their folder.

    `weights.load("authors/x4-iso")` then reads one. A download that was cut off goes on.

    Args:
        folder: where datasets go, too; by default $DASR_DATA, else the user's cache.

    Raises:
        DownloadError: a file cannot be fetched, is not the one of the commit, or cannot be written.
    """
    root = downloads.default_folder() if folder is None else Path(folder).expanduser().absolute()
    target = root / weights.AUTHORS
    with downloads.writing("the authors' weights", target):
        target.mkdir(parents=True, exist_ok=True)
        for name, (run, expected) in CHECKPOINTS.items():
            converted = target / f"{name}.safetensors"
            if converted.is_file():
                continue
            checkpoint = target / f"{name}.pt"
            downloads.fetch_large(ADDRESS.format(commit=COMMIT, run=run), checkpoint)
            try:
                _convert(checkpoint, converted, expected)
            finally:
                checkpoint.unlink()
    return target


def _convert(checkpoint: Path, converted: Path, expected: str) -> None:
    found = blob_id(checkpoint)
    if found != expected:
        raise DownloadError(
            f"{checkpoint.name} has the git blob id {found}, expected {expected}: the file was "
            "removed, run the download again"
        )
    scale = int(checkpoint.stem[1])
    weights.save(weights.load_authors(checkpoint, scale), converted, numbers="float32")
