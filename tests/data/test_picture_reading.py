"""A file as a Picture: grey, depth, transparency, EXIF, and what is said of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from picture_files import GREY, chunk, deep_png, write_png
from PIL import EpsImagePlugin, Image, ImageCms
from test_unusual_pictures import DISPLAY_P3, profile

from dasrlib import data
from dasrlib.data import picture_reading

VALUES = np.random.default_rng(0).integers(0, 65536, (9, 14, 4), dtype=np.uint16)


def levels(planes: torch.Tensor, largest: int = 65535) -> np.ndarray:
    """(C, H, W) as whole numbers (H, W, C)."""
    found = planes if planes.dtype == torch.uint8 else (planes.double() * largest).round()
    return found.permute(1, 2, 0).numpy().astype(int)


# Grey


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_grey_is_one_channel(tmp_path, mode):
    Image.new(mode, (5, 4), 1 if mode == "1" else 77).save(tmp_path / "g.png")
    picture = data.read_picture(tmp_path / "g.png")
    assert picture.is_grey
    assert picture.pixels.shape == (1, 4, 5)
    assert (picture.alpha is not None) == (mode == "LA")
    assert picture.bits == (16 if mode == "I;16" else 8)
    assert picture.rgb().shape == (3, 4, 5)


def test_a_palette_of_greys_is_grey_and_one_of_colours_is_not(tmp_path):
    for name, colours in (("grey", [0, 0, 0, 90, 90, 90]), ("red", [0, 0, 0, 90, 0, 0])):
        palette = Image.new("P", (5, 4), 1)
        palette.putpalette(colours)
        palette.save(tmp_path / f"{name}.png")
        picture = data.read_picture(tmp_path / f"{name}.png")
        assert picture.pixels[:, 0, 0].tolist() == ([90] if name == "grey" else [90, 0, 0])


@pytest.mark.parametrize("deep", [False, True])
def test_a_grey_picture_with_a_profile_stays_grey(tmp_path, deep):
    """Cameras give it that of their colours. Its tone curve, a gamma of 1.8, is applied."""
    grey = np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0)
    picture = Image.fromarray(grey.astype(np.uint16) * 257 if deep else grey)
    picture.save(tmp_path / "g.png", icc_profile=profile(DISPLAY_P3, 1.8))
    picture = data.read_picture(tmp_path / "g.png")
    assert picture.is_grey
    linear = (np.arange(256) / 255) ** 1.8
    expected = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(data.to_float(picture.pixels)[0, 0].numpy() - expected).max() < 1.5 / 255
    assert picture.remarks == ()


# Depth


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_is_read_in_full(tmp_path, channels):
    picture = data.read_picture(deep_png(tmp_path / "d.png", VALUES[..., :channels]))
    assert picture.bits == 16
    colours = channels - 1 + channels % 2
    assert np.array_equal(levels(picture.pixels), VALUES[..., :colours])
    if channels % 2:
        assert picture.alpha is None
    else:
        assert np.array_equal(levels(picture.alpha)[..., 0], VALUES[..., channels - 1])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["grey", "rgb", "rgba", "premultiplied"])
def test_a_tiff_of_16_bits_is_read_in_full(tmp_path, kind, compression, order):
    channels = {"grey": 1, "rgb": 3}.get(kind, 4)
    values = VALUES[..., :channels].copy()
    stored = values[..., 0] if kind == "grey" else values
    if kind == "premultiplied":
        values[..., 3] |= 0x8000  # so that a quotient is exact to a level or two
        stored = values.copy()
        stored[..., :3] = np.rint(values[..., :3] * (values[..., 3:] / 65535.0))
    extra = {"rgba": "unassalpha", "premultiplied": "assocalpha"}.get(kind)
    tifffile.imwrite(
        *(tmp_path / "d.tif", stored),
        photometric="minisblack" if kind == "grey" else "rgb",
        compression=compression,
        byteorder=order,
        extrasamples=extra,
    )
    picture = data.read_picture(tmp_path / "d.tif")
    assert picture.bits == 16
    off = np.abs(levels(picture.pixels) - values[..., :3]).max()
    assert off <= (2 if kind == "premultiplied" else 0)
    assert (picture.alpha is not None) == (channels == 4)
    if picture.alpha is not None:
        assert np.array_equal(levels(picture.alpha)[..., 0], values[..., 3])


def test_a_deep_picture_is_turned_upright(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    exif = chunk(b"eXIf", turned.tobytes().removeprefix(b"Exif\0\0"))
    path = deep_png(tmp_path / "d.png", VALUES[..., :3], exif)
    assert np.array_equal(
        levels(data.read_picture(path).pixels), np.rot90(VALUES[..., :3], -1).astype(int)
    )
    assert data.read_header(path) == (14, 9)


def test_a_profile_of_a_deep_picture_keeps_its_gradations(tmp_path):
    """Pillow converts 8 bits alone; between them a ramp would have steps."""
    ramp = np.linspace(20000, 30000, 2000).astype(np.uint16)
    values = np.stack([ramp, ramp // 2, ramp // 3], axis=-1)[None]
    path = tmp_path / "d.tif"
    icc = profile(DISPLAY_P3, 2.2)
    tifffile.imwrite(path, values, photometric="rgb", iccprofile=icc)
    deep = data.read_picture(path)
    assert deep.bits == 16
    # In 8 bits the three channels have 39, 20 and 13 levels.
    assert all(len(np.unique(levels(deep.pixels)[..., i])) > 800 for i in range(3))
    eight = Image.fromarray((values / 257).round().astype(np.uint8))
    eight.save(tmp_path / "e.png", icc_profile=icc)
    shallow = data.to_float(data.read_picture(tmp_path / "e.png").pixels)
    assert (deep.pixels - shallow).abs().max() * 255 < 2.5
    assert (deep.pixels - torch.from_numpy(values / 65535).permute(2, 0, 1)).abs().max() * 255 > 5


@pytest.mark.parametrize(("bits", "level"), [(1, 1), (2, 2), (4, 9), (8, 200), (16, 40000)])
def test_a_transparent_grey_level_is_found_at_every_depth(tmp_path, bits, level):
    """Pillow 13 compares the level of a file of 2 or 4 bits with pixels that it has scaled."""
    values = [level, 0] * 8
    row = int("".join(f"{value:0{bits}b}" for value in values), 2).to_bytes(2 * bits, "big")
    key = chunk(b"tRNS", level.to_bytes(2, "big"))
    picture = data.read_picture(write_png(tmp_path / "t.png", (16, 1), bits, GREY, [row], key))
    assert picture.alpha is not None
    assert data.to_float(picture.alpha)[0, 0].tolist() == [0, 1] * 8
    expected = level / (2**bits - 1)
    assert data.to_float(picture.pixels)[0, 0, 0].item() == pytest.approx(expected, abs=1e-5)


def test_a_transparent_colour_of_16_bits_is_one_colour(tmp_path):
    values = VALUES[..., :3].copy()
    values[0, 1] = values[0, 0] ^ 1  # the same in 8 bits
    key = chunk(b"tRNS", values[0, 0].astype(">u2").tobytes())
    picture = data.read_picture(deep_png(tmp_path / "t.png", values, key))
    assert picture.alpha is not None
    assert (picture.alpha == 0).nonzero().tolist() == [[0, 0, 0]]


def test_what_is_read_in_fewer_bits_is_said(tmp_path):
    (tmp_path / "p.ppm").write_bytes(b"P6 2 1 65535\n" + bytes([128, 0] * 6))
    picture = data.read_picture(tmp_path / "p.ppm")
    assert picture.remarks == ("its 16 bits per channel are read as 8",)
    assert picture.bits == 8
    assert picture.pixels.flatten().tolist() == [128] * 6
    (tmp_path / "g.pgm").write_bytes(b"P5 2 1 65535\n" + bytes([128, 7] * 2))
    picture = data.read_picture(tmp_path / "g.pgm")
    assert (picture.remarks, picture.bits) == ((), 16)
    assert levels(picture.pixels).flatten().tolist() == [128 * 256 + 7] * 2


def test_32_bit_values_are_refused_also_where_they_are_small(tmp_path):
    """No one can know whether 200 of 32 bits is dark or light."""
    tifffile.imwrite(tmp_path / "i.tif", np.full((4, 5), 200, np.uint32), photometric="minisblack")
    with pytest.raises(ValueError, match=r"i\.tif holds 32-bit values, expected 8 or 16"):
        data.read_picture(tmp_path / "i.tif")


# Other kinds


def test_lab_is_read_as_its_colours(tmp_path):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    flat = Image.new("RGB", (6, 5), (200, 80, 60))
    ImageCms.profileToProfile(flat, srgb, lab, outputMode="LAB").save(tmp_path / "lab.tif")
    found = data.read_picture(tmp_path / "lab.tif").pixels[:, 2, 2].int()
    assert (found - torch.tensor([200, 80, 60])).abs().max() <= 2


def test_a_palette_has_its_profile_too(tmp_path):
    palette = Image.new("P", (6, 5), 0)
    palette.putpalette([200, 80, 60])
    palette.save(tmp_path / "p.png", icc_profile=profile(DISPLAY_P3, 2.2))
    assert data.read_picture(tmp_path / "p.png").pixels[:, 0, 0].tolist() == [218, 67, 47]


def test_a_profile_that_calls_itself_srgb_and_is_not_is_converted(tmp_path):
    linear = profile(DISPLAY_P3, 1.0).replace(b"ours", b"sRGB")
    Image.new("RGB", (6, 5), (60, 60, 60)).save(tmp_path / "l.png", icc_profile=linear)
    # 60/255 of the light is 0.5225 of sRGB's scale.
    found = data.read_picture(tmp_path / "l.png").pixels[:, 0, 0].int()
    assert (found - 133).abs().max() <= 1


def test_print_colours_without_a_profile_are_said(tmp_path):
    Image.new("CMYK", (6, 5), (0, 255, 255, 0)).save(tmp_path / "c.jpg")
    picture = data.read_picture(tmp_path / "c.jpg")
    assert "print colours (CMYK) have no profile" in picture.remarks[0]
    red, green, blue = picture.pixels[:, 2, 2].tolist()
    assert red > 245
    assert max(green, blue) < 10


def test_the_first_of_several_pictures_is_read_and_said(tmp_path):
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture = data.read_picture(tmp_path / "a.gif")
    assert picture.remarks == ("only the first of its 3 pictures is read",)
    assert picture.pixels[:, 0, 0].tolist() == [255, 0, 0]
    with pytest.warns(UserWarning, match=r"a\.gif: only the first of its 3 pictures"):
        data.load_image(tmp_path / "a.gif")


@pytest.mark.parametrize("bits", [10, 14])
def test_a_tiff_of_a_kind_that_is_not_read_is_a_sentence(tmp_path, bits):
    path = tmp_path / "k.tif"
    tifffile.imwrite(path, np.zeros((4, 5, 3), np.uint16), photometric="rgb")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags["BitsPerSample"].valueoffset
    content[at : at + 6] = bytes([bits, 0]) * 3
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"k\.tif cannot be read .* with 8 or 16 bits per channel"):
        data.read_picture(path)


# Size


def test_200_megapixels_are_a_picture(tmp_path):
    """Pillow's own limit is below the largest cameras."""
    with picture_reading._pillows_limit:
        limit = Image.MAX_IMAGE_PIXELS
    Image.new("1", (16320, 12240), 1).save(tmp_path / "large.png")
    assert data.read_header(tmp_path / "large.png") == (12240, 16320)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_picture_beyond_all_is_refused_with_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_reading, "MOST_PIXELS", 10**6)
    Image.new("1", (1001, 1000)).save(tmp_path / "l.png")
    for read in (data.read_picture, data.read_header):
        with pytest.raises(ValueError, match=r"l\.png has 1001×1000 pixels: at most 1 megapixels"):
            read(tmp_path / "l.png")


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("rotation", [1, 3, 6])
def test_the_header_is_the_pictures(tmp_path, kind, rotation):
    exif = Image.Exif()
    exif[0x0112] = rotation
    Image.new("RGB", (8, 5)).save(tmp_path / f"a.{kind}", exif=exif)
    shape = data.read_picture(tmp_path / f"a.{kind}").pixels.shape[1:]
    assert tuple(data.read_header(tmp_path / f"a.{kind}")) == tuple(shape)
    assert tuple(shape) == ((8, 5) if rotation == 6 else (5, 8))


