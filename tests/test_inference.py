"""One picture in, one picture out: any size, in tiles or whole, from any kind of file."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from dasrlib import data, estimates, inference, weights
from dasrlib.estimates import Estimate
from dasrlib.network import BlindSR, build
from dasrlib.systems import DEFAULT_WEIGHTS, PHOTO_WEIGHTS


def picture(h: int, w: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch):
    """Also on a processor with bfloat16 units, where the differences looked for would drown."""
    monkeypatch.setattr(inference, "fastest_dtype", lambda device: torch.float32)


@pytest.fixture
def model() -> BlindSR:
    torch.manual_seed(1)
    return build("model4", 4, "smoke").eval()


@pytest.fixture
def unrounded(monkeypatch):
    """Rounding to 8 bit would turn a difference of 1e-7 into one of 4e-3 now and then."""
    monkeypatch.setattr(inference, "quantise", lambda image, bits: image)


def tell_all_the_same(model: BlindSR, monkeypatch) -> None:
    constant = torch.randn(1, 256, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(
        model, "represent", lambda images, degradations=None: constant.expand(len(images), -1)
    )


def test_the_whole_picture_is_the_networks_rounded(model):
    lr = picture(11, 17)
    with torch.no_grad():
        expected = model(lr[None])[0]
    sr = inference.upscale(lr, model)
    assert sr.shape == (3, 44, 68)
    assert sr.dtype == torch.float32
    assert sr.min() >= 0
    assert sr.max() <= 1
    assert torch.equal((sr * 255).round() / 255, sr)
    # Half a level of rounding, and the same sums in another memory layout.
    assert (sr - expected.clamp(0, 1)).abs().max() < 0.51 / 255


def test_in_bfloat16_it_is_the_same_picture_but_for_rounding(model):
    lr = picture(11, 17)
    wide = inference.upscale(lr, model)
    difference = (inference.upscale(lr, model, dtype=torch.bfloat16) - wide) * 255
    # bfloat16 has 8 bits: of features up to 128 half a step is 0.25, and the result is rounded too.
    assert difference.square().mean().sqrt() < 0.6
    assert difference.abs().max() > 0


def test_the_dtype_asked_for_is_the_one_computed_in(model, monkeypatch):
    lr = picture(11, 17)
    wide = inference.upscale(lr, model)
    monkeypatch.setattr(inference, "fastest_dtype", lambda device: torch.bfloat16)
    assert torch.equal(inference.upscale(lr, model, dtype=torch.float32), wide)


def test_an_upscale_leaves_the_callers_random_state_as_it_was():
    before = torch.get_rng_state()
    inference.upscale(picture(8, 8), "laptop/model4-x4-iso")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_upscale_leaves_the_callers_model_in_its_mode():
    model = build("model4", 2, "smoke").train()
    model.sr.head.eval()  # as a part that is not trained is
    before = {name: part.training for name, part in model.named_modules()}
    lr = picture(8, 9)
    sr = inference.upscale(lr, model)
    assert {name: part.training for name, part in model.named_modules()} == before
    assert torch.equal(sr, inference.upscale(lr, model.eval()))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(64, 64), (37, 70), (33, 32), (70, 12)])
def test_tiles_are_the_whole_picture(monkeypatch, unrounded, size, scale):
    torch.manual_seed(1)
    model = build("model4", scale, "smoke").eval()
    tell_all_the_same(model, monkeypatch)
    lr = picture(*size)
    whole = inference.upscale(lr, model)
    tiled = inference.upscale(lr, model, tile=32)
    assert tiled.shape == (3, scale * size[0], scale * size[1])
    # A pixel of this network sees 9 LR pixels to each side (3×3 convolutions: one in the head,
    # four in its block, three more, and the upsampler's at finer steps), fewer than the 16 of the
    # overlap: what is left is float32 sums in another order.
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_without_overlap_the_seams_would_show(model, monkeypatch, unrounded):
    tell_all_the_same(model, monkeypatch)
    lr = picture(40, 40)
    whole = inference.upscale(lr, model)
    monkeypatch.setattr(inference, "TILE_OVERLAP", 0)
    difference = (inference.upscale(lr, model, tile=32) - whole).abs().amax(0)
    assert difference[:, 124:132].max() > 1e-3
    assert difference[:96, :96].max() < 1e-5  # 8 LR pixels from the seam: out of its sight


def test_the_bundled_network_tiles_invisibly(monkeypatch):
    model = weights.load(DEFAULT_WEIGHTS)
    tell_all_the_same(model, monkeypatch)
    lr = data.load_image(data.paths("samples")[0])[:, ::6, ::6][:, :50, :60]
    difference = (inference.upscale(lr, model, tile=32) - inference.upscale(lr, model)).abs() * 255
    # Its pixels see 30 to each side, so the overlap of 16 cuts off the weakest part.
    assert difference.max() < 2.01
    assert difference.mean() < 0.05


def test_a_tile_as_large_as_the_picture_is_the_picture(model):
    lr = picture(33, 40)
    assert torch.equal(inference.upscale(lr, model, tile=40), inference.upscale(lr, model))


def test_a_large_picture_is_computed_in_tiles_by_default(model, monkeypatch):
    lr = picture(40, 50)
    sides = []
    model.sr.head.register_forward_hook(lambda module, inputs, out: sides.append(out.shape[2:]))
    monkeypatch.setattr(inference, "WHOLE_PICTURE", 2000)
    inference.upscale(lr, model)
    assert sides == [(40, 50)]
    monkeypatch.setattr(inference, "WHOLE_PICTURE", 1999)
    monkeypatch.setattr(inference, "TILE", 32)
    sr = inference.upscale(lr, model)
    assert len(sides) == 1 + 4
    assert torch.equal(sr, inference.upscale(lr, model, tile=32))
    inference.upscale(lr, model, tile=50)  # at once all the same, for who asks for it
    assert sides[-1] == (40, 50)


def test_every_picture_of_the_benchmarks_is_computed_at_once():
    # Urban100's HR pictures are the largest of the paper's test sets: about a megapixel. At ×2:
    assert inference.WHOLE_PICTURE >= 1.3e6 / 2**2


class Listening(torch.nn.Module):
    """An SR network that notes which representations it was given."""

    def __init__(self, sr: torch.nn.Module) -> None:
        super().__init__()
        self.sr, self.heard = sr, []

    def forward(self, images: torch.Tensor, representation: torch.Tensor) -> torch.Tensor:
        self.heard.append(representation)
        return self.sr(images, representation)


def test_all_tiles_hear_the_mean_of_their_representations(model):
    lr = picture(32, 60)
    model.sr = listening = Listening(model.sr)
    inference.upscale(lr, model, tile=32)
    # Two tiles: columns 0..32 and 32..60, each with 16 more of the other: 48 and 44 of them.
    with torch.no_grad():
        left, right = model.represent(lr[None, ..., :48]), model.represent(lr[None, ..., 16:])
    assert (left - right).abs().max() > 1e-4
    assert len(listening.heard) == 2
    for representation in listening.heard:
        # The same float32 numbers, summed in another order.
        expected = (48 * left + 44 * right) / 92
        torch.testing.assert_close(representation, expected, rtol=1e-4, atol=1e-6)


def test_weights_by_name_path_or_network(tmp_path):
    lr = picture(8, 9)
    bundled = weights.load(DEFAULT_WEIGHTS)
    by_name = inference.upscale(lr, DEFAULT_WEIGHTS)
    assert torch.equal(inference.upscale(lr, bundled), by_name)
    path = weights.save(bundled, tmp_path / "copy.safetensors")
    assert torch.equal(inference.upscale(lr, path), by_name)
    assert torch.equal(inference.upscale(lr, str(path)), by_name)


@pytest.mark.parametrize(
    ("found", "name"), [(Estimate(20, 100), PHOTO_WEIGHTS), (Estimate(0, 100), DEFAULT_WEIGHTS)]
)
def test_by_default_the_weights_that_fit(monkeypatch, found, name):
    monkeypatch.setattr(estimates, "read", lambda lr: found)
    lr = picture(8, 9)
    assert torch.equal(inference.upscale(lr), inference.upscale(lr, name))


@pytest.mark.parametrize("tile", [None, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_devices_dtype_is_computed_in(model, monkeypatch, unrounded, dtype, tile):
    monkeypatch.setattr(inference, "fastest_dtype", lambda device: dtype)
    seen = []
    model.sr.head.register_forward_hook(lambda module, inputs, out: seen.append(out.dtype))
    lr = picture(34, 40)
    sr = inference.upscale(lr, model, tile=tile)
    assert set(seen) == {dtype}
    assert sr.dtype == torch.float32
    with torch.no_grad():
        expected = model(lr[None])[0]
    # float32 in another layout or in tiles, whose representation is a mean; bfloat16 keeps 8 bits.
    close = 0.02 if dtype == torch.bfloat16 or tile else 1e-5
    assert (sr - expected).abs().max() < close


# Files


def saved(tmp_path, pixels: np.ndarray, name: str = "picture.png"):
    Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path / name


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def test_a_file_is_its_picture(model, tmp_path, pixels):
    expected = inference.upscale(tensor(pixels), model)
    path = saved(tmp_path, pixels)
    assert torch.equal(inference.upscale(path, model), expected)
    assert torch.equal(inference.upscale(str(path), model), expected)


def test_a_grey_file_is_repeated(model, tmp_path, pixels):
    grey = pixels[..., 0]
    expected = inference.upscale(tensor(np.repeat(grey[..., None], 3, axis=2)), model)
    assert torch.equal(inference.upscale(saved(tmp_path, grey), model), expected)


def test_an_alpha_channel_is_composited_over_white(model, tmp_path, pixels):
    alpha = np.full((12, 15, 1), 255, np.uint8)
    alpha[:5] = 0
    white = pixels.copy()
    white[:5] = 255
    path = saved(tmp_path, np.concatenate([pixels, alpha], axis=2))
    assert torch.equal(inference.upscale(path, model), inference.upscale(tensor(white), model))


def test_a_file_that_is_no_picture(model, tmp_path):
    (tmp_path / "letter.png").write_text("Dear reader,")
    with pytest.raises(ValueError, match=r"letter\.png cannot be read as a picture"):
        inference.upscale(tmp_path / "letter.png", model)


def test_a_missing_file(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        inference.upscale(tmp_path / "gone.png", model)


# What is refused


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.full((1, 8, 8), 0.5), r"expected a picture \(3, H, W\), got \(1, 8, 8\)"),
        (torch.full((8, 8, 3), 0.5), r"got \(8, 8, 3\)"),
        (torch.full((1, 3, 8, 8), 0.5), r"got \(1, 3, 8, 8\)"),
        (torch.full((3, 8, 8), 200.0), r"\[0, 1\]"),
        (torch.full((3, 8, 8), -0.5), r"\[0, 1\]"),
        (torch.full((3, 8, 8), 200, dtype=torch.uint8), r"\[0, 1\]"),
        (torch.full((3, 8, 8), math.nan), r"\[0, 1\]"),
        (torch.full((3, 2, 2), 0.5), r"2×2"),
        (torch.zeros(3, 0, 8), r"0×8"),
    ],
    ids=["grey", "last", "batch", "bytes' range", "negative", "bytes", "nan", "tiny", "empty"],
)
def test_wrong_pictures_are_refused(model, image, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        inference.upscale(image, model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("tile", [0, -64, 31])
def test_small_tiles_are_refused(model, tile):
    with pytest.raises(ValueError, match=f"tile must be at least 32 LR pixels, got {tile}"):
        inference.upscale(picture(40, 40), model, tile=tile)


def test_float64_pictures_are_pictures_too(model):
    lr = picture(9, 12)
    assert torch.equal(inference.upscale(lr.double(), model), inference.upscale(lr, model))


def test_model_5_is_refused():
    with pytest.raises(ValueError, match="model5 is not blind: it needs the kernel and noise"):
        inference.upscale(picture(8, 8), build("model5", 4, "smoke"))


def test_unknown_weights_suggest_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'laptop/model4-x4-iso'"):
        inference.upscale(picture(8, 8), "laptop/model4-x4-is")


@pytest.mark.parametrize("tile", [None, 32])
def test_grey_stays_grey(tile):
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    chequers = ((rows // 3 + columns // 3) % 2).float().expand(3, -1, -1)
    sr = inference.upscale(chequers, DEFAULT_WEIGHTS, tile=tile)
    assert torch.equal(sr, sr[:1].expand(3, -1, -1))
    coloured = chequers.clone()
    coloured[0, 0, 0] = 0.5
    sr = inference.upscale(coloured, DEFAULT_WEIGHTS, tile=tile)
    assert not torch.equal(sr, sr[:1].expand(3, -1, -1))
