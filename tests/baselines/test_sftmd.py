"""SFTMD: its numbers are the public code's, and the code arrives in every block."""

from __future__ import annotations

import pytest
import torch
from public_weights import RELATIVE, described, image, load_in_order, relative_error, state

from dasrlib import baselines
from dasrlib.baselines.sftmd import SFTMD, SMOKE, SftmdSizes
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.network import parameter_count

AS_RUN = SftmdSizes(blocks=2)


def sftmd(scale, sizes=SMOKE):
    return SFTMD(scale, DegradationSpace.isotropic(scale), sizes)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_network_agrees(golden, scale):
    arrays, name = golden("rivals"), f"ikc_sftmd_x{scale}"
    network = load_in_order(sftmd(scale, AS_RUN), state(golden, name))
    picture, code = image(arrays["picture"]), torch.from_numpy(arrays["ikc_code"])
    theirs = torch.from_numpy(arrays[f"ikc_sftmd_out_x{scale}"])
    assert relative_error(network.train()(picture, code), theirs) < RELATIVE
    # In evaluation its output is clamped; the golden one leaves [0, 1].
    assert theirs.max() > 1 or theirs.min() < 0
    assert relative_error(network.eval()(picture, code), theirs.clamp(0, 1)) < RELATIVE
    assert parameter_count(network) == described(golden, name)["parameters"]


COUNTS = {2: 4086979, 3: 4271619, 4: 4234691}


@pytest.mark.parametrize("scale", COUNTS)
def test_full_size_is_ikcs(scale):
    assert parameter_count(baselines.build("sftmd", scale, "paper")) == COUNTS[scale]


def test_the_code_arrives_in_every_sft_layer_and_not_in_the_input():
    network = sftmd(2, SftmdSizes(blocks=2, channels=8, hidden=4, tail_channels=4, code=15))
    assert network.conv1.in_channels == 3
    seen = []
    for module in network.modules():
        if isinstance(module, type(network.sft)):
            module.register_forward_hook(lambda m, given, out: seen.append(given[1]))
    code = torch.randn(2, 15)
    network(torch.rand(2, 3, 5, 7), code)
    assert len(seen) == 5
    for maps in seen:
        assert torch.equal(maps, code[:, :, None, None].expand(-1, -1, 5, 7))


def test_pixels_outside_0_to_1_have_a_gradient_in_training():
    network, lr = sftmd(2), torch.rand(1, 3, 6, 6)
    network.last.bias.data[:] = 5.0  # a bad start: all of it is above 1
    (loss,) = network.train().losses(torch.rand(1, 3, 12, 12), lr, Degradations.isotropic(1.0, 2))
    loss.backward()
    assert loss > 3
    assert (network.last.bias.grad < 0).sum() == 0
    assert network.last.bias.grad.abs().sum() > 0.5
    assert network.eval().restore(lr, Degradations.isotropic(1.0, 2)).max() == 1.0


def test_its_adam_and_its_slopes_are_ikcs():
    network = sftmd(4)
    assert network.betas == (0.9, 0.99)
    slopes = {
        layer.negative_slope for layer in network.upsampler if hasattr(layer, "negative_slope")
    }
    assert slopes == {0.2}
    assert isinstance(network.upsampler[-1], torch.nn.LeakyReLU)
    assert network.last.kernel_size == (9, 9)
