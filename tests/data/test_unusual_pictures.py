"""Picture files that are read wrongly by who looks at the pixels alone: profiles, depths, signs."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from dasrlib import data

# Red, green and blue of Display P3 in XYZ under D50, as its profile has them.
DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
RAMP = (np.arange(48)[:, None] * 16 + np.arange(64) * 900).astype(np.uint16)  # up to 57,452
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def profile(primaries: tuple[tuple[float, ...], ...], gamma: float) -> bytes:
    """A monitor's ICC profile, version 2.4: a header, a table of tags, and the tags."""

    def numbers(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"ours\0" + bytes(79)}
    tags |= {b"cprt": b"text" + bytes(4) + b"none" + bytes(4)}
    tags |= {b"wtpt": b"XYZ " + bytes(4) + numbers(0.9642, 1, 0.8249)}
    for name, primary in zip("rgb", primaries, strict=True):
        tags[f"{name}XYZ".encode()] = b"XYZ " + bytes(4) + numbers(*primary)
        tags[f"{name}TRC".encode()] = curve
    start, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(padded))
        body += padded
    head = struct.pack(">I4sI4s4s4s6H4s", start + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ",
                       b"XYZ ", 2020, 1, 1, 0, 0, 0, b"acsp")  # fmt: skip
    return (head + bytes(28) + numbers(0.9642, 1, 0.8249)).ljust(128, b"\0") + table + body


def middle(path: Path) -> list[int]:
    """The pixel (5, 10) on the 0..255 scale."""
    return (data.load_image(path)[:, 5, 10] * 255).round().int().tolist()


def flat(path: Path, mode: str, colour: tuple[int, ...], icc: bytes) -> Path:
    Image.new(mode, (24, 24), colour).save(path, icc_profile=icc)
    return path


@pytest.mark.parametrize("name", ["p3.png", "p3.tif", "p3.webp", "p3.jpg"])
def test_colours_of_another_profile_become_srgb(tmp_path, name):
    found = middle(flat(tmp_path / name, "RGB", (200, 80, 60), profile(DISPLAY_P3, 2.2)))
    # JPEG and its colour transform may move each channel.
    assert np.abs(np.subtract(found, (218, 67, 47))).max() <= (4 if name.endswith("jpg") else 2)


def test_a_transparent_picture_has_its_profile_too(tmp_path):
    path = flat(tmp_path / "a.png", "RGBA", (200, 80, 60, 255), profile(DISPLAY_P3, 2.2))
    assert np.abs(np.subtract(middle(path), (218, 67, 47))).max() <= 2


def test_srgb_itself_is_left_alone(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert middle(flat(tmp_path / "s.png", "RGB", (200, 80, 60), srgb)) == [200, 80, 60]


def test_a_broken_profile_is_said_and_ignored(tmp_path):
    path = flat(tmp_path / "b.png", "RGB", (200, 80, 60), b"no profile at all" * 20)
    with pytest.warns(UserWarning, match=r"b\.png: its colour profile is ignored"):
        assert middle(path) == [200, 80, 60]


def test_no_profile_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert middle(flat(tmp_path / "n.png", "RGB", (200, 80, 60), b"")) == [200, 80, 60]


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_deep_grey_may_count_from_white(tmp_path, photometric):
    tifffile.imwrite(tmp_path / "g.tif", RAMP, photometric=photometric)
    light = RAMP[5, 10] / 65535
    expected = 1 - light if photometric == "miniswhite" else light
    assert data.load_image(tmp_path / "g.tif")[0, 5, 10].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_planes_are_read_or_refused(tmp_path, planar):
    eight = (COLOURS >> 8).astype(np.uint8)
    stored = {"contig": lambda a: a, "separate": lambda a: a.transpose(2, 0, 1)}[planar]
    options = {"photometric": "rgb", "planarconfig": planar}
    tifffile.imwrite(tmp_path / "8.tif", stored(eight), **options)
    assert middle(tmp_path / "8.tif") == eight[5, 10].tolist()
    tifffile.imwrite(tmp_path / "16.tif", stored(COLOURS), **options)
    if planar == "separate":
        with pytest.raises(ValueError, match=r"16\.tif stores its 16-bit channels plane by plane"):
            data.load_image(tmp_path / "16.tif")
    else:  # Pillow keeps the upper 8 bits
        assert np.abs(np.subtract(middle(tmp_path / "16.tif"), COLOURS[5, 10] / 257)).max() <= 1


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signed_values_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "s.tif", (RAMP >> 9).astype(dtype), photometric="minisblack")
    with pytest.raises(ValueError, match=r"s\.tif holds signed values"):
        data.load_image(tmp_path / "s.tif")


def test_a_transparent_level_of_deep_grey_is_white(tmp_path):
    """A PNG by hand: Pillow writes no such level for 16 bits."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + end

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in RAMP)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 16, 0, 0, 0, 0))
    content += chunk(b"tRNS", struct.pack(">H", int(RAMP[5, 10])))
    content += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "t.png").write_bytes(content)
    image = data.load_image(tmp_path / "t.png")
    assert image[0, 5, 10] == 1
    assert image[0, 5, 11].item() == pytest.approx(RAMP[5, 11] / 65535, abs=1e-6)


def test_twelve_bits_reach_white(tmp_path):
    """Two values in three bytes, as scanners and microscopes write them; a TIFF by hand."""
    values = np.array([[0, 4095, 1000, 2048]], np.uint16)
    packed = bytes([0, 0x0F, 0xFF, 0x3E, 0x88, 0x00])
    tags = [
        (256, 4),
        (257, 1),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 1),
        (279, 6),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "12.tif").write_bytes(b"II*\0" + struct.pack("<I", 14) + packed + directory)
    found = data.load_image(tmp_path / "12.tif")[0]
    torch.testing.assert_close(found, torch.from_numpy(values.astype(np.float32) / 4095))
