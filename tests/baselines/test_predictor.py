"""The Predictor: its numbers are the public code's, and a LeakyReLU of 0.2 comes last."""

from __future__ import annotations

import pytest
import torch
from public_weights import RELATIVE, image, load_in_order, relative_error, state

from dasrlib import baselines
from dasrlib.baselines.predictor import FULL, SMOKE, Predictor, PredictorSizes
from dasrlib.degradation import Degradations, DegradationSpace, isotropic_kernels
from dasrlib.network import parameter_count

SPACE = DegradationSpace.isotropic(4)


def test_the_network_agrees(golden):
    arrays = golden("rivals")
    network = load_in_order(Predictor(4, SPACE, FULL), state(golden, "ikc_predictor"))
    code = network(image(arrays["picture"]))
    assert relative_error(code, arrays["ikc_predictor_out"]) < RELATIVE


def test_full_size_is_ikcs():
    assert [parameter_count(baselines.build("predictor", s, "paper")) for s in (2, 4)] == [
        430730
    ] * 2
    assert parameter_count(Predictor(4, SPACE, PredictorSizes(code=15))) == 438735


def test_a_leaky_relu_of_a_fifth_is_last():
    network = Predictor(4, SPACE, SMOKE)
    last = network.layers[-2]
    torch.nn.init.zeros_(last.weight)
    last.bias.data[:] = torch.tensor([1.0, -1.0, *[0.0] * 13])
    code = network(torch.rand(1, 3, 9, 7))
    torch.testing.assert_close(code[0, :2], torch.tensor([1.0, -0.2]))
    slopes = {
        layer.negative_slope for layer in network.modules() if hasattr(layer, "negative_slope")
    }
    assert slopes == {0.2}


def test_the_loss_is_zero_at_the_code_of_the_truth_and_adam_is_ikcs():
    network, lr = Predictor(4, SPACE, SMOKE), torch.rand(2, 3, 8, 8)
    assert network.betas == (0.9, 0.99)
    truth = Degradations.isotropic([0.8, 3.0], 4)
    network.forward = lambda lr: network.codes(truth.kernels)
    assert next(network.losses(lr, lr, truth)) == 0
    network.forward = lambda lr: network.codes(truth.kernels) + 0.5
    assert float(next(network.losses(lr, lr, truth))) == pytest.approx(0.25)


def test_what_is_predicted_is_a_degradation():
    network = Predictor(4, SPACE, SMOKE).eval()
    network.forward = lambda lr: network.codes(isotropic_kernels([0.8, 2.0]))
    found = network.predict(torch.rand(2, 3, 8, 8))
    assert found.scale == 4
    torch.testing.assert_close(found.kernels, isotropic_kernels([0.8, 2.0]), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.lambda1, torch.tensor([0.8, 2.0]), rtol=0, atol=0.01)
    with pytest.raises(TypeError, match="gives a kernel and no picture"):
        network.restore(torch.rand(1, 3, 8, 8))
