"""§4: the metrics against their formulas, the benchmark, and the bicubic table as measured."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import signal

from dasrlib import data, evaluation, paper
from dasrlib.degradation import Degradations, degrade, quantise, resize_bicubic
from dasrlib.network import build
from dasrlib.records.run_record import Measurement
from dasrlib.systems import Needs


def picture(h: int = 24, w: int = 30, seed: int = 0) -> torch.Tensor:
    """An 8-bit picture, smooth enough to look like one: noise enlarged four times."""
    noise = torch.rand(1, 3, h // 4 + 1, w // 4 + 1, generator=torch.Generator().manual_seed(seed))
    return quantise(resize_bicubic(noise, 4))[0, :, :h, :w]


def nearby(image: torch.Tensor, deviation: float = 0.05, seed: int = 9) -> torch.Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return image + deviation * noise


def y_of(image: torch.Tensor, shave: int) -> np.ndarray:
    """BT.601's Y of an 8-bit picture, as ITU writes it for 0..255, less the border."""
    red, green, blue = np.clip(np.round(image.double().numpy() * 255), 0, 255)
    y = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    return y[shave : y.shape[0] - shave, shave : y.shape[1] - shave]


# The metrics


@pytest.mark.parametrize("shave", [0, 3, 4])
def test_psnr_is_the_formula(shave):
    hr = picture()
    sr = nearby(hr)
    error = ((y_of(sr, shave) - y_of(hr, shave)) ** 2).mean()
    # The 8-bit pictures are float32 numbers, 6e-8 off.
    expected = 10 * math.log10(255**2 / error)
    assert evaluation.psnr_y(sr, hr, shave) == pytest.approx(expected, abs=1e-4)
    assert evaluation.psnr_y(sr[None], hr[None], shave) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shave", [0, 3])
