"""The panels that most figures are made of show the numbers they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dasrlib.plots import bars, curves, panels, picture_grid, pictures
from dasrlib.plots.packed_images import packed, unpacked


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_pictures_stand_in_their_rows_under_their_titles():
    first, second = torch.rand(2, 3, 4, 6), torch.rand(2, 4, 6)
    _, axes = picture_grid({"LR": first, "kernel": second}, ["a", "b"])
    assert [ax.get_title() for ax in axes[0]] == ["a", "b"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["LR", "kernel"]
    assert np.array_equal(axes[0, 1].images[0].get_array(), first[1].permute(1, 2, 0))
    assert np.array_equal(axes[1, 0].images[0].get_array(), second[0])


def test_pictures_of_one_row_have_their_notes():
    figure = pictures({"LR": torch.rand(3, 4, 4), "SR": torch.rand(3, 16, 16)}, ["", "25.0 dB"])
    found = [(ax.get_title(), ax.get_xlabel()) for ax in figure.axes]
    assert found == [("LR", ""), ("SR", "25.0 dB")]


def test_curves_start_at_one_where_no_x_is_given():
    (ax,) = curves({"a": [3.0, 4.0], "b": [5.0]}, marks={"here": 1.5}, xlabel="step").axes
    a, b, here = ax.lines
    assert (list(a.get_xdata()), list(a.get_ydata())) == ([1, 2], [3.0, 4.0])
    assert list(b.get_xdata()) == [1]
    assert here.get_xdata() == [1.5, 1.5]
    assert ax.get_xlabel() == "step"
    assert a.get_linestyle() != b.get_linestyle()


def test_bars_say_their_numbers():
    (ax,) = bars({"many": 36864, "few": 0.25}, "weights").axes
    assert [bar.get_width() for bar in ax.patches] == [36864, 0.25]
    assert [text.get_text() for text in ax.texts] == ["36,864", "0.25"]


def test_ink_of_a_heat_map_differs_from_its_cell():
    _, ax = plt.subplots()
    panels.heat_map(ax, [[0.0, 1.0]])
    assert [(t.get_text(), t.get_color()) for t in ax.texts] == [
        ("0.00", "white"),
        ("1.00", "black"),
    ]


def test_signed_values_are_red_above_zero_and_blue_below():
    picture = panels.signed(torch.tensor([[2.0, -2.0]]), 2.0)
    assert picture.shape == (3, 1, 2)
    red, _, blue = picture[:, 0]
    assert red[0] > blue[0]
    assert red[1] < blue[1]


def test_a_packed_picture_comes_back():
    picture = torch.randint(0, 256, (3, 5, 7)) / 255
    assert torch.equal(unpacked(packed(picture)), picture.float())
