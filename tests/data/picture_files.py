"""Picture files by hand, for what Pillow does not write, and what the tests read them with."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6  # PNG's colour types


def chunk(kind: bytes, content: bytes) -> bytes:
    end = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + end


def write_png(
    path: Path, size: tuple[int, int], bits: int, colour: int, rows: list[bytes], *more: bytes
) -> Path:
    """Rows (unfiltered bytes each) of a picture of this width and height; more: chunks before."""
    content = b"\x89PNG\r\n\x1a\n"
    content += chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    content += b"".join(more)
    content += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    path.write_bytes(content + chunk(b"IEND", b""))
    return path


def deep_png(path: Path, values: np.ndarray, *more: bytes) -> Path:
    """(H, W, C) uint16 as a PNG of 16 bits."""
    colour = {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGBA}[values.shape[2]]
    rows = [row.astype(">u2").tobytes() for row in values]
    return write_png(path, values.shape[1::-1], 16, colour, rows, *more)


def read_png(path: Path) -> tuple[int, np.ndarray]:
    """The bits of a PNG, and its values (H, W, C), decoded value by value as the format says."""
    content, at, found = path.read_bytes(), 8, {b"IDAT": b""}
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        found[kind] = found.get(kind, b"") + content[at + 8 : at + 8 + length]
        at += 12 + length
    width, height, bits, colour = struct.unpack(">IIBB", found[b"IHDR"][:10])
    pixel = {GREY: 1, GREY_ALPHA: 2, RGB: 3, RGBA: 4}[colour] * bits // 8
    raw, stride = zlib.decompress(found[b"IDAT"]), width * pixel
    above, rows = bytes(stride), []
    for y in range(height):
        kind = raw[y * (stride + 1)]
        row = bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for x in range(stride):
            a = row[x - pixel] if x >= pixel else 0
            b, c = above[x], above[x - pixel] if x >= pixel else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row[x] = (row[x] + (0, a, b, (a + b) // 2, nearest)[kind]) % 256
        rows.append(bytes(row))
        above = bytes(row)
    values = np.frombuffer(b"".join(rows), np.uint8 if bits == 8 else ">u2")
    return bits, values.reshape(height, width, -1)
