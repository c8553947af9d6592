"""What all baselines share: one door, what they need, odd sizes, and a step of their training."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dasrlib import baselines
from dasrlib.baselines import NETWORKS, TRAINED
from dasrlib.degradation import Degradations, DegradationSpace, degrade, resize_bicubic
from dasrlib.systems import SYSTEMS


def test_every_network_has_a_row():
    assert set(NETWORKS) <= set(SYSTEMS)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "predictor"])
@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_an_odd_size_and_a_batch_of_one(name, profile):
    for scale in (2, 3, 4):
        network = baselines.build(name, scale, profile).eval()
        assert (network.name, network.needs) == (name, SYSTEMS[name].needs)
        assert network.scale == (1 if name == "dncnn" else scale)
        with torch.inference_mode():
            sr = network.restore(torch.rand(1, 3, 11, 7), Degradations.isotropic(1.2, scale))
        s = network.scale
        assert sr.shape == (1, 3, 11 * s, 7 * s)
        assert sr.isfinite().all()


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_of_training_moves_every_weight(name):
    network = baselines.build(name, 2, "smoke")
    asked = DegradationSpace.anisotropic(2, noise=25.0)
    space = network.training_space(asked)
    assert space.scale == 2
    generator = torch.Generator().manual_seed(0)
    hr, degradations = torch.rand(2, 3, 32, 24, generator=generator), space.sample(2, generator)
    lr = degrade(hr, degradations, generator)
    optimizer = torch.optim.Adam(network.parameter_groups(1e-3), betas=network.betas)
    before = {key: value.clone() for key, value in network.named_parameters()}
    network.train()
    for loss in network.losses(hr, lr, degradations):
        assert loss.ndim == 0
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    moved = {k for k, p in network.named_parameters() if not torch.equal(before[k], p)}
    assert moved == {k for k, p in network.named_parameters() if p.requires_grad}


@torch.no_grad()
@pytest.mark.parametrize("name", ["rcan", "srmd", "srmdnf", "sftmd"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_init_as_nearest_neighbour_repeats_pixels(name, scale):
    network = baselines.build(name, scale, "laptop")
    lr, degradation = torch.rand(2, 3, 12, 10), Degradations.isotropic(1.2, scale)
    nearest = F.interpolate(lr, scale_factor=scale, mode="nearest")
    before = (network.restore(lr, degradation) - nearest).abs().mean()
    network.init_as_nearest_neighbour()
    after = (network.restore(lr, degradation) - nearest).abs().mean()
    # What comes from the other channels starts at a tenth of its size: small, not zero.
    assert after < 0.06
    assert after < before / 4


@torch.no_grad()
@pytest.mark.parametrize("name", ["srcnn", "dncnn"])
def test_a_network_at_the_size_of_its_output_starts_as_a_copy(name):
    network, lr = baselines.build(name, 2, "laptop").eval(), torch.rand(2, 3, 12, 10)
    copied = resize_bicubic(lr, network.scale)
    before = (network.restore(lr) - copied).abs().mean()
    network.init_as_nearest_neighbour()
    after = (network.restore(lr) - copied).abs().mean()
    assert after < 0.06
    assert after < before / 4


def test_refusals():
    with pytest.raises(ValueError, match="no baseline is named 'rcam': did you mean 'rcan'"):
        baselines.build("rcam")
    with pytest.raises(ValueError, match="no profile is named"):
        baselines.build("rcan", profile="lap-top")
    with pytest.raises(ValueError, match="scale must be 2, 3 or 4"):
        baselines.build("rcan", scale=5)
    with pytest.raises(ValueError, match=r"expected pictures in \[0, 1\]"):
        baselines.build("srcnn", 2, "smoke").restore(torch.full((1, 3, 8, 8), 200.0))