# HEIC


def heic(path: Path) -> Path:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 80, 60))).save(path, quality=90)
    return path


def test_heic_is_read_where_pillow_heif_is(tmp_path):
    path = heic(tmp_path / "photo.heic")
    picture = data.read_picture(path)
    assert picture.pixels.shape == (3, 48, 64)
    assert np.abs(levels(picture.pixels)[20, 20] - (200, 80, 60)).max() <= 4
    assert picture.remarks == ()


def test_heic_without_pillow_heif_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_reading, "find_spec", lambda name: None)
    (tmp_path / "photo.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    for read in (data.read_picture, data.read_header):
        with pytest.raises(ValueError, match=r"photo\.jpg is a HEIC picture.*dasrlib\[heic\]"):
            read(tmp_path / "photo.jpg")


def test_a_page_is_no_picture(tmp_path, monkeypatch):
    """Pillow would run Ghostscript for it."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("it was run"))
    Image.new("RGB", (8, 8)).save(tmp_path / "page.eps")
    with pytest.raises(ValueError, match=r"page\.eps cannot be read as a picture"):
        data.read_picture(tmp_path / "page.eps")


def test_importing_the_library_leaves_pillows_limit_alone():
    code = "from PIL import Image; a = Image.MAX_IMAGE_PIXELS; import dasrlib.data; "
    code += "assert a == Image.MAX_IMAGE_PIXELS"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
