"""§3.2.2: the grouped convolution, the DA convolution on numbers small enough to check by hand,
and the five models."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import dasrlib
from dasrlib import network, profiles
from dasrlib.da_conv import DAConv, SpatialConcatConv
from dasrlib.degradation import Degradations
from dasrlib.grouped_conv import grouped_conv2d
from dasrlib.network import BlindSR, build, parameter_count
from dasrlib.systems import MODELS

SCALES = (2, 3, 4)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pictures(b: int, h: int, w: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(b, 3, h, w, generator=torch.Generator().manual_seed(seed))


# The grouped convolution


def naive(x: torch.Tensor, kernels: torch.Tensor) -> np.ndarray:
    """Pixel by pixel and tap by tap, in float64."""
    b, c, h, w = x.shape
    k = kernels.shape[-1]
    padded = np.pad(x.double().numpy(), ((0, 0), (0, 0), (k // 2,) * 2, (k // 2,) * 2))
    taps, out = kernels.double().numpy(), np.zeros((b, c, h, w))
    for sample in range(b):
        for channel in range(c):
            for i in range(h):
                for j in range(w):
                    window = padded[sample, channel, i : i + k, j : j + k]
                    out[sample, channel, i, j] = (window * taps[sample, channel]).sum()
    return out


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 3)])
@pytest.mark.parametrize("k", [1, 3, 5, 7, 21])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_grouped_conv_is_the_naive_loop(k, size, layout):
    x, kernels = numbers(2, 5, *size), numbers(2, 5, k, k, seed=1)
    got = grouped_conv2d(x.contiguous(memory_format=layout), kernels)
    assert got.shape == x.shape
    # Up to 56 products of order one in float32.
    np.testing.assert_allclose(got.numpy(), naive(x, kernels), rtol=0, atol=2e-5)
    exact = grouped_conv2d(x.double(), kernels.double())
    np.testing.assert_allclose(exact.numpy(), naive(x, kernels), rtol=0, atol=1e-12)


def test_grouped_conv_has_the_right_gradients():
    x = numbers(2, 3, 4, 5, dtype=torch.float64).requires_grad_()
    kernels = numbers(2, 3, 3, 3, seed=1, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(grouped_conv2d, (x, kernels))


@pytest.mark.parametrize(
    ("shape", "backend", "sentence"),
    [
        ((2, 4, 3, 3), "cuda-magic", "backend must be one of.*got 'cuda-magic'"),
        ((2, 4, 2, 2), "auto", "kernel size must be odd, got 2"),
        ((2, 4, 3, 5), "auto", r"kernels must be .* got \(2, 4, 3, 5\)"),
        ((2, 3, 3, 3), "auto", r"kernels must be .* got \(2, 3, 3, 3\)"),
        ((1, 4, 3, 3), "auto", r"kernels must be .* got \(1, 4, 3, 3\)"),
        ((8, 3, 3), "auto", r"kernels must be .* got \(8, 3, 3\)"),
    ],
)
def test_grouped_conv_refuses(shape, backend, sentence):
    with pytest.raises(ValueError, match=sentence):
        grouped_conv2d(numbers(2, 4, 6, 6), numbers(*shape), backend)


# The DA convolution, by hand


@torch.no_grad()
def test_da_conv_by_hand():
    conv = DAConv(channels=2, representation=2, kernel_size=1, reduction=1)
    conv.kernel[0].weight.copy_(torch.eye(2))
    conv.kernel[2].weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    conv.mix.weight.copy_(torch.tensor([[1.0, 10.0], [0.0, 1.0]])[:, :, None, None])
    conv.mix.bias.copy_(torch.tensor([0.5, 0.0]))
    conv.modulation[0].weight.copy_(torch.eye(2))
    conv.modulation[2].weight.copy_(math.log(3) * torch.eye(2))

    r = torch.tensor([[1.0, -10.0]])  # LeakyReLU(0.1) makes (1, −1) of it, in both branches
    # Kernels 2 and −3; coefficients σ(ln 3) = 3/4 and σ(−ln 3) = 1/4.
    torch.testing.assert_close(conv.kernels(r), torch.tensor([2.0, -3.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(conv.coefficients(r), torch.tensor([[0.75, 0.25]]))
    features = torch.tensor([[[[1.0, -2.0]], [[1.0, 2.0]]]])
    # Filtered (2, −4) and (−3, −6), LeakyReLU (2, −0.4) and (−0.3, −0.6). Mixed: the first plus
    # ten of the second plus a half, and the second itself; then F times its coefficient.
    expected = [[[[-0.5 + 0.75, -5.9 - 1.5]], [[-0.3 + 0.25, -0.6 + 0.5]]]]
    torch.testing.assert_close(conv(features, r), torch.tensor(expected))


@torch.no_grad()
def test_da_conv_writes_its_kernel_row_by_row():
    conv = DAConv(channels=1, representation=1, kernel_size=3, reduction=1, modulate=False)
    conv.kernel[0].weight.fill_(1.0)
    conv.kernel[2].weight.copy_(torch.arange(1.0, 10.0)[:, None])
    conv.mix.weight.fill_(1.0)
    conv.mix.bias.fill_(0.0)
    assert conv.kernels(torch.ones(1, 1))[0, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    point = torch.zeros(1, 1, 3, 3)
    point[..., 1, 1] = 1
    # A network's convolution correlates: a point comes out as the kernel turned by 180°.
    assert conv(point, torch.ones(1, 1))[0, 0].tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]


def test_da_conv_treats_each_sample_by_its_own_representation():
    conv, features, r = DAConv(8, 6, reduction=2), numbers(3, 8, 5, 7), numbers(3, 6, seed=1)
    together = conv(features, r)
    alone = torch.cat([conv(features[i : i + 1], r[i : i + 1]) for i in range(3)])
    # The same float32 sums of 9 products and then 8, in batches of another size.
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    swapped = conv(features, r.flip(0))
    torch.testing.assert_close(swapped[1], together[1], rtol=0, atol=1e-5)
    assert (swapped[0] - together[0]).abs().max() > 1e-2


@pytest.mark.parametrize("modulate", [False, True])
def test_da_conv_is_what_the_fused_call_computes(modulate):
    conv, features, r = DAConv(8, 6, 3, 2, modulate), numbers(3, 8, 5, 7), numbers(3, 6, seed=1)
    # On a CPU the fused call is its reference: the same operations in the same order.
    assert torch.equal(conv(features, r), conv.fused(features, r))
    activated = conv.fused(features, r, activation="leaky_relu")
    assert torch.equal(activated, F.leaky_relu(conv(features, r), 0.1))


def test_da_conv_without_modulation():
    conv = DAConv(8, 6, reduction=2, modulate=False)
    assert not [name for name, _ in conv.named_parameters() if "modulation" in name]
    with pytest.raises(ValueError, match="no modulation branch"):
        conv.coefficients(numbers(1, 6))


def test_da_conv_refuses_an_even_kernel():
    with pytest.raises(ValueError, match="kernel size must be odd, got 4"):
        DAConv(kernel_size=4)


def test_concat_conv_reads_representation_and_features():
    conv, features = SpatialConcatConv(8, 4), numbers(2, 8, 5, 7)
    out = conv(features, numbers(2, 4))
    assert out.shape == features.shape
    assert (conv(features, numbers(2, 4, seed=1)) - out).abs().max() > 1e-2
    assert (conv(features + 1, numbers(2, 4)) - out).abs().max() > 1e-2


# The models


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", MODELS)
def test_models_build_and_enlarge(name, scale):
    model = build(name, scale, "smoke").eval()
    blind = model.needs == "nothing"
    told = {} if blind else {"degradations": Degradations.isotropic([0.7, 1.4], scale)}
    lr = pictures(2, 9, 13)
    with torch.no_grad():
        sr = model(lr, **told)
        representation = model.represent(lr, **told)
    assert sr.shape == (2, 3, 9 * scale, 13 * scale)
    assert representation.shape == (2, 256)
    assert torch.equal(model.sr(lr, representation), sr)
    # Each picture by its own representation, whatever else is in the batch.
    one = {"degradations": told["degradations"][1]} if told else {}
    with torch.no_grad():
        alone = model(lr[1:], **one)
    # The same float32 sums in batches of another size, on features up to 255 and back to 1.
    torch.testing.assert_close(alone, sr[1:], rtol=0, atol=1e-4)


def test_the_five_models_differ_as_the_paper_says():
    parts = {name: {type(m).__name__ for m in build(name, 4, "smoke").modules()} for name in MODELS}
    assert parts["model1"] == parts["model4"]
    assert "DAConv" not in parts["model2"]
    assert "SpatialConcatConv" not in parts["model4"]
    assert "SpatialConcatConv" in parts["model2"]
    assert "Sigmoid" not in parts["model3"]
    assert "Sigmoid" in parts["model4"]
    assert "DegradationEncoder" in parts["model5"]
    assert "BatchNorm2d" not in parts["model5"]
    told = build("model5", 4, "smoke").encoder
    assert sum(isinstance(m, torch.nn.Linear) for m in told.modules()) == 5
    assert [name for name, model in MODELS.items() if not model.contrastive] == ["model1", "model5"]


def test_models_at_the_papers_size_have_its_parameters():
    model4 = build("model4", 4, "paper")
    # §3.2.2, counted from the released code: 4.69 M and 1.28 M.
    assert parameter_count(model4.sr) == pytest.approx(4.69e6, abs=0.005e6)
    assert parameter_count(model4.encoder) == pytest.approx(1.28e6, abs=0.005e6)


@pytest.mark.parametrize("profile", ["laptop", "paper"])
def test_model_2_is_as_large_as_model_4(profile):
    two, four = (parameter_count(build(name, 4, profile).sr) for name in ("model2", "model4"))
    assert abs(two / four - 1) < 0.05


def test_model_5_hears_the_degradation():
    model, lr = build("model5", 2, "smoke").eval(), pictures(2, 8, 8)
    with pytest.raises(ValueError, match="model5 is not blind"):
        model(lr)
    with torch.no_grad():
        for layer in (*model.encoder.modules(), model.sr.compress[0]):
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_(4)  # five layers of the default weights leave a whisper
        blurred, noisy = (
            model(lr, Degradations.isotropic([1.0, 1.0], 2)),
            model(lr, Degradations.isotropic([1.0, 1.0], 2, noise=20.0)),
        )
    assert (blurred - noisy).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (lambda: build("modle4"), "no model is named 'modle4': did you mean 'model4'"),
        (lambda: build("Model3"), "did you mean 'model3'"),
        (lambda: build("model4", 4, "labtop"), "no profile is named .*did you mean 'laptop'"),
        (lambda: build("model4", 5, "smoke"), "scale must be 2, 3 or 4, got 5"),
        (lambda: build("model4", 1, "smoke"), "scale must be 2, 3 or 4, got 1"),
    ],
)
def test_unknown_is_refused_with_the_nearest(refused, sentence):
    with pytest.raises(ValueError, match=sentence):
        refused()


@pytest.fixture(scope="module")
def model() -> BlindSR:
    """A tiny Model 4 whose representation says much: the default weights whisper."""
    torch.manual_seed(1)
    built = build("model4", 4, "smoke").eval()
    with torch.no_grad():
        built.sr.compress[0].weight.mul_(20)
    return built


@torch.no_grad()
def test_a_wrong_representation_changes_the_output(model):
    lr = pictures(2, 10, 12)
    right = model.represent(lr)
    own = model(lr)
    # What is given is what is used: the same sums, once through and once in two steps.
    assert torch.equal(model(lr, representation=right), own)
    wrong = model(lr, representation=right + numbers(2, 256))
    assert (wrong - own).abs().max() > 1e-3  # a quarter of a grey level


@torch.no_grad()
@pytest.mark.parametrize("size", [(12, 12), (9, 22)])
def test_channels_last_agrees(model, size):
    lr = pictures(2, *size)
    expected = model(lr)
    laid_out = build("model4", 4, "smoke").eval()
    laid_out.load_state_dict(model.state_dict())
    laid_out = laid_out.to(memory_format=torch.channels_last)
    got = laid_out(lr.to(memory_format=torch.channels_last))
    # float32 sums in another order, on features up to 255 and back to [0, 1].
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", [(12, 12), (9, 22)])
def test_bfloat16_autocast_agrees(model, size):
    lr = pictures(2, *size)
    expected = model(lr)
    with torch.autocast("cpu", torch.bfloat16):
        got = model(lr).float()
    # bfloat16 keeps 8 bits: each of ten layers adds up to 0.4 % of what the network puts on top of
    # the mean colour, and such errors add like noise: about 1 %.
    spread = (expected - model.sr.mean).abs().max()
    assert (got - expected).abs().max() < 0.03 * spread
    assert not torch.equal(got, expected)  # bfloat16 was really used


@torch.no_grad()
@pytest.mark.parametrize("profile", ["smoke", "laptop"])
@pytest.mark.parametrize("scale", SCALES)
def test_init_as_nearest_neighbour_repeats_pixels(scale, profile):
    built, lr = build("model4", scale, profile).eval(), pictures(2, 12, 10)
    nearest = F.interpolate(lr, scale_factor=scale, mode="nearest")
    before = (built(lr) - nearest).abs().mean()
    built.sr.init_as_nearest_neighbour()
    after = (built(lr) - nearest).abs().mean()
    # What comes from the other channels starts at a tenth of its size: small, not zero.
    assert after < 0.05
    assert after < before / 4


@torch.no_grad()
def test_the_mean_is_no_weight():
    model = build("model4", 2, "smoke")
    assert not [key for key in model.state_dict() if "mean" in key and "running" not in key]
    assert tuple(model.sr.mean.flatten().tolist()) == pytest.approx((0.4488, 0.4371, 0.4040))


def test_nothing_in_the_package_calls_cuda():
    for path in sorted(Path(dasrlib.__file__).parent.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not re.search(r"\.cuda\(|device\s*=\s*[\"']cuda", line), f"{path.name}:{number}"


def test_parameter_count_counts_what_is_trained():
    layer = torch.nn.Linear(3, 4)
    assert network.parameter_count(layer) == 16
    layer.bias.requires_grad_(False)
    assert network.parameter_count(layer) == 12


@pytest.mark.parametrize(("h", "w", "side"), [(32, 32, 32), (70, 33, 32), (20, 64, 32), (9, 9, 4)])
def test_patches_cover_a_picture_and_nothing_beside_it(h, w, side):
    places = torch.arange(h * w).reshape(1, 1, h, w)
    patches = network.covering_patches(places, side)
    assert patches.shape[3:] == (min(h, side), min(w, side))
    assert set(patches.flatten().tolist()) == set(range(h * w))


def test_a_large_picture_is_represented_as_the_mean_of_its_patches():
    torch.manual_seed(0)
    model = BlindSR(4, profiles.get("smoke").sizes, "model4", "high-pass", patch=16).eval()
    picture = torch.rand(2, 3, 32, 16)
    with torch.inference_mode():
        halves = [model.encoder(half)[0] for half in picture.chunk(2, dim=2)]
        torch.testing.assert_close(model.represent(picture), (halves[0] + halves[1]) / 2)
        whole = model.encoder(picture)[0]
    assert not torch.allclose(model.represent(picture), whole, atol=1e-3)


@pytest.mark.parametrize(("profile", "patch"), [("laptop", 32), ("gpu", 48), ("paper", None)])
def test_short_profiles_represent_patches_and_the_papers_whole_pictures(profile, patch):
    with torch.device("meta"):
        assert network.build("model4", 4, profile).patch == patch
