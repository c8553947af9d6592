"""§4.1: the figures of a run's losses show what was measured, and tint what is a worry."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pytest
import torch

from dasrlib.plots import training


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


LOG = [
    {"iteration": 25, "stage": 1, "contrastive": math.log(12)},
    {"iteration": 50, "stage": 1, "contrastive": math.log(8)},
    {"iteration": 75, "stage": 2, "contrastive": math.log(3), "sr": 9.0, "psnr": {"0": 26.0}},
    {"iteration": 100, "stage": 2, "contrastive": math.log(2), "sr": 8.0, "psnr": {"0": 27.5}},
]


def lines(ax) -> list[list[float]]:
    return [[float(y) for y in line.get_ydata()] for line in ax.lines]


def test_candidates_are_the_exponential_of_the_loss_stage_by_stage():
    (ax,) = training.effective_candidates({"log": LOG, "batches": [16, 8]}).axes
    assert lines(ax) == [pytest.approx([12, 8]), pytest.approx([3, 2])]
    tops = [part.get_paths()[0].get_extents() for part in ax.collections]
    assert [(area.x0, area.x1, area.y1) for area in tops] == [(0, 50, 16), (50, 100, 8)]


def test_gains_are_above_bicubic_and_the_worry_below_it():
    (ax,) = training.psnr_gains({"log": LOG, "bicubic": {"0": 26.5}}).axes
    assert lines(ax)[0] == pytest.approx([-0.5, 1.0])
    (worry,) = ax.collections
    area = worry.get_paths()[0].get_extents()
    assert (area.x0, area.y1) == (20, 0)
    assert area.y0 < -0.5


def test_sr_losses_are_averaged_batch_by_batch():
    data = {"methods": {"m": [1, 3, 5, 7, 100]}, "widths": [1, 2, 3, 4, 5], "batch": 2}
    each, means = training.sr_losses(data).axes
    assert lines(each) == [[1, 3, 5, 7, 100]]
    assert lines(means) == [[2, 6]]  # what is left over makes no batch


def test_observer_shows_guessing_and_what_was_measured():
    data = {
        "errors": [0.1, 1.0],
        "losses": {"8": [0.6, 2.0], "16": [1.1, 2.7]},
        "measured": {"batch": 8, "loss": 0.75},
    }
    (ax,) = training.loss_vs_sigma_error(data).axes
    flat = [line[0] for line in lines(ax) if len(set(line)) == 1]
    assert flat == pytest.approx([math.log(8), math.log(16), 0.75])


def test_games_have_a_panel_for_each_encoder():
    even = {"loss": math.log(2), "chosen": [[0.5, 0.5], [0.5, 0.5]]}
    right = {"loss": 0.0, "chosen": [[1.0, 0.0], [0.0, 1.0]]}
    figure = training.contrastive_game(
        {"widths": [0.5, 2], "encoders": {"new": even, "taught": right}}
    )
    assert [ax.get_title() for ax in figure.axes[:2]] == ["new: loss 0.69", "taught: loss 0.00"]
    assert figure.axes[1].images[0].get_array().tolist() == right["chosen"]


def test_example_marks_the_squares_that_are_cut_out():
    photograph = torch.rand(3, 60, 80)
    data = {
        "photograph": photograph,
        "corners": [(4, 10), (20, 40)],
        "hr": torch.rand(2, 3, 32, 32),
        "lr": torch.rand(2, 3, 8, 8),
        "width": 2.0,
    }
    figure = training.one_pair(data)
    squares = [(p.get_x() + 0.5, p.get_y() + 0.5, p.get_width()) for p in figure.axes[0].patches]
    assert squares == [(10, 4, 32), (40, 20, 32)]
    assert len(figure.axes) == 5
