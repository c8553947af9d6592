"""§3.2.1: the encoder, what it is shown, InfoNCE, and the learner with MoCo's and other recipes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dasrlib import paper
from dasrlib.representation import (
    DIMENSION,
    IN_BATCH,
    MOCO,
    ContrastiveLearner,
    ContrastiveRecipe,
    Encoder,
    high_pass,
    info_nce,
)


def patches(b: int, h: int = 8, w: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.rand(b, 3, h, w, generator=torch.Generator().manual_seed(seed))


# Encoder


@pytest.mark.parametrize("shape", [(2, 32, 32), (3, 17, 29), (1, 40, 9)])
@pytest.mark.parametrize("looks_at", ["rgb", "high-pass", "high-pass-unnormalised"])
def test_encoder_gives_vectors_for_any_size(looks_at, shape):
    representation, embedding = Encoder(looks_at).eval()(patches(*shape))
    assert representation.shape == embedding.shape == (shape[0], DIMENSION)
    assert not torch.equal(representation, embedding)


def test_encoder_reduces_twice_by_two():
    stages = Encoder().features[:-2](patches(1, 20, 28))
    assert stages.shape == (1, 256, 5, 7)


def test_embedding_is_the_mlp_of_the_representation():
    encoder = Encoder().eval()
    representation, embedding = encoder(patches(2))
    assert torch.equal(encoder.mlp(representation), embedding)


def test_pictures_of_a_batch_do_not_see_each_other_in_evaluation():
    encoder, images = Encoder().eval(), patches(3)
    together = encoder(images)[0]
    alone = torch.cat([encoder(image[None])[0] for image in images])
    # The same sums of float32 products, in batches of another size.
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_encoder_refuses_an_unknown_input():
    with pytest.raises(ValueError, match=r"encoder_input must be one of 'rgb', .*got 'grey'"):
        Encoder("grey")


@pytest.mark.parametrize("groupnorm", [True, False])
def test_group_norm_is_the_one_that_does_not_look_at_the_batch(groupnorm):
    encoder, images = Encoder("high-pass", groupnorm).train(), patches(6, 12, 12)
    whole, part = encoder(images)[0][:3], encoder(images[:3])[0]
    assert torch.allclose(whole, part, rtol=1e-3, atol=1e-5) == groupnorm


@pytest.mark.parametrize("looks_at", ["high-pass", "high-pass-unnormalised"])
def test_only_the_normalised_input_loses_the_contrast(looks_at):
    encoder, images = Encoder(looks_at).eval(), patches(6, 12, 12)
    with torch.inference_mode():
        before, after = encoder(images)[0], encoder(0.3 * images + 0.2)[0]
    assert ((before - after).norm() / before.norm() < 0.02) == (looks_at == "high-pass")


# What the encoder is shown

CLOSE = {"rtol": 0, "atol": 1e-5}  # rounding of [0, 1] (6e-8) over a deviation of 0.2


def test_high_pass_removes_brightness_and_colour():
    images = 0.2 + 0.6 * patches(2, 16, 20)
    shown = high_pass(images)
    assert shown.shape == (2, 1, 16, 20)
    assert 0.5 < float(shown.std()) < 1.5
    torch.testing.assert_close(high_pass(images + 0.15), shown, **CLOSE)
    tinted = images + torch.tensor([0.1, -0.05, 0.2])[:, None, None]
    torch.testing.assert_close(high_pass(tinted), shown, **CLOSE)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    grey = (images * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(high_pass(grey), shown, **CLOSE)


def test_high_pass_removes_contrast():
    images = patches(2, 16, 20)
    shown = high_pass(images)
    # The constant in the denominator is 0.0005 beside a deviation of 0.2, halved: a 400th, of
    # values up to 4.
    torch.testing.assert_close(high_pass(images / 2), shown, rtol=0, atol=0.02)
    # Two pictures of one batch are brought to the same contrast, each by its own.
    uneven = high_pass(images * torch.tensor([1.0, 0.1])[:, None, None, None])
    torch.testing.assert_close(uneven[0], shown[0], **CLOSE)
    assert float(uneven[1].std() / shown[1].std()) == pytest.approx(1, abs=0.05)


def test_high_pass_keeps_blur():
    sharp = patches(1, 32, 32)
    blurred = F.avg_pool2d(F.pad(sharp, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    assert (high_pass(blurred) - high_pass(sharp)).abs().mean() > 0.1


def test_high_pass_of_a_flat_picture_is_flat():
    # Rounding of 0.6 (6e-8) over the constant 0.0005 of the denominator.
    assert high_pass(torch.full((1, 3, 9, 9), 0.6)).abs().max() < 1e-3


# InfoNCE


def test_info_nce_is_the_papers_formula():
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(6, 11, generator=generator, dtype=torch.float64)
    positive = torch.randint(11, (6,), generator=generator)
    terms = []
    for row, place in zip(logits.tolist(), positive.tolist(), strict=True):
        terms.append(-math.log(math.exp(row[place]) / sum(math.exp(value) for value in row)))
    assert float(info_nce(logits, positive)) == pytest.approx(sum(terms) / 6, rel=1e-12)


@pytest.mark.parametrize("n", [2, 65, 8193])
def test_info_nce_is_ln_n_where_nothing_is_known(n):
    logits, first = torch.full((3, n), 0.4), torch.zeros(3, dtype=torch.long)
    # float32 holds ln N, at most 9, to 1e-6.
    assert float(info_nce(logits, first)) == pytest.approx(math.log(n), abs=1e-5)


def test_info_nce_of_large_logits_is_finite():
    logits = torch.tensor([[500.0, 400.0], [400.0, 500.0]])
    loss = info_nce(logits, torch.zeros(2, dtype=torch.long))
    assert float(loss) == pytest.approx(50)  # 0 and 100


# Recipes


def test_moco_is_the_papers():
    assert (MOCO.encoder_input, MOCO.queue_size) == ("rgb", paper.QUEUE_SIZE)
    assert (MOCO.momentum, MOCO.temperature) == (paper.MOMENTUM, paper.TEMPERATURE)


@pytest.mark.parametrize(
    "misspelt",
    [
        {"encoder_input": "highpass"},
        {"negatives": "mocco"},
        {"batchnorm": "together"},
        {"positives": "picture"},
    ],
)
def test_a_misspelt_choice_is_refused_with_the_choices(misspelt):
    ((field, value),) = misspelt.items()
    with pytest.raises(ValueError, match=f"{field} must be one of '.*', got {value!r}"):
        ContrastiveRecipe(**misspelt)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"queue_size": 0}, "queue_size must be at least 1 .*got 0"),
        ({"negatives": "batch"}, "queue_size must be 0 .*got 8192"),
        ({"batchnorm": "joint"}, 'set .*batchnorm="split"'),
        ({"key_gradient": True}, "set key_gradient=False"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        replace(MOCO, **changes)


# MoCo


def moco(queue_size: int, momentum: float = 0.9) -> ContrastiveLearner:
    recipe = replace(MOCO, queue_size=queue_size, momentum=momentum)
    return ContrastiveLearner(Encoder(), recipe).train()


@pytest.mark.parametrize(("queue_size", "batch", "steps"), [(64, 24, 3), (10, 24, 2), (6, 3, 3)])
def test_queue_holds_the_newest_keys_and_wraps(queue_size, batch, steps):
    contrast = moco(queue_size)
    expected, place = contrast.queue.clone(), 0
    for step in range(steps):
        key = patches(batch, seed=2 * step + 1)
        logits = contrast(patches(batch, seed=2 * step), key).logits
        assert logits.shape == (batch, 1 + queue_size)
        # In training BatchNorm uses the batch alone, so a second pass gives the same keys.
        with torch.no_grad():
            keys = F.normalize(contrast.key_encoder(key)[1], dim=1)
        for one in keys:  # one by one, the definition
            expected[:, place] = one
            place = (place + 1) % queue_size
    assert int(contrast.queue_start) == place == steps * batch % queue_size
    # The same float32 operations on the same numbers.
    torch.testing.assert_close(contrast.queue, expected, rtol=0, atol=1e-6)
    # One query against the queue as it is now: lengths are 1, to float32.
    torch.testing.assert_close(
        contrast.queue.norm(dim=0), torch.ones(queue_size), rtol=0, atol=1e-5
    )


def test_logits_are_cosines_over_temperature_with_the_queue_of_before():
    contrast = moco(5)
    before, query, key = contrast.queue.clone(), patches(4), patches(4, seed=1)
    logits = contrast(query, key).logits
    with torch.no_grad():
        p1 = F.normalize(contrast.query_encoder(query)[1], dim=1)
        p2 = F.normalize(contrast.key_encoder(key)[1], dim=1)
    expected = torch.cat([(p1 * p2).sum(1, keepdim=True), p1 @ before], dim=1) / 0.07
    # Cosines to 1e-6, over a temperature of 0.07.
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_key_encoder_follows_by_momentum():
    contrast = moco(8, momentum=0.75)
    with torch.no_grad():
        for parameter in contrast.query_encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    before = [p.clone() for p in contrast.key_encoder.parameters()]
    contrast(patches(4), patches(4, seed=1))
    query = list(contrast.query_encoder.parameters())
    for old, new, towards in zip(before, contrast.key_encoder.parameters(), query, strict=True):
        assert not torch.equal(old, new)
        # One rounding in each of three operations; weights are of order one at most.
        torch.testing.assert_close(new, 0.75 * old + 0.25 * towards, rtol=1e-6, atol=1e-7)


def test_key_encoder_gets_no_gradient():
    contrast = moco(8)
    out = contrast(patches(4), patches(4, seed=1))
    out.loss.backward()
    assert all(p.grad is None for p in contrast.key_encoder.parameters())
    assert not any(p.requires_grad for p in contrast.key_encoder.parameters())
    assert all(p.grad is not None for p in contrast.query_encoder.parameters())
    assert contrast.query_encoder.features[0].weight.grad.abs().max() > 0
    assert contrast.queue.grad is None


def test_evaluation_leaves_queue_and_key_encoder_untouched():
    contrast = moco(8).eval()
    with torch.no_grad():
        contrast.query_encoder.mlp[0].weight.add_(0.1)  # so that an update would show
    before = {name: t.clone() for name, t in contrast.state_dict().items()}
    contrast(patches(4), patches(4, seed=1))
    for name, tensor in contrast.state_dict().items():
        assert torch.equal(tensor, before[name]), name


# In-batch negatives


def test_in_batch_is_info_nce_both_ways():
    contrast, query, key = ContrastiveLearner(Encoder()).train(), patches(5), patches(5, seed=1)
    out = contrast(query, key)
    with torch.no_grad():
        representation, embedding = contrast.query_encoder(torch.cat([query, key]))
    p = F.normalize(embedding, dim=1)
    logits, diagonal = p[:5] @ p[5:].T / 0.1, torch.arange(5)
    # Cosines to 1e-6, over a temperature of 0.1.
    torch.testing.assert_close(out.logits, logits, rtol=0, atol=1e-4)
    both = (F.cross_entropy(logits, diagonal) + F.cross_entropy(logits.T, diagonal)) / 2
    assert float(out.loss.detach()) == pytest.approx(float(both), abs=1e-4)
    torch.testing.assert_close(out.representation, representation[:5], rtol=0, atol=1e-5)


def test_in_batch_passes_gradient_through_both_halves():
    query, key = patches(3).requires_grad_(), patches(3, seed=1).requires_grad_()
    # Evaluating: in training BatchNorm alone would pass some from one half to the other.
    ContrastiveLearner(Encoder()).eval()(query, key).loss.backward()
    assert query.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    assert key.grad.abs().amax(dim=(1, 2, 3)).min() > 0


def test_in_batch_is_symmetric():
    contrast, query, key = ContrastiveLearner(Encoder()).train(), patches(4), patches(4, seed=1)
    with torch.no_grad():
        there, back = contrast(query, key), contrast(key, query)
    # BatchNorm sums the same numbers in another order.
    torch.testing.assert_close(back.logits, there.logits.T, rtol=0, atol=1e-3)
    assert float(back.loss) == pytest.approx(float(there.loss), abs=1e-3)


def test_in_batch_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match="at least 2 pictures, got 1"):
        ContrastiveLearner(Encoder())(patches(1), patches(1, seed=1))


# Parts that the recipe study changes


@pytest.mark.parametrize(("negatives", "candidates"), [("batch", 6), ("queue", 17), ("both", 22)])
def test_how_many_candidates_each_kind_of_negatives_has(negatives, candidates):
    queue_size = 0 if negatives == "batch" else 16
    learner = ContrastiveLearner(
        Encoder(), replace(MOCO, negatives=negatives, queue_size=queue_size)
    )
    for encoder in (learner.query_encoder, learner.key_encoder):  # all embeddings alike
        nn.init.zeros_(encoder.mlp[-1].weight)
        nn.init.ones_(encoder.mlp[-1].bias)
    if negatives != "batch":
        learner.queue.copy_(F.normalize(torch.ones_like(learner.queue), dim=0))
    out = learner(patches(6), patches(6, seed=1))
    assert out.loss.item() == pytest.approx(math.log(candidates), abs=1e-4)
    assert out.in_batch.item() == pytest.approx(math.log(6), abs=1e-4)


@pytest.mark.parametrize(
    ("recipe", "reaches"),
    [
        (IN_BATCH, True),
        (replace(IN_BATCH, batchnorm="group"), True),
        (replace(IN_BATCH, batchnorm="group", key_gradient=False), False),
        (replace(IN_BATCH, batchnorm="split", key_gradient=False), False),
        # Not through the key's embedding, but the query's BatchNorm has seen the keys.
        (replace(IN_BATCH, key_gradient=False), True),
        (replace(MOCO, queue_size=16), False),
    ],
)
def test_whether_a_gradient_comes_through_the_keys(recipe, reaches):
    key = patches(6, 12, 12, seed=1).requires_grad_()
    encoder = Encoder(recipe.encoder_input, groupnorm=recipe.batchnorm == "group")
    ContrastiveLearner(encoder, recipe).train()(patches(6, 12, 12), key).loss.backward()
    assert (key.grad is not None and bool((key.grad != 0).any())) == reaches


def test_a_supervised_recipe_reads_no_key_and_regresses_the_width():
    learner = ContrastiveLearner(Encoder(), replace(IN_BATCH, supervised=True)).eval()
    query, no_key = patches(6), torch.full((6, 3, 8, 8), math.nan)
    predicted = learner.regressor(learner.query_encoder(query)[0])[:, 0].detach()
    assert learner(query, no_key, predicted + 2).loss.item() == pytest.approx(4)


# Half precision


@pytest.mark.parametrize("recipe", [replace(MOCO, queue_size=12), IN_BATCH])
def test_bfloat16_autocast_gives_nearly_the_same_loss(recipe):
    encoder = Encoder("high-pass")
    contrast = ContrastiveLearner(encoder, recipe)
    contrast.eval()  # the same queue and weights for both
    query, key = patches(6, 16, 16), patches(6, 16, 16, seed=1)
    with torch.no_grad():
        exact = contrast(query, key).loss
    with torch.autocast("cpu", torch.bfloat16):
        out = contrast(query, key)
    # Only the encoder may be rounded: a temperature of 0.07 makes steps of 0.06 out of bfloat16's
    # cosines near 1, and the loss is made of such differences.
    assert out.loss.dtype == out.logits.dtype == torch.float32
    cosines = out.logits.detach() * recipe.temperature
    assert ((cosines - cosines.bfloat16().float()).abs().amax(0) > 1e-6).all()
    out.loss.backward()
    assert torch.isfinite(encoder.features[0].weight.grad).all()
    # Rounding of 2⁻⁹ in each of six layers shifts a cosine by about 0.003, the temperature makes
    # 0.04 of that, and the mean over the batch averages it.
    assert float(out.loss.detach()) == pytest.approx(float(exact), abs=0.05)
