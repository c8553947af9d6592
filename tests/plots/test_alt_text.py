"""What is written on a figure is said to those who do not see it."""

import matplotlib.pyplot as plt
import pytest
import torch

from dasrlib.plots.alt_text import LONGEST, describe
from dasrlib.plots.style import image_axes


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_says_title_axes_and_legend():
    figure, ax = plt.subplots()
    ax.plot([0, 1], label="Model 1")
    ax.plot([1, 0], label="Model 4")
    ax.set(title="Set14 ×4", xlabel="kernel width $σ$", ylabel="PSNR-Y, dB")
    ax.legend()
    assert describe(figure) == (
        "Set14 ×4, PSNR-Y, dB against kernel width σ, lines: Model 1, Model 4"
    )


def test_names_the_pictures_in_their_order_and_the_heading_first():
    figure, axes = plt.subplots(1, 2)
    for ax, title, note in zip(axes, ("HR", "LR"), ("", "22.8 dB"), strict=True):
        image_axes(ax, torch.rand(3, 8, 8), title, note)
    figure.suptitle("One picture")
    assert describe(figure) == "One picture; HR; LR, 22.8 dB"


def test_a_diagram_is_the_words_in_it_and_a_scale_is_no_panel():
    figure, (left, right) = plt.subplots(1, 2)
    left.axis("off")
    left.text(0, 0, "encoder")
    left.text(1, 0, "head")
    figure.colorbar(right.imshow([[0, 1]]), label="PSNR lost, dB")
    assert describe(figure) == "encoder, head; colour: PSNR lost, dB"


def test_is_never_empty_and_never_long():
    assert describe(plt.figure()) == "A figure without words"
    figure, axes = plt.subplots(5, 20)
    for number, ax in enumerate(axes.flat):
        ax.set_title(f"panel {number}")
    text = describe(figure)
    assert len(text) <= LONGEST
    assert text.endswith("…")
