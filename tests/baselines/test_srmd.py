"""SRMD and SRMDNF: their numbers are the public code's, and what they are told arrives."""

from __future__ import annotations

import pytest
import torch
from public_weights import RELATIVE, image, load_in_order, relative_error, state

from dasrlib import baselines
from dasrlib.baselines.srmd import SMOKE, SRMD, SrmdSizes
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.network import parameter_count

AS_RUN = SrmdSizes(layers=5, width=16)


def space(scale):
    return DegradationSpace.isotropic(scale)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_srmdnf_agrees(golden, scale):
    arrays, tensors = golden("rivals"), state(golden, f"srmdnf_x{scale}")
    network = load_in_order(SRMD(scale, space(scale), AS_RUN, noise=False), tensors)
    code = torch.from_numpy(arrays["srmd_code"])[None]
    picture = image(arrays["picture"])
    sr = network(picture, code)
    assert relative_error(sr, arrays[f"srmdnf_out_x{scale}"]) < RELATIVE
    # Told the same at every pixel, or at each: the same.
    maps = code[:, :, None, None].expand(-1, -1, *picture.shape[-2:])
    torch.testing.assert_close(network(picture, maps), sr)


def test_srmd_agrees(golden):
    arrays = golden("rivals")
    network = load_in_order(SRMD(4, space(4), AS_RUN), state(golden, "srmd_x4"))
    code = torch.from_numpy(arrays["srmd_code"])[None]
    told = Degradations.isotropic(1.0, 4, noise=15.0)
    sr = network.restore_with_code(image(arrays["picture"]), code, told)
    assert float(arrays["srmd_noise"][0]) == pytest.approx(15 / 255)
    assert relative_error(sr, arrays["srmd_out_x4"]) < RELATIVE


COUNTS = {2: (1510540, 1511692), 3: (1527835, 1528987), 4: (1552048, 1553200)}


@pytest.mark.parametrize("scale", COUNTS)
def test_full_size_is_the_papers(scale):
    networks = [baselines.build(name, scale, "paper") for name in ("srmdnf", "srmd")]
    assert tuple(map(parameter_count, networks)) == COUNTS[scale]


@torch.no_grad()
def test_what_is_told_arrives_for_each_picture_of_a_batch():
    network, lr = SRMD(2, space(2), SMOKE).eval(), torch.rand(2, 3, 7, 9)
    both = Degradations.isotropic([0.4, 1.8], 2, noise=[0.0, 20.0])
    sr = network.restore(lr, both)
    for i in (0, 1):
        torch.testing.assert_close(sr[i : i + 1], network.restore(lr[i : i + 1], both[i]))
    assert (network.restore(lr, both[0])[1] - sr[1]).abs().max() > 1e-4
    torch.testing.assert_close(network.restore(lr, both[0])[:1], sr[:1])
    # SRMDNF does not read the noise, SRMD does.
    noisy, clean = (Degradations.isotropic(1.0, 2, noise=n) for n in (20.0, 0.0))
    nf = SRMD(2, space(2), SMOKE, noise=False).eval()
    assert torch.equal(nf.restore(lr, noisy), nf.restore(lr, clean))
    assert not torch.equal(network.restore(lr, noisy), network.restore(lr, clean))


def test_pixels_are_shuffled_straight_to_rgb():
    network = SRMD(4, space(4), SMOKE, noise=False)
    assert network.layers[-1].out_channels == 48
    assert sum(isinstance(layer, torch.nn.PixelShuffle) for layer in network.modules()) == 0
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    network.layers[-1].bias.data[:] = torch.arange(48.0)
    sr = network(torch.rand(1, 3, 2, 2), torch.zeros(1, 15))
    # Colour by colour, and within a colour row by row: the order of PyTorch's shuffle.
    assert torch.equal(sr[0, :, :4, :4], torch.arange(48.0).view(3, 4, 4))


def test_refusals():
    network, lr = SRMD(2, space(2), SMOKE, noise=False), torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match="srmdnf is not blind: give it the degradation, of which"):
        network.restore(lr)
    with pytest.raises(ValueError, match="the degradation is of scale 4, srmdnf of 2"):
        network.restore(lr, Degradations.isotropic(1.0, 4))
    with pytest.raises(ValueError, match="expected 1 degradation or 2, one per picture, got 3"):
        network.restore(lr, Degradations.isotropic([1.0, 1.0, 1.0], 2))


def test_the_spaces_of_their_training():
    photo = DegradationSpace.photo(4)
    nf, told = (baselines.build(n, 4, "smoke").training_space(photo) for n in ("srmdnf", "srmd"))
    assert (nf.noise, nf.quality, nf.widths) == (0.0, None, photo.widths)
    assert (told.noise, told.quality, told.without) == (25.0, None, 0.5)
    clean = baselines.build("srmd", 4, "smoke").training_space(DegradationSpace.isotropic(4))
    assert clean == DegradationSpace.isotropic(4)
