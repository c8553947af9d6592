"""A `Picture` to a file, rows as they come; what a format cannot hold is known before the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dasrlib.data.exif import exif_of_size
from dasrlib.data.picture import Picture, to_uint8
from dasrlib.data.png_rows import PngRows
from dasrlib.records.atomic_write import atomic_write

WriteRows = Callable[[Tensor], None]  # takes the next rows, (C, rows, W)
ROWS = 256  # of a whole picture that are given to a file at once


class Format(NamedTuple):
    """What a kind of file can hold."""

    name: str  # Pillow's
    longest: int | None = None  # pixels of a side; that of JPEG is libjpeg's own
    alpha: bool = False
    deep: bool = False  # 16 bits
    exif: int = 0  # bytes
    options: tuple[tuple[str, Any], ...] = ()


NO_LIMIT = 1 << 31
BMP = Format("BMP")
JPEG = Format("JPEG", 65500, exif=65533, options=(("quality", 95),))
PNG = Format("PNG", alpha=True, deep=True, exif=NO_LIMIT)
# Pillow's compressed TIFF holds no EXIF.
TIFF = Format("TIFF", alpha=True, deep=True, exif=NO_LIMIT)
WEBP = Format("WEBP", 16383, alpha=True, exif=NO_LIMIT, options=(("lossless", True),))
# By file extension. In a folder of a dataset, files with these extensions count as pictures.
FORMATS = {".bmp": BMP, ".jpeg": JPEG, ".jpg": JPEG, ".png": PNG, ".tif": TIFF, ".tiff": TIFF,
           ".webp": WEBP}  # fmt: skip


def check_format(path: Path, height: int = 1, width: int = 1) -> None:
    """Raise ValueError for a file that could not be written; call it before the work."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"cannot write {path.name}: expected an extension among {', '.join(FORMATS)}"
        )
    kind = FORMATS[path.suffix.lower()]
    if kind.longest is not None and max(height, width) > kind.longest:
        raise ValueError(
            f"cannot write {path.name} of {width}×{height} pixels: {kind.name} holds at most "
            f"{kind.longest} a side, use .png"
        )


def fit_to_format(picture: Picture, path: Path) -> Picture:
    """What of a picture the file can hold; a remark says what is left out."""
    kind = FORMATS[path.suffix.lower()]
    if picture.alpha is not None and not kind.alpha:
        if bool((picture.alpha < _opaque(picture.alpha)).any()):
            picture = _said(picture, f"{kind.name} holds no transparency: it is put over white")
        picture = picture.over_white()
    if picture.bits == 16 and not kind.deep:
        said = f"{kind.name} holds 8 bits per channel: the picture's 16 are rounded"
        picture = replace(_said(picture, said), bits=8)
    if len(picture.exif) > kind.exif:
        said = f"{kind.name} holds no EXIF{' of this length' if kind.exif else ''}: it is left out"
        picture = replace(_said(picture, said), exif=b"")
    if picture.exif and kind is TIFF and picture.bits == 16:
        said = "TIFF of 16 bits is written without EXIF: use PNG to keep it"
        picture = replace(_said(picture, said), exif=b"")
    return picture


def _opaque(alpha: Tensor) -> float:
    return 255 if alpha.dtype == torch.uint8 else 1.0


def _said(picture: Picture, remark: str) -> Picture:
    return replace(picture, remarks=(*picture.remarks, remark))


def write_picture(picture: Picture, path: Path) -> None:
    """Write a picture, whole or not at all, with what the file's format can hold of it."""
    picture = fit_to_format(picture, path)
    planes = picture.pixels if picture.alpha is None else _joined(picture.pixels, picture.alpha)
    channels, height, width = planes.shape
    with rows_to(path, height, width, channels, picture.bits, picture.exif) as write:
        for first in range(0, height, ROWS):
            write(planes[:, first : first + ROWS])


def _joined(pixels: Tensor, alpha: Tensor) -> Tensor:
    if pixels.dtype == alpha.dtype:
        return torch.cat([pixels, alpha])
    return torch.cat([part.float() / _opaque(part) for part in (pixels, alpha)])


@contextmanager
def rows_to(
    path: Path, height: int, width: int, channels: int, bits: int = 8, exif: bytes = b""
) -> Iterator[WriteRows]:
    """A function that takes a picture's rows from the top down; the file appears when it is whole.

    A PNG goes to the disk as its rows come. The other formats are written by Pillow and tifffile,
    which take whole pictures, so their rows are kept in memory until the last one.

    Args:
        path: its extension chooses the format.
        height, width: pixels.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; alpha and 16 bits where the format has
            them (`fit_to_format`).
        bits: 8 or 16. Rows are uint8, or float in [0, 1]: those are clamped and rounded.
        exif: as `Picture` has it.
    """
    kind = FORMATS[path.suffix.lower()]
    exif = exif_of_size(exif, height, width)
    with atomic_write(path) as temporary:
        if kind is PNG:
            with temporary.open("wb") as file:
                rows = PngRows(file, height, width, channels, bits, exif.removeprefix(b"Exif\0\0"))
                yield lambda part: rows.write(_levels(part, bits))
                rows.close()
            return
        whole = np.empty((height, width, channels), np.uint8 if bits == 8 else np.uint16)
        filled = 0

        def keep(part: Tensor) -> None:
            nonlocal filled
            whole[filled : filled + part.shape[1]] = _levels(part, bits)
            filled += part.shape[1]

        yield keep
        _save(whole, temporary, kind, exif)


def _levels(rows: Tensor, bits: int) -> np.ndarray:
    """(C, n, W) -> (n, W, C), rounded to the levels of that many bits."""
    turned = rows.detach().cpu().permute(1, 2, 0)
    if bits == 8:
        return to_uint8(turned if turned.dtype == torch.uint8 else turned.clamp(0, 1)).numpy()
    values = turned.numpy() / 255 if turned.dtype == torch.uint8 else turned.clamp(0, 1).numpy()
    return np.rint(values * 65535).astype(np.uint16)


def _save(whole: np.ndarray, path: Path, kind: Format, exif: bytes) -> None:
    channels = whole.shape[2]
    if whole.dtype == np.uint16:  # of which Pillow writes grey alone
        import tifffile

        tifffile.imwrite(
            path,
            whole[..., 0] if channels == 1 else whole,
            photometric="rgb" if channels > 2 else "minisblack",
            extrasamples="unassalpha" if channels in (2, 4) else None,
            planarconfig="contig" if channels > 1 else None,
            compression="zlib",
            metadata=None,
        )
        return
    picture = Image.fromarray(whole[..., 0] if channels == 1 else whole)
    options = dict(kind.options)
    if exif and kind.exif:
        options["exif"] = exif
    picture.save(path, format=kind.name, **options)
