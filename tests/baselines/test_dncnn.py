"""DnCNN: its numbers are the public codes', with BatchNorm and with BatchNorm merged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from public_weights import RELATIVE, image, load_in_order, relative_error, state

from dasrlib import baselines, data, evaluation, weights
from dasrlib.baselines.dncnn import FULL, SMOKE, DnCNN, DncnnSizes
from dasrlib.degradation import Degradations, degrade
from dasrlib.network import parameter_count

AS_RUN = DncnnSizes(layers=5, width=16)


@pytest.mark.parametrize(("name", "batchnorm"), [("dncnn_bn", True), ("dncnn_merged", False)])
def test_the_network_agrees(golden, name, batchnorm):
    arrays = golden("rivals")
    network = load_in_order(DnCNN(AS_RUN, batchnorm), state(golden, name))
    out = network.restore(image(arrays["picture"]))
    assert relative_error(out, arrays[f"{name}_out"]) < RELATIVE


def test_the_first_public_code_agrees_with_biases_of_zero(golden):
    arrays, tensors = golden("rivals"), state(golden, "dncnn_original")
    network = DnCNN(AS_RUN)
    missing, _ = network.load_state_dict(
        {key.replace("dncnn.", "residual."): value for key, value in tensors.items()}, strict=False
    )
    assert {key.rpartition(".")[2] for key in missing} == {"bias"}  # zero by the initialisation
    out = network.eval()(image(arrays["picture"]))
    assert relative_error(out, arrays["dncnn_original_out"]) < RELATIVE


def test_batchnorm_in_training_agrees(golden):
    arrays = golden("rivals")
    network = load_in_order(DnCNN(AS_RUN), state(golden, "dncnn_bn")).train()
    network.residual[3].momentum = 0.9  # the public code's
    picture = image(arrays["picture"])
    out = network(torch.cat([picture, picture.flip(-1)]))
    assert relative_error(out, arrays["dncnn_bn_train_out"]) < RELATIVE
    variance = network.residual[3].running_var
    assert relative_error(variance, arrays["dncnn_bn_train_running_var_model_3"]) < RELATIVE


def test_full_size_is_the_papers():
    assert parameter_count(baselines.build("dncnn", 4, "paper")) == 670531
    assert parameter_count(DnCNN(FULL, batchnorm=False)) == 668227
    assert parameter_count(DnCNN(DncnnSizes(layers=17), batchnorm=False)) == 557443


def test_batchnorm_merged_computes_the_same():
    network, noisy = DnCNN(SMOKE).train(), torch.rand(2, 3, 9, 7)
    for _ in range(3):  # so that the running statistics are not those of a new network
        network(3 * noisy - 1)
    torch.nn.init.normal_(network.residual[3].weight)
    torch.nn.init.normal_(network.residual[3].bias)
    merged = network.eval().merged()
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in merged.modules())
    torch.testing.assert_close(merged(noisy), network(noisy))
    assert (merged(noisy) - network.train()(noisy)).abs().max() > 1e-3


def test_the_loss_is_a_sum_and_is_zero_where_the_noise_is_taken_off():
    network, hr = DnCNN(SMOKE), torch.rand(2, 3, 16, 12)
    degradations = Degradations.isotropic([0.0, 0.0], 2, noise=[10.0, 25.0])
    lr = degrade(hr, degradations, backend="fast")
    clean = degrade(hr, replace(degradations, noise=torch.zeros(2)), backend="fast")
    network.residual.forward = lambda y: y - clean  # the noise itself
    assert next(network.losses(hr, lr, degradations)) == 0
    torch.testing.assert_close(network(lr), clean)
    network.residual.forward = torch.zeros_like  # no noise found
    (loss,) = network.losses(hr, lr, degradations)
    assert float(loss) == pytest.approx(0.5 * float(((lr - clean) ** 2).sum()), rel=1e-5)


def test_each_patch_has_a_noise_level_of_its_own_and_no_blur():
    space = DnCNN(SMOKE).training_space(baselines.DegradationSpace.anisotropic(4))
    drawn = space.sample(50, torch.Generator().manual_seed(0))
    assert drawn.noise.max() > 20
    assert drawn.noise.unique().numel() == 50
    assert (drawn.kernels[:, 10, 10] == 1).all()


@torch.no_grad()
@pytest.mark.parametrize(("level", "gain"), [(10.0, 2.5), (20.0, 4.0)])
def test_the_bundled_one_takes_noise_off(level, gain):
    """The brief expects some 3 dB at noise 5 and 8 dB at noise 25 of the full size."""
    picture = data.centre_crop(dict(data.images("samples"))["chelsea"], 128)[None]
    clean = degrade(picture, Degradations.isotropic(0.0, 4))
    dice = torch.Generator().manual_seed(0)
    noisy = degrade(picture, Degradations.isotropic(0.0, 4, noise=level), dice)
    denoised = weights.load_system("laptop/dncnn").restore(noisy)
    before, after = (evaluation.psnr_y(x, clean, 0) for x in (noisy, denoised.clamp(0, 1)))
    assert after - before > gain
