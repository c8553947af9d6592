"""Agreement with arrays that the authors' released code computed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from authors_rule import rule_state, shapes_at

from dasrlib import degradation, weights
from dasrlib.representation import MOCO, ContrastiveLearner, Encoder

# As the golden arrays' description says: what float32 sums in another order may differ by.
RELATIVE = 1e-4
GREY = 1e-3  # on the 0..255 scale

KERNELS = {
    "iso_1.3": lambda: degradation.isotropic_kernels(1.3),
    "iso_3.6": lambda: degradation.isotropic_kernels(3.6),
    "aniso_3.5_1.5_30": lambda: degradation.anisotropic_kernels(3.5, 1.5, math.radians(30)),
    "aniso_2.0_0.2_0": lambda: degradation.anisotropic_kernels(2.0, 0.2, 0.0),
}


@pytest.fixture(scope="module")
def blurs(golden):
    return golden("degradation")


def image(array):
    return torch.from_numpy(np.array(array)) / 255


def relative_error(ours, theirs):
    theirs = torch.as_tensor(np.array(theirs))
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_agrees(blurs, scale):
    down = degradation.resize_bicubic(image(blurs["hr"]), 1 / scale) * 255
    up = degradation.resize_bicubic(image(blurs["hr"][..., :24, :20]), scale) * 255
    np.testing.assert_allclose(down.numpy(), blurs[f"bicubic_down_x{scale}"], rtol=0, atol=GREY)
    np.testing.assert_allclose(up.numpy(), blurs[f"bicubic_up_x{scale}"], rtol=0, atol=GREY)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_agree(blurs, name):
    np.testing.assert_allclose(
        KERNELS[name]().numpy(), blurs[f"{name}_kernel"], rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_lr_is_the_same_integers(blurs, name, scale, backend):
    kernels = KERNELS[name]()
    zero = torch.zeros(1)
    if name.startswith("iso"):  # known to be separable, and degraded in that way
        whole = degradation.Degradations.isotropic(float(name.removeprefix("iso_")), scale)
        assert torch.equal(whole.kernels, kernels)
    else:
        whole = degradation.Degradations(scale, kernels, zero, zero, zero, zero)
    lr = degradation.degrade(image(blurs["hr"]), whole, backend=backend) * 255
    blurred = degradation.blur(image(blurs["hr"]), kernels)
    unrounded = degradation.resize_bicubic(blurred, 1 / scale) * 255
    theirs = torch.from_numpy(np.array(blurs[f"{name}_lr_x{scale}"]))
    near_half = ((unrounded - unrounded.floor()) - 0.5).abs() < GREY
    assert near_half.float().mean() < 0.02  # the exception stays one
    assert torch.equal(lr.round()[~near_half], theirs[~near_half])
    assert (lr.round() - theirs).abs().max() <= 1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_network_agrees(golden, scale):
    arrays = golden("network")
    model = weights.from_authors(rule_state(shapes_at(golden, scale)), scale)
    lr = image(arrays["network_in"])
    with torch.no_grad():
        representation = model.represent(lr)
        sr = model(lr) * 255
    assert relative_error(representation, arrays[f"x{scale}_representation"]) < RELATIVE
    assert relative_error(sr, arrays[f"x{scale}_sr"]) < RELATIVE


def test_da_conv_agrees(golden):
    arrays = golden("network")
    model = weights.from_authors(rule_state(shapes_at(golden, 4)), 4)
    conv = model.sr.groups[0].blocks[0].da_conv1
    with torch.no_grad():
        out = conv(torch.from_numpy(arrays["da_conv_in"]), torch.from_numpy(arrays["da_conv_R"]))
    assert relative_error(out, arrays["da_conv_out"]) < RELATIVE


def test_load_authors_reads_a_file(golden, tmp_path):
    state = rule_state(shapes_at(golden, 4))
    torch.save(state, tmp_path / "model_600.pt")
    loaded = weights.load_authors(tmp_path / "model_600.pt", scale=4)
    for key, tensor in weights.from_authors(state, 4).state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key
    with pytest.raises(ValueError, match="not a ×2 DASR checkpoint"):
        weights.load_authors(tmp_path / "model_600.pt", scale=2)


def test_moco_agrees(golden):
    arrays = golden("moco")
    encoder = Encoder()
    theirs = {"E." + k.replace("features.", "E."): v.shape for k, v in encoder.state_dict().items()}
    assert "E.E.0.weight" in theirs  # the authors' own names, less their wrapper's prefix
    shapes = {k.replace("E.", "E.encoder_q.", 1): list(s) for k, s in theirs.items()}
    ours = {
        k.replace("E.encoder_q.E.", "features.").replace("E.encoder_q.mlp.", "mlp."): v
        for k, v in rule_state(shapes).items()
    }
    # Here the pictures are 0..1, so the first running variance is an ordinary one; in training
    # mode it is not read anyway.
    encoder.load_state_dict(ours)
    # In float64, so that what is compared is the formula and not two orders of summation.
    moco = ContrastiveLearner(encoder, replace(MOCO, queue_size=64)).double().train()
    moco.queue.copy_(torch.from_numpy(arrays["queue_before"]))
    query, key = (torch.from_numpy(arrays[k]).double() for k in ("query", "key"))
    out = moco(query, key)
    assert relative_error(out.representation.detach(), arrays["representation"]) < RELATIVE
    assert relative_error(out.logits.detach(), arrays["logits"]) < RELATIVE
    # Keys have unit length: 1e-4 of that. (Of their largest entry, 0.18, the golden float32 run is
    # 1.3e-4 off a float64 one, with these formulas or any others.)
    assert float((moco.queue - torch.from_numpy(arrays["queue_after"])).abs().max()) < RELATIVE
    assert not torch.equal(
        moco.queue[:, :4].float(), torch.from_numpy(arrays["queue_before"])[:, :4]
    )
    # The golden loss is a difference of float32 numbers of size 14: 1e-6 is their resolution.
    assert float(out.loss.detach()) == pytest.approx(float(arrays["loss"]), abs=2e-6)
