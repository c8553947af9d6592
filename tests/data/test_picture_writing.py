"""A Picture to a file and back: every format keeps what it can, and what it cannot is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from picture_files import read_png
from PIL import ExifTags, Image

from dasrlib import data
from dasrlib.data import Picture
from dasrlib.data.exif import exif_of_size

EIGHT = torch.arange(4 * 11 * 70).reshape(4, 11, 70).mul(37).remainder(256).to(torch.uint8)
SIXTEEN = torch.from_numpy(np.random.default_rng(1).integers(0, 65536, (4, 11, 70)) / 65535).float()


def picture(channels: int, bits: int = 8, exif: bytes = b"") -> Picture:
    planes = (EIGHT if bits == 8 else SIXTEEN)[-channels:]
    if channels % 2:
        return Picture(planes, None, bits, exif)
    return Picture(planes[:-1], planes[-1:], bits, exif)


def camera_exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Copyright] = "me"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = 70, 11
    details[ExifTags.Base.ColorSpace] = 65535
    details[ExifTags.Base.ExposureTime] = 0.01
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif.tobytes()


@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_eight_bits_come_back_to_the_bit(tmp_path, kind, channels):
    written = picture(channels)
    data.write_picture(written, tmp_path / f"a.{kind}")
    read = data.read_picture(tmp_path / f"a.{kind}")
    if kind == "webp":  # it knows no grey, and no colour where nothing is to be seen
        seen = slice(None) if written.alpha is None else (written.alpha > 0).expand(3, -1, -1)
        assert torch.equal(read.pixels[seen], written.rgb()[seen])
    else:
        assert torch.equal(read.pixels, written.pixels)
    assert read.bits == 8
    assert (read.alpha is None) == (written.alpha is None)
    assert written.alpha is None or torch.equal(read.alpha, written.alpha)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_come_back_to_the_bit(tmp_path, kind, channels):
    written = picture(channels, 16)
    data.write_picture(written, tmp_path / f"a.{kind}")
    read = data.read_picture(tmp_path / f"a.{kind}")
    assert read.bits == 16
    assert torch.equal(read.pixels, written.pixels)
    assert written.alpha is None or torch.equal(read.alpha, written.alpha)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_is_what_the_format_says(tmp_path, channels, bits):
    """By a decoder that shares no line with what is tested; Pillow reads 8 bits of colours."""
    written = picture(channels, bits)
    data.write_picture(written, tmp_path / "a.png")
    found, values = read_png(tmp_path / "a.png")
    assert found == bits
    planes = (EIGHT if bits == 8 else (SIXTEEN.double() * 65535).round())[-channels:]
    assert np.array_equal(values, planes.permute(1, 2, 0).numpy())
    with Image.open(tmp_path / "a.png") as opened:
        opened.load()


def test_a_tiff_of_16_bits_is_read_by_others(tmp_path):
    data.write_picture(picture(4, 16), tmp_path / "a.tif")
    expected = (SIXTEEN.double() * 65535).round().permute(1, 2, 0).numpy()
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "bmp"])
def test_rows_may_come_in_any_portions(tmp_path, kind):
    # Equal rows, so that each is stored as its difference to the one above.
    rows = EIGHT[-3:, :1].expand(-1, 11, -1)
    data.write_picture(Picture(rows), tmp_path / f"whole.{kind}")
    with data.rows_to(tmp_path / f"parts.{kind}", 11, 70, 3) as write:
        for first, last in ((0, 1), (1, 1), (1, 8), (8, 11)):
            write(data.to_float(rows[:, first:last]))
    whole, parts = (tmp_path / f"{name}.{kind}" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    if kind != "jpg":
        assert torch.equal(data.read_picture(parts).pixels, rows)


def test_a_png_is_on_the_disk_before_it_is_whole(tmp_path):
    noise = torch.randint(0, 256, (3, 300, 500), dtype=torch.uint8)
    with data.rows_to(tmp_path / "a.png", 300, 500, 3) as write:
        write(noise[:, :250])
        (unfinished,) = tmp_path.iterdir()
        assert unfinished.stat().st_size > 3 * 200 * 500  # noise is not compressed
        assert unfinished.name != "a.png"
        write(noise[:, 250:])
    assert torch.equal(data.read_picture(tmp_path / "a.png").pixels, noise)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_a_failure_between_rows_leaves_no_file(tmp_path, kind):
    def interrupted() -> None:
        with data.rows_to(tmp_path / f"a.{kind}", 11, 70, 3) as write:
            write(EIGHT[-3:, :5])
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        interrupted()
    assert list(tmp_path.iterdir()) == []


# What a format cannot hold


@pytest.mark.parametrize("kind", ["jpg", "bmp"])
def test_transparency_is_put_over_white_and_said(tmp_path, kind):
    pixels = torch.full((3, 16, 16), 40, dtype=torch.uint8)
    alpha = torch.zeros(1, 16, 16, dtype=torch.uint8)
    alpha[:, :, 8:] = 255
    fitted = data.fit_to_format(Picture(pixels, alpha), tmp_path / f"a.{kind}")
    assert "holds no transparency: it is put over white" in fitted.remarks[0]
    data.write_picture(fitted, tmp_path / f"a.{kind}")
    read = data.load_image(tmp_path / f"a.{kind}") * 255
    assert (read[:, 4, 2] > 250).all()
    assert (read[:, 4, 13] < 45).all()
    opaque = data.fit_to_format(Picture(pixels, alpha.fill_(255)), tmp_path / f"a.{kind}")
    assert opaque.alpha is None
    assert opaque.remarks == ()


@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
def test_transparency_is_kept_where_it_can_be(tmp_path, kind):
    fitted = data.fit_to_format(picture(4), tmp_path / f"a.{kind}")
    assert fitted.alpha is not None
    assert fitted.remarks == ()


@pytest.mark.parametrize(("kind", "kept"), [("png", 16), ("tif", 16), ("jpg", 8), ("webp", 8)])
def test_sixteen_bits_are_kept_or_said(tmp_path, kind, kept):
    fitted = data.fit_to_format(picture(3, 16), tmp_path / f"a.{kind}")
    assert fitted.bits == kept
    said = [f"{kind.upper()} holds 8 bits per channel: the picture's 16 are rounded"]
    assert list(fitted.remarks) == ([] if kept == 16 else [s.replace("JPG", "JPEG") for s in said])
    data.write_picture(fitted, tmp_path / f"a.{kind}")
    assert data.read_picture(tmp_path / f"a.{kind}").bits == kept


# EXIF


@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_exif_goes_along_without_the_rotation(tmp_path, source, kind):
    pixels = Image.fromarray(EIGHT[-3:].permute(1, 2, 0).numpy())
    pixels.save(tmp_path / f"in.{source}", exif=camera_exif())
    read = data.read_picture(tmp_path / f"in.{source}")
    assert read.size == "11×70"  # turned
    larger = replace(read, pixels=read.pixels.repeat(1, 2, 2))
    data.write_picture(larger, tmp_path / f"out.{kind}")
    with Image.open(tmp_path / f"out.{kind}") as opened:
        assert opened.size == (22, 140)
        opened.load()
        exif = opened.getexif()
        details = exif.get_ifd(ExifTags.IFD.Exif)
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    assert exif[ExifTags.Base.Make] == "Maker"
    assert exif[ExifTags.Base.Copyright] == "me"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert details[ExifTags.Base.ExposureTime] == pytest.approx(0.01)
    # What would be wrong of the new file: its size, and that its colours are not those of sRGB.
    assert details[ExifTags.Base.ExifImageWidth] == 22
    assert details[ExifTags.Base.ExifImageHeight] == 140
    assert details[ExifTags.Base.ColorSpace] == 1


def test_how_a_tiff_stores_its_pixels_is_not_kept(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SIXTEEN[0].numpy().astype(np.uint16), software="ours")
    kept = Image.Exif()
    kept.load(data.read_picture(tmp_path / "a.tif").exif)
    assert kept[ExifTags.Base.Software] == "ours"
    assert all(tag > 268 and tag not in (273, 278, 279) for tag in kept)


@pytest.mark.parametrize(("kind", "length"), [("bmp", 10), ("jpg", 70000)])
def test_exif_that_cannot_be_held_is_left_out_and_said(tmp_path, kind, length):
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * length
    fitted = data.fit_to_format(picture(3, exif=exif.tobytes()), tmp_path / f"a.{kind}")
    assert "it is left out" in fitted.remarks[0]
    data.write_picture(fitted, tmp_path / f"a.{kind}")
    assert data.read_picture(tmp_path / f"a.{kind}").exif == b""


def test_broken_exif_is_said_and_the_picture_read(tmp_path):
    Image.new("RGB", (8, 5), (9, 9, 9)).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    read = data.read_picture(tmp_path / "a.png")
    assert read.remarks == ("its EXIF is broken and left out",)
    assert read.pixels[0, 0, 0] == 9
    assert exif_of_size(read.exif, 1, 1) == b""


# Under transparent pixels


def test_hidden_colours_are_those_of_the_nearest_visible_pixel():
    pixels = torch.zeros(3, 4, 6, dtype=torch.uint8)
    pixels[:, :, :2] = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None]
    alpha = torch.zeros(1, 4, 6, dtype=torch.uint8)
    alpha[:, :, :2] = 3  # to be seen, if only a little
    filled = Picture(pixels, alpha).with_hidden_filled()
    assert torch.equal(filled.pixels, pixels[:, :, :1].expand(-1, -1, 6))
    assert filled.alpha is alpha
    for same in (Picture(pixels), Picture(pixels, alpha * 0), Picture(pixels, alpha * 0 + 9)):
        assert same.with_hidden_filled() is same
