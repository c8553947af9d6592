"""RCAN: its numbers are the public code's, on 0..255, with the mean taken off and put back."""

from __future__ import annotations

import pytest
import torch
from public_weights import RELATIVE, described, image, load_in_order, relative_error, state

from dasrlib import baselines, paper
from dasrlib.baselines.rcan import RCAN, SMOKE, RcanSizes
from dasrlib.network import parameter_count

AS_RUN = RcanSizes(groups=2, blocks=2, channels=16, reduction=4, tail_channels=16)
SHIFTS = 24  # parameters of the two shifts by the mean in the public class


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_network_agrees(golden, scale):
    arrays = golden("rivals")
    network = load_in_order(RCAN(scale, AS_RUN), state(golden, f"rcan_x{scale}"))
    sr = network.restore(image(arrays["picture"])) * 255
    assert relative_error(sr, arrays[f"rcan_out_x{scale}"]) < RELATIVE
    assert parameter_count(network) == described(golden, f"rcan_x{scale}")["parameters"] - SHIFTS


@pytest.mark.parametrize(("scale", "released"), [(2, 15444667), (3, 15629307), (4, 15592379)])
def test_full_size_is_the_papers_without_the_shifts(scale, released):
    with torch.device("meta"):
        network = baselines.build("rcan", scale, "paper")
    assert parameter_count(network) == released - SHIFTS


def test_the_mean_is_a_constant():
    network = RCAN(2, SMOKE)
    (group,) = network.parameter_groups(1e-4)
    assert all(p is not network.mean for p in group["params"])
    assert not network.mean.requires_grad
    # A picture that is the mean everywhere is black to the convolutions.
    grey = torch.tensor(paper.RGB_MEAN).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(network(grey), grey.repeat_interleave(2, 2).repeat_interleave(2, 3))
