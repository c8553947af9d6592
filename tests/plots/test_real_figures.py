"""§4.4: the figures show the numbers and pictures that they are given."""

import matplotlib.pyplot as plt
import pytest
import torch

from dasrlib.plots import real_pictures as draw
from dasrlib.plots.packed_images import packed, unpacked
from dasrlib.resampling import resize_bicubic

NETWORKS = [name for name in draw.NETWORKS if name != "bicubic"]
LR = torch.randint(0, 256, (3, 6, 6)) / 255
SR = resize_bicubic(LR[None], 4)[0]


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_jpeg_is_smaller_and_comes_back_nearly():
    smooth = torch.linspace(0, 1, 64).expand(3, 64, 64)
    noisy = (smooth + 0.1 * torch.rand(3, 64, 64)).clamp(0, 1)
    assert len(packed(noisy, 90)) < len(packed(noisy))
    assert (unpacked(packed(smooth, 90)) - smooth).abs().max() < 0.02


def test_the_sheet_has_bicubic_beside_sr_and_the_nearest_degradation_below():
    found = {"name": "dog", "lr": packed(LR), "sr": {"net": packed(SR)},
             "nearest": "σ 0.2, noise 20, JPEG 80", "ratio": 0.773}  # fmt: skip
    figure = draw.contact_sheet({"reader": "net", "photographs": [found] * 5})
    assert [ax.get_title() for ax in figure.axes[:5]] == ["dog"] * 5
    assert figure.axes[0].get_xlabel() == "σ 0.2, noise 20, JPEG 80 (0.77)"
    shown = torch.as_tensor(figure.axes[0].images[0].get_array())
    assert shown.shape == (24, 24 + 4 + 24, 3)
    assert (shown[:, 28:] - unpacked(packed(SR)).permute(1, 2, 0)).abs().max() < 1e-6
    assert not figure.axes[5].axison


def test_large_crops_have_a_column_for_each_network():
    found = {"name": "dog", "lr": packed(LR), "sr": {n: packed(SR) for n in NETWORKS}}
    figure = draw.large_crops({"photographs": [found]})
    titles = ["LR", "bicubic", "isotropic", "anisotropic, noise", "anisotropic, noise, JPEG"]
    assert [ax.get_title() for ax in figure.axes] == titles


def test_curves_are_means_over_pictures_and_the_shade_ends_with_the_training():
    rows = {"bicubic": {"4": {"a": 20.0, "b": 30.0}, "5": {"a": 10.0, "b": 20.0}}}
    axis = {"rows": rows, "trained": 4.5}
    figure = draw.unseen({"dataset": "Set14", "width": axis, "noise": axis, "sigma": 1.2})
    for ax in figure.axes:
        (line,) = ax.lines
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([4, 5], [25, 15])
        assert ax.patches[0].get_x() + ax.patches[0].get_width() == 4.5


def test_two_degradations_show_maps_cosines_and_halves():
    maps = [
        {"picture": f"p{i}", "shown": packed(LR), "network": NETWORKS[0], "r2": 0.5,
         "widths": [[0.5, 3.5]]}
        for i in range(2)
    ]  # fmt: skip
    halves = {
        "a": {"left": {"own": 30.0, "whole": 29.0, "other": 25.0},
              "right": {"own": 28.0, "whole": 27.0, "other": 26.0}},
        "b": {"left": {"own": 32.0, "whole": 31.0, "other": 27.0},
              "right": {"own": 30.0, "whole": 29.0, "other": 28.0}},
    }  # fmt: skip
    data = {"widths": [0.4, 3.2], "maps": maps, "cosines": {"alike": [1.0, 0.9]}, "halves": halves}
    figure = draw.two_degradations(data)
    pictures = [ax for ax in figure.axes if ax.images and ax.get_label() != "<colorbar>"]
    assert len(pictures) == 4
    assert pictures[1].images[0].get_array().tolist() == [[0.5, 3.5]]
    (sources,) = [ax for ax in figure.axes if ax.get_title().startswith("restored")]
    assert [list(line.get_ydata()) for line in sources.lines] == [[31, 29], [30, 28], [26, 27]]
    (pairs,) = [ax for ax in figure.axes if "cosine" in ax.get_xlabel()]
    assert list(pairs.lines[0].get_xdata()) == [1.0, 0.9]