def test_ssim_is_the_formula(shave):
    hr = picture()
    sr = nearby(hr)
    a, b = y_of(sr, shave), y_of(hr, shave)
    axis = np.arange(-5, 6)
    line = np.exp(-(axis**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def mean(values: np.ndarray) -> np.ndarray:
        return signal.convolve2d(values, window, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    numerator = (2 * mean(a) * mean(b) + c1) * (2 * covariance + c2)
    expected = (numerator / ((mean(a) ** 2 + mean(b) ** 2 + c1) * (variances + c2))).mean()
    assert 0.3 < expected < 0.99
    # float32 pictures against exact ones, as above.
    assert evaluation.ssim_y(sr, hr, shave) == pytest.approx(expected, abs=1e-5)
    assert evaluation.ssim_y(sr[None], hr[None], shave) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("metric", [evaluation.psnr_y, evaluation.ssim_y])
def test_what_is_shaved_does_not_count_and_the_rest_does(metric):
    hr = picture()
    sr = nearby(hr)
    framed = 1 - sr
    framed[:, 4:-4, 4:-4] = sr[:, 4:-4, 4:-4]
    assert metric(framed, hr, 4) == metric(sr, hr, 4)
    assert metric(framed, hr, 3) < metric(sr, hr, 3)


@pytest.mark.parametrize("shave", [0, 4])
def test_equal_pictures(shave):
    hr = picture()
    assert evaluation.psnr_y(hr, hr, shave) == math.inf
    assert evaluation.ssim_y(hr, hr, shave) == pytest.approx(1, abs=1e-12)


def test_sr_is_rounded_and_clamped_before_it_is_measured():
    hr = quantise(picture().round() * 0.6 + picture() * 0.4)
    assert evaluation.psnr_y(hr + 0.4 / 255, hr, 0) == math.inf
    # One level on every pixel: 255/219 of a Y step of the studio range.
    one_level = 20 * math.log10(255 / (219 / 255))
    inside = hr.clamp(max=254 / 255)
    assert evaluation.psnr_y(inside + 0.6 / 255, inside, 0) == pytest.approx(one_level, abs=1e-3)
    white = torch.ones(3, 20, 20)
    white[:, ::2] = 0.8
    beyond = torch.where(white == 1, torch.tensor(1.7), white)
    assert evaluation.psnr_y(beyond, white, 0) == math.inf


def test_luminance_weighs_the_colours():
    colours = torch.eye(3)[:, :, None]  # three pixels: red, green and blue
    expected = torch.tensor([16 + 65.481, 16 + 128.553, 16 + 24.966], dtype=torch.float64)
    torch.testing.assert_close(evaluation.luminance(colours)[:, 0], expected)


@pytest.mark.parametrize("metric", [evaluation.psnr_y, evaluation.ssim_y])
@pytest.mark.parametrize(
    ("shape", "shave", "sentence"),
    [
        ((3, 24, 28), 0, r"SR is \(3, 24, 28\) and HR is \(3, 24, 30\)"),
        ((1, 3, 24, 30), 0, r"SR is \(1, 3, 24, 30\) and HR is \(3, 24, 30\)"),
        ((3, 24, 30), 12, "nothing is left of .* after shaving 12"),
    ],
)
def test_metrics_refuse(metric, shape, shave, sentence):
    with pytest.raises(ValueError, match=sentence):
        metric(torch.rand(shape), picture(), shave)


def test_ssim_refuses_what_is_smaller_than_its_window():
    small = picture(10, 20)
    with pytest.raises(ValueError, match=r"11"):
        evaluation.ssim_y(nearby(small), small, 0)


@pytest.mark.parametrize("metric", [evaluation.psnr_y, evaluation.ssim_y])
def test_metrics_refuse_several_pictures_at_once(metric):
    several = torch.stack([picture(seed=i) for i in range(12)])
    with pytest.raises(ValueError, match=r"12"):
        metric(nearby(several), several, 0)


# The benchmark

IMAGES = [("first", picture(27, 34)), ("second", picture(32, 26, seed=1))]
GRID = evaluation.isotropic_degradations(2, (0, 1.5))


def test_benchmark_is_one_row_for_each_picture_and_degradation():
    rows = evaluation.benchmark(evaluation.Bicubic(2), IMAGES, GRID)
    assert [(row.degradation, row.picture) for row in rows] == [
        (0, "first"),
        (0, "second"),
        (1.5, "first"),
        (1.5, "second"),
    ]
    hr = IMAGES[0][1][:, :26]
    lr = degrade(hr[None], GRID[1.5], backend="fast")
    sr = resize_bicubic(lr, 2)[0]
    assert rows[2].psnr == evaluation.psnr_y(sr, hr, 2)
    assert rows[2].ssim == evaluation.ssim_y(sr, hr, 2)
    assert {(row.system, row.seed) for row in rows} == {("bicubic", 0)}
    assert all(row.seconds > 0 for row in rows)
    by_width = evaluation.mean_by_degradation(rows)
    assert list(by_width) == [0, 1.5]
    assert by_width[1.5] == pytest.approx((rows[2].psnr + rows[3].psnr) / 2)
    assert by_width[0] > by_width[1.5]
    ssim = evaluation.mean_by_degradation(rows, "ssim")
    assert ssim[0] == pytest.approx((rows[0].ssim + rows[1].ssim) / 2)


def test_benchmark_draws_the_same_noise_for_the_same_seed():
    noisy = {"noise": Degradations.isotropic(1.0, 2, noise=20)}

    def measured(seed: int) -> list[Measurement[str]]:
        return evaluation.benchmark(evaluation.Bicubic(2), IMAGES, noisy, seed)

    assert measured(1) == measured(1)
    assert measured(1) != measured(2)


def test_benchmark_reads_a_folder(tmp_path):
    for name, image in IMAGES:
        data.save_image(image, tmp_path / f"{name}.png")
    from_folder = evaluation.benchmark(evaluation.Bicubic(2), str(tmp_path), GRID)
    assert from_folder == evaluation.benchmark(evaluation.Bicubic(2), IMAGES, GRID)


@pytest.mark.parametrize("name", ["model4", "model5"])
def test_benchmark_takes_networks_and_tells_model_5(name):
    torch.manual_seed(0)
    model = build(name, 2, "smoke").train()
    rows = evaluation.benchmark(model, IMAGES, GRID)
    assert len(rows) == 4
    assert not model.training
    told = {"degradations": GRID[1.5]} if name == "model5" else {}
    hr = IMAGES[1][1]
    with torch.no_grad():
        sr = model(degrade(hr[None], GRID[1.5], backend="fast"), **told)[0]
    # A second pass through the same float32 network.
    assert rows[3].psnr == pytest.approx(evaluation.psnr_y(sr, hr, 2), abs=1e-3)


def test_a_network_computes_in_the_dtype_that_is_asked_for():
    seen = []
    model = build("model4", 4, "smoke").eval()
    model.sr.head.register_forward_hook(lambda module, inputs, out: seen.append(out.dtype))
    picture, sharp = torch.rand(3, 64, 64), {0.0: Degradations.isotropic(0.0, 4)}
    for dtype in (torch.float32, torch.bfloat16):
        evaluation.benchmark(model, [("noise", picture)], sharp, dtype=dtype)
    assert seen == [torch.float32, torch.bfloat16]


def test_isotropic_degradations_are_found_by_their_widths():
    grid = evaluation.isotropic_degradations(4, (0, 1.2, 3.6))
    assert {width: float(d.lambda1) for width, d in grid.items()} == pytest.approx(
        {0.0: 0.0, 1.2: 1.2, 3.6: 3.6}
    )
    assert {d.scale for d in grid.values()} == {4}


class Watched:
    """A system that notes what it is handed."""

    name, scale = "watched", 2

    def __init__(self, needs: Needs) -> None:
        self.needs, self.handed = needs, []

    def restore(self, lr, degradation=None):
        self.handed.append(degradation)
        return resize_bicubic(lr, self.scale)


def test_a_blind_system_never_sees_the_degradation():
    for needs in ("nothing", "kernel", "kernel and noise"):
        system = Watched(needs)
        rows = evaluation.benchmark(system, IMAGES, GRID)
        one_each = [d for d in GRID.values() for _ in IMAGES]
        assert system.handed == ([None] * 4 if needs == "nothing" else one_each)
        assert [row.psnr for row in rows] == [
            row.psnr for row in evaluation.benchmark(evaluation.Bicubic(2), IMAGES, GRID)
        ]


# Representations of a set


def test_representations_are_grouped_by_degradation():
    torch.manual_seed(0)
    model = build("model4", 2, "smoke")
    vectors, names, labels = evaluation.representations(model, IMAGES, GRID)
    assert vectors.shape == (4, 256)
    assert names == ["first", "second", "first", "second"]
    assert labels == [0, 0, 1.5, 1.5]
    with torch.no_grad():
        lr = degrade(IMAGES[1][1][None], GRID[1.5], backend="fast")
        expected = model.eval().represent(lr)[0]
    # The same float32 sums in a second pass.
    torch.testing.assert_close(vectors[3], expected, rtol=1e-4, atol=1e-6)
    assert (vectors[2] - vectors[0]).abs().max() > 1e-4


def test_representations_of_model_5_depend_on_the_degradation_alone():
    model = build("model5", 2, "smoke")
    vectors, _, _ = evaluation.representations(model, IMAGES, GRID)
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


# Plain bicubic enlargement: every cell of the measured table

TABLE = [(name, scale) for name in ("Set5", "Set14", "B100") for scale in paper.SCALES]


@pytest.fixture(scope="module")
def dataset(dasr_data):
    """The pictures of a dataset, kept: they are read once for three scales."""
    kept: dict[str, list[tuple[str, torch.Tensor]]] = {}

    def load(name: str) -> list[tuple[str, torch.Tensor]]:
        if data.available()[name] is None:
            pytest.skip(f"{name} is not on this machine")
        if name not in kept:
            kept.clear()
            kept[name] = data.images(name)
        return kept[name]

    return load


@pytest.mark.parametrize(
    ("name", "scale"),
    [pytest.param(*cell, marks=pytest.mark.slow if cell[0] == "B100" else ()) for cell in TABLE],
)
def test_bicubic_gives_the_measured_table(dataset, monkeypatch, name, scale):
    # The table holds PSNR alone, and SSIM would take longer than everything else but the blur.
    monkeypatch.setattr(evaluation, "ssim_y", lambda *_: math.nan)
    widths = paper.kernel_widths(scale)
    grid = evaluation.isotropic_degradations(scale, widths)
    # σ = 0 is the kernel with a single 1, at any size: of size 1 it costs nothing.
    grid[0.0] = replace(grid[0.0], kernels=torch.ones(1, 1, 1))
    measured = evaluation.mean_by_degradation(
        evaluation.benchmark(evaluation.Bicubic(scale), dataset(name), grid)
    )
    for width in widths:
        # The table is rounded to 0.005 dB; float32 sums and 8-bit ties may move a mean as much.
        expected = paper.reference_bicubic(scale)[name][width]
        assert measured[width] == pytest.approx(expected, abs=0.02), f"σ = {width}"
