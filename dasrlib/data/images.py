"""Images in: bundled samples, datasets, folders of one's own; a single picture in and out.

An image is a float32 RGB tensor in [0, 1], 3xHxW. A dataset is looked for in the folder that the
environment variable `DASR_DATA` names (it may hold `Set5/`, `Set14/`, `B100/`, ...), then where
`dasrlib.data.downloads` keeps what it fetched. The name "samples" needs neither.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dasrlib.data import downloads
from dasrlib.errors import unknown
from dasrlib.records.atomic_write import check_writable, whole_file

# By extension: the Pillow format, which is also what counts as a picture in a folder.
FORMATS = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
# The longest side in pixels of the formats that have a limit; that of JPEG is libjpeg's own.
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}

# The colour pictures inside the packages themselves; others of scikit-image's are downloads.
SAMPLES = {
    "skimage": (
        "data/astronaut.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/hubble_deep_field.jpg",
        "data/ihc.png",
        "data/motorcycle_left.png",
        "data/rocket.jpg",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}

Item = TypeVar("Item")
# What a set of pictures is everywhere: (name, (3, H, W) in [0, 1]) pairs.
Pictures = Sequence[tuple[str, Tensor]]


def root() -> list[Path]:
    """The folders searched for datasets, in order: `DASR_DATA` if set, then the download cache."""
    chosen = os.environ.get("DASR_DATA")
    return [*([Path(chosen).expanduser()] if chosen else []), downloads.cache_folder()]


def available() -> dict[str, Path | None]:
    """Every dataset by name, and the folder it lies in or None where it is not on this machine.

    "samples" come first: seven of them lie in the folder given, scikit-image's, two in
    scikit-learn's. A download that was interrupted does not count as there.
    """
    found: dict[str, Path | None] = {"samples": _samples()[0].parent}
    return found | {name: _folder_of(name) for name in downloads.registry()}


def paths(name: str | Path) -> list[Path]:
    """The picture files of a dataset or a folder, sorted by file name.

    `name` is "samples", a dataset of `downloads.registry()`, or a path to a folder (its own
    pictures, not those of folders inside it). For sets too large for memory, such as DIV2K, use
    this with `load_image`. Raises ValueError for a name that is neither, FileNotFoundError for a
    dataset that is not on this machine and for a folder without pictures.
    """
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
            sentence = unknown("dataset", name, ["samples", *downloads.registry()])
            raise ValueError(f"{sentence}, or a path to a folder")
    found = _pictures(folder)
    if not found:
        raise FileNotFoundError(
            f"no pictures in {folder}: expected files ending in {', '.join(FORMATS)}"
        )
    return found


def images(name: str | Path, limit: int | None = None) -> list[tuple[str, Tensor]]:
    """The pictures of a dataset or a folder as (name, image) pairs, sorted by file name.

    Each image is float32 RGB in [0, 1], 3xHxW; its name is the file's without extension. `limit`
    keeps the first so many. "samples" are nine colour photographs that ship inside scikit-image
    and scikit-learn, so they need no network: seven everyday ones (a person, a cat, a temple, a
    cup, a flower, a motorcycle, a rocket), a micrograph (ihc) and a telescope's picture
    (hubble_deep_field). Raises what `paths` and `load_image` raise, and ValueError for a limit
    below 1. Section 4.1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, or None for all images, got {limit}")
    return [(path.stem, load_image(path)) for path in paths(name)[:limit]]


def training_split(
    name: str | Path = "BSDS400", held_out: int = 20
) -> tuple[list[tuple[str, Tensor]], list[tuple[str, Tensor]]]:
    """The images of a dataset as (train, held_out), each like `images`; the same on every call.

    See `split` for the rule: of BSDS400 every twentieth picture is held out, of "samples" two.
    Raises what `images` and `split` raise. Section 4.1 has no held-out part: it is here so that a
    training can be watched without looking at the test sets.
    """
    return split(images(name), held_out)


def split(items: Sequence[Item], held_out: int = 20) -> tuple[list[Item], list[Item]]:
    """Divide a sorted sequence into (train, held_out), by position alone.

    Held out is the last of each run of `len(items) // held_out`, so that they are spread evenly;
    never more than a quarter of the items, so that a small folder keeps something to train on, and
    none for 0. Works on images and on `paths` alike. Raises ValueError for a negative number, and
    where there are not two items, one for each side.
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


def load_image(path: str | Path) -> Tensor:
    """Read one picture as float32 RGB in [0, 1], 3xHxW.

    Grey is repeated to three channels, 16-bit grey is read in full (Pillow reduces 16-bit colour to
    8 bits), transparency is composited over white, and a camera's rotation mark (EXIF) is obeyed.
    Of an animation the first frame is read. Raises FileNotFoundError for a path with no file, and
    ValueError for a file that is no whole picture or holds other than 8- or 16-bit values.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}: expected a picture, check the path")
    unreadable = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error)
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)  # a copy: all pixels are read here
    except (*unreadable, Image.DecompressionBombError) as error:
        kinds = ", ".join(sorted(set(FORMATS.values())))
        raise ValueError(
            f"{path} cannot be read as a picture ({type(error).__name__}): expected a whole file "
            f"of {kinds}"
        ) from error
    return _rgb(picture, path)


