"""Single picture files: what is read, what is written, what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from dasrlib import data


def picture(path, colour=(255, 0, 0), size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def corner(path) -> list[float]:
    """The first pixel of the picture in the file, on the 0..255 scale."""
    return (data.load_image(path)[:, 0, 0] * 255).tolist()


def test_colours_and_size_are_kept(tmp_path):
    path = picture(tmp_path / "a.png", (51, 102, 204), size=(5, 2))
    image = data.load_image(path)
    assert image.shape == (3, 2, 5)
    assert torch.equal(image[:, 0, 0], torch.tensor([51, 102, 204]) / 255)


def test_grey_is_repeated(tmp_path):
    Image.new("L", (4, 3), 51).save(tmp_path / "grey.png")
    image = data.load_image(tmp_path / "grey.png")
    assert image.shape == (3, 3, 4)
    assert torch.equal(image, torch.full((3, 3, 4), 51 / 255))


def test_sixteen_bit_grey_is_read_in_full(tmp_path):
    levels = np.array([[0, 257, 1000, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    image = data.load_image(tmp_path / "deep.png")
    expected = torch.from_numpy(levels.astype(np.float32) / 65535)
    torch.testing.assert_close(image, expected.expand(3, 1, 4))


def test_transparency_is_composited_over_white(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 51)).save(tmp_path / "rgba.png")
    assert corner(tmp_path / "rgba.png") == pytest.approx([255, 204, 204], abs=1e-3)
    Image.new("LA", (2, 2), (0, 0)).save(tmp_path / "la.png")
    assert corner(tmp_path / "la.png") == [255, 255, 255]
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 0, 255, 9, 9, 9])
    palette.save(tmp_path / "p.png", transparency=0)
    assert corner(tmp_path / "p.png") == [255, 255, 255]


def test_a_palette_and_print_colours_become_rgb(tmp_path):
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 0, 255])
    palette.save(tmp_path / "p.png")
    assert corner(tmp_path / "p.png") == [0, 0, 255]
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "cmyk.tif")
    assert corner(tmp_path / "cmyk.tif") == [255, 255, 255]


def test_a_rotation_mark_is_obeyed(tmp_path):
    upright = Image.new("RGB", (8, 4), (255, 255, 255))
    upright.putpixel((0, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show
    upright.save(tmp_path / "turned.png", exif=exif)
    image = data.load_image(tmp_path / "turned.png")
    assert image.shape == (3, 8, 4)
    assert image[:, 0, 3].tolist() == [0, 0, 0]


def test_floating_point_and_32_bit_pictures_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ValueError, match=r"f\.tif holds floating point values, expected 8 or 16"):
        data.load_image(tmp_path / "f.tif")
    Image.fromarray(np.full((2, 2), 70000, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(ValueError, match=r"i\.tif holds 32-bit values, expected 8 or 16"):
        data.load_image(tmp_path / "i.tif")


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.png: check"):
        data.load_image(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        data.load_image(tmp_path)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(ValueError, match=r"text\.png cannot be read as a picture .*PNG"):
        data.load_image(tmp_path / "text.png")


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_half_a_picture_is_refused(tmp_path, kind, part):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    whole = tmp_path / f"whole.{kind}"
    Image.fromarray(noise).save(whole)
    half = tmp_path / f"half.{kind}"
    half.write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
    with pytest.raises(ValueError, match=rf"half\.{kind} cannot be read as a picture"):
        data.load_image(half)


@pytest.mark.parametrize("kind", ["png", "bmp", "tif", "tiff", "webp", "PNG"])
def test_what_is_saved_reads_back_to_the_bit(tmp_path, kind):
    levels = torch.arange(3 * 16 * 16).reshape(3, 16, 16) % 256
    data.save_image(levels / 255, tmp_path / f"a.{kind}")
    assert torch.equal(data.load_image(tmp_path / f"a.{kind}"), levels / 255)
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{kind}"]


def test_saving_rounds_and_clamps(tmp_path):
    values = torch.tensor([-1.0, 0.49 / 255, 0.51 / 255, 1.7]).expand(3, 1, 4)
    data.save_image(values, tmp_path / "a.png")
    assert (data.load_image(tmp_path / "a.png")[0, 0] * 255).tolist() == [0, 0, 1, 255]


def test_a_jpeg_is_close(tmp_path):
    image = torch.linspace(0, 1, 32).expand(3, 32, 32)
    data.save_image(image, tmp_path / "a.jpg")
    assert (data.load_image(tmp_path / "a.jpg") - image).abs().max() < 0.02


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.bmp", (1, 2, 3))

    def half(self, out, **options):
        out.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="no space left"):
        data.save_image(torch.zeros(3, 4, 4), path)
    assert corner(path) == pytest.approx([1, 2, 3])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("image", "name", "kind", "sentence"),
    [
        (torch.zeros(3, 4, 4), "a.xyz", ValueError, r"a\.xyz: expected an extension among \.bmp"),
        (torch.zeros(3, 4, 4), "a", ValueError, r"cannot write a: expected an extension"),
        (torch.zeros(1, 3, 4, 4), "a.png", ValueError, r"3xHxW, got shape \(1, 3, 4, 4\)"),
        (torch.zeros(4, 4, 3), "a.png", ValueError, r"3xHxW, got shape \(4, 4, 3\)"),
        (torch.full((3, 4, 4), torch.nan), "a.png", ValueError, "NaN or infinity"),
        (torch.zeros(3, 4, 4), "no/a.png", FileNotFoundError, r"there is no folder .*create it"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, image, name, kind, sentence):
    with pytest.raises(kind, match=sentence):
        data.save_image(image, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "longest"), [("jpg", 65500), ("webp", 16383)])
def test_a_format_that_is_too_small_is_refused(tmp_path, kind, longest):
    path = tmp_path / f"a.{kind}"
    data.save_image(torch.zeros(3, 1, longest), path)  # the longest that there is
    assert data.load_image(path).shape == (3, 1, longest)
    for size in ((1, longest + 1), (longest + 1, 1)):
        with pytest.raises(ValueError, match=rf"a\.{kind} .* {longest} a side, use \.png"):
            data.check_format(path, *size)
    data.check_format(tmp_path / "a.png", 1, longest + 1)
