"""A PNG that is written row by row: Pillow writes whole pictures alone, and no colours of 16 bits.

The format is that of the PNG specification (third edition): chunks 11.2, filters 9.2.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels
PIECE = 1 << 16  # compressed bytes in a chunk, at least; the last one may be shorter


class PngRows:
    """Writes the head at once, rows as they come, and the end when it is closed.

    Args:
        file: open for writing bytes.
        height, width: pixels.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        bits: 8 or 16.
        exif: without the word that JPEG puts before it; empty for none.
    """

    def __init__(
        self, file: BinaryIO, height: int, width: int, channels: int, bits: int, exif: bytes = b""
    ) -> None:
        self.file = file
        self.pixel = channels * bits // 8  # bytes
        self.dtype = np.dtype(np.uint8 if bits == 8 else ">u2")
        self.above = np.zeros((1, width * self.pixel), np.uint8)
        self.compressor, self.waiting = zlib.compressobj(), bytearray()
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(
            b"IHDR", struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPES[channels], 0, 0, 0)
        )
        if exif:
            self._chunk(b"eXIf", exif)

    def write(self, rows: np.ndarray) -> None:
        """The next rows (n, width, channels), uint8 or uint16 as the bits are."""
        if not len(rows):
            return
        rows = np.ascontiguousarray(rows, self.dtype)
        flat = rows.view(np.uint8).reshape(len(rows), -1)
        above = np.concatenate([self.above, flat[:-1]])
        self.above = flat[-1:].copy()
        self.waiting += self.compressor.compress(_filtered(flat, above, self.pixel))
        if len(self.waiting) >= PIECE:
            self._flush()

    def close(self) -> None:
        """What is left, and the end of the file; the file itself stays open."""
        self.waiting += self.compressor.flush()
        self._flush()
        self._chunk(b"IEND", b"")

    def _flush(self) -> None:
        self._chunk(b"IDAT", bytes(self.waiting))
        self.waiting.clear()

    def _chunk(self, kind: bytes, content: bytes) -> None:
        self.file.write(struct.pack(">I", len(content)) + kind + content)
        self.file.write(struct.pack(">I", zlib.crc32(kind + content)))


def _filtered(rows: np.ndarray, above: np.ndarray, pixel: int) -> bytes:
    """Rows (n, bytes) as differences to their neighbours, the kind of each row before it.

    Of the five kinds a row takes the one whose differences are smallest, as the specification
    advises (12.7).
    """
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, pixel:], corner[:, pixel:] = rows[:, :-pixel], above[:, :-pixel]
    mean = (left >> 1) + (above >> 1) + (left & above & 1)
    kinds = [rows, rows - left, rows - above, rows - mean, rows - _paeth(left, above, corner)]
    sums = [np.minimum(kind, -kind).sum(axis=1, dtype=np.int64) for kind in kinds]
    best = np.argmin(sums, axis=0)
    chosen = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    chosen[:, 0] = best
    for number, kind in enumerate(kinds):
        chosen[best == number, 1:] = kind[best == number]
    return chosen.tobytes()


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Whichever of the three is nearest to left + above − corner; the first of them if equal."""
    a, b, c = (part.astype(np.int16) for part in (left, above, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where(
        (to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, above, corner)
    ).astype(np.uint8)
