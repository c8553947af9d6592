"""SRCNN: its numbers are the public code's, and it sharpens Y alone."""

from __future__ import annotations

import pytest
import torch
from public_weights import RELATIVE, image, load_in_order, relative_error, state

from dasrlib import baselines, evaluation
from dasrlib.baselines.srcnn import FULL, SMOKE, SRCNN, luminance
from dasrlib.degradation import Degradations, resize_bicubic
from dasrlib.network import parameter_count


def test_the_network_agrees(golden):
    arrays = golden("rivals")
    network = load_in_order(SRCNN(4, FULL), state(golden, "srcnn"))
    out = network.sharpen(image(arrays["picture"])[:, :1])
    assert relative_error(out, arrays["srcnn_out"]) < RELATIVE


def test_full_size_is_the_papers_at_every_scale():
    assert [parameter_count(baselines.build("srcnn", s, "paper")) for s in (2, 3, 4)] == [57281] * 3


@torch.no_grad()
def test_only_the_luminance_changes_and_a_network_that_copies_gives_bicubic():
    network, lr = SRCNN(2, SMOKE).eval(), torch.rand(1, 3, 9, 7)
    enlarged, sr = resize_bicubic(lr, 2), network.restore(lr)
    # The Y that the network gave is the Y of the picture, as the score reads it, on its own range.
    wanted = network.sharpen(luminance(enlarged))[:, 0] * 255
    torch.testing.assert_close(evaluation.luminance(sr).float(), wanted, rtol=0, atol=1e-3)
    difference = sr - enlarged  # without Cb and Cr, the three channels differ by as much
    torch.testing.assert_close(difference[:, 0], difference[:, 2], rtol=0, atol=1e-6)
    assert difference.abs().max() > 0.1
    network.sharpen = lambda y: y
    torch.testing.assert_close(network(lr), enlarged)


def test_the_loss_is_on_y_and_the_last_layer_learns_ten_times_slower():
    network, lr = SRCNN(2, SMOKE), torch.rand(2, 3, 5, 5)
    network.sharpen = lambda y: y
    hr = resize_bicubic(lr, 2)
    degradations = Degradations.isotropic([0.0, 0.0], 2)
    (loss,) = network.losses(hr + 0.1, lr, degradations)
    # A grey step of 0.1 is 0.1·219/255 of Y. In RGB it would be 0.1 itself.
    assert float(loss) == pytest.approx((0.1 * 219 / 255) ** 2, rel=1e-4)
    first, last = SRCNN(2).parameter_groups(1e-4)
    assert (first["lr"], last["lr"]) == pytest.approx((1e-4, 1e-5))
    assert [p.shape[0] for p in last["params"]] == [1, 1]
    assert sum(p.numel() for g in (first, last) for p in g["params"]) == 57281