def load_bytes(path: str | Path) -> Tensor:
    """Read one picture as 8-bit RGB, uint8, 3xHxW: for many, a quarter of `load_image`'s memory.

    Raises what `load_image` raises.
    """
    return to_bytes(load_image(path))


def to_bytes(image: Tensor) -> Tensor:
    """A picture in [0, 1] rounded to 8 bits, uint8; one that is bytes already as it is."""
    return image if image.dtype == torch.uint8 else (image * 255).round().to(torch.uint8)


def check_format(path: Path, height: int = 1, width: int = 1) -> None:
    """Raises ValueError where the extension of `path` is no format that can be written, or its
    format cannot hold a picture of this size in pixels: call it before the work."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"cannot write {path.name}: expected an extension among {', '.join(FORMATS)}"
        )
    kind = FORMATS[path.suffix.lower()]
    longest = LONGEST_SIDE.get(kind)
    if longest is not None and max(height, width) > longest:
        raise ValueError(
            f"cannot write {path.name} of {width}×{height} pixels: {kind} holds at most {longest} "
            "a side, use .png"
        )


def save_image(image: Tensor, path: str | Path) -> None:
    """Write an RGB image, 3xHxW in [0, 1] or bytes, as 8-bit: clamped, whole or not at all.

    The extension chooses the format; of these JPEG alone loses anything (quality 95). An existing
    file is replaced. Raises ValueError for another shape and for values that are no numbers, and
    what `check_format` and `files.check_writable` raise.
    """
    path = check_writable(path, overwrite=True)
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image must be 3xHxW, got shape {tuple(image.shape)}")
    check_format(path, *image.shape[1:])
    if image.is_floating_point() and not torch.isfinite(image).all():
        raise ValueError(f"image for {path.name} holds NaN or infinity, expected values in [0, 1]")
    if image.dtype == torch.uint8:  # as they are: of a very large picture there is no room for more
        levels = image.cpu()
    else:
        levels = image.detach().float().cpu().clamp(0, 1).mul(255).round().to(torch.uint8)
    picture = Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
    kind = FORMATS[path.suffix.lower()]
    with whole_file(path) as temporary:
        picture.save(temporary, format=kind, **SAVE_OPTIONS.get(kind, {}))


def _rgb(picture: Image.Image, path: Path) -> Tensor:
    """3xHxW float32 in [0, 1] from whatever Pillow made of the file."""
    if picture.mode == "F":
        raise ValueError(f"{path} holds floating point values, expected 8 or 16 bits per channel")
    if picture.mode.startswith("I"):  # "I;16", or "I" where a format has no narrower name for it
        grey = torch.from_numpy(np.asarray(picture).astype(np.float32)) / 65535
        if grey.min() < 0 or grey.max() > 1:
            raise ValueError(f"{path} holds 32-bit values, expected 8 or 16 bits per channel")
        return grey.repeat(3, 1, 1)
    transparent = picture.has_transparency_data
    pixels = np.asarray(picture.convert("RGBA" if transparent else "RGB"))
    # Turned while they are still bytes: a quarter of the memory to move.
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(255)
    if not transparent:
        return planes
    colour, alpha = planes[:3], planes[3:]
    return colour * alpha + (1 - alpha)


def _samples() -> list[Path]:
    files = []
    for package, names in SAMPLES.items():
        found = find_spec(package)  # finds without importing: scikit-learn takes seconds
        if found is None or found.origin is None:
            raise FileNotFoundError(
                f"the samples of {package} are not on this machine: install scikit-image and "
                "scikit-learn"
            )
        files += [Path(found.origin).parent / name for name in names]
    return sorted(files, key=lambda path: path.name)


def _folder_of(name: str) -> Path | None:
    """The first folder that holds the dataset, passing over one where a download is unfinished."""
    for folder in (place / name for place in root()):
        if _pictures(folder) and not (folder / downloads.INCOMPLETE).exists():
            return folder
    return None


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.suffix.lower() in FORMATS)
    return sorted(
        (path for path in files if path.is_file() and not path.name.startswith(".")),
        key=lambda path: path.name,
    )


def centre_crop(image: Tensor, size: int) -> Tensor:
    """The middle of a picture (..., H, W), at most size × size pixels."""
    h, w = image.shape[-2:]
    top, left = max(0, h - size) // 2, max(0, w - size) // 2
    return image[..., top : top + size, left : left + size]
