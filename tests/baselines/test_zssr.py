"""ZSSR: its numbers are the public code's, and it learns from the one picture alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from public_weights import RELATIVE, image, relative_error, rule
from smooth_pictures import picture

from dasrlib import baselines, evaluation, training
from dasrlib.baselines.internal_learning import Reduction, ResidualNet, shifted, undo_view, view
from dasrlib.baselines.zssr import FULL, SMOKE, ZSSR, RatePolicy, fit_line, random_father
from dasrlib.degradation import Degradations, degrade, isotropic_kernels
from dasrlib.network import parameter_count


def by_rule(gains, width=64, bias=False):
    """The golden arrays' network; gains: of each convolution."""
    network = ResidualNet(len(gains), width, bias)
    state = {}
    for place, gain in enumerate(gains):
        conv = network.layers[2 * place]
        name = f"conv{place + 1}"
        state[f"layers.{2 * place}.weight"] = rule(f"{name}.weight", conv.weight.shape, gain)
        if bias:
            state[f"layers.{2 * place}.bias"] = rule(f"{name}.bias", conv.bias.shape, gain)
    network.load_state_dict(state)
    return network


def inside(images, border):
    return images[..., border:-border, border:-border]


@torch.no_grad()
def test_the_network_and_its_loss_agree(golden):
    arrays = golden("rivals")
    network = by_rule([2.0] * 7 + [0.5])
    u = torch.from_numpy(arrays["zssr_ilr"])[None]
    assert relative_error(network(u)[0], arrays["zssr_out"]) < RELATIVE
    assert parameter_count(network) == 224_640


def test_a_son_by_bicubic_agrees_inside(golden):
    """The borders of the released bicubic differ from ours: two LR pixels."""
    arrays = golden("rivals")
    lr = image(arrays["zssr_lr"])[None]
    delta = Degradations.isotropic(0.0, 2).kernels
    son = Reduction(2, delta)(lr)[0]
    assert relative_error(inside(son, 2), arrays["zssr_son_cubic"][..., 2:-2, 2:-2]) < 1e-5
    u = Reduction(2, delta).enlarge(lr)[0]
    assert relative_error(inside(u, 4), arrays["zssr_ilr"][..., 4:-4, 4:-4]) < 1e-5


@pytest.mark.parametrize("scale", [2, 4])
def test_a_kernel_moves_by_less_than_a_pixel_and_the_son_agrees(golden, scale):
    """Trap 7. The released code correlates; here a kernel is one of a convolution (trap 5)."""
    arrays = golden("rivals")
    kernel = torch.from_numpy(arrays["zssr_kernel"])
    moved = shifted(kernel, scale)
    expected = torch.from_numpy(arrays[f"zssr_kernel_shifted_x{scale}"])
    assert moved.shape == expected.shape
    assert (moved - expected).abs().max() < 1e-6 * expected.abs().max()
    lr = image(arrays["zssr_lr"])[None]
    son = Reduction(scale, kernel.flip(-2, -1)[None].float(), "centred s-fold")(lr)[0]
    reach = -(-(moved.shape[-1] // 2) // scale)  # LR pixels that another border rule can reach
    theirs = arrays[f"zssr_son_kernel_x{scale}"]
    cut = (..., slice(reach, -reach), slice(reach, -reach))
    assert relative_error(son[cut], theirs[cut]) < 1e-5


def test_a_shift_of_whole_pixels_would_be_seen():
    """As the released code shifts under Python 3: half a pixel too far."""
    kernel = isotropic_kernels(1.2)[0]
    axis = torch.arange(shifted(kernel, 2).shape[-1]).double()
    moved = shifted(kernel, 2).double()
    centre = float((moved.sum(dim=0) * axis).sum() / moved.sum()) - (len(axis) // 2)
    assert centre == pytest.approx(0.5, abs=1e-3)


@torch.no_grad()
def test_back_projection_agrees_in_the_middle(golden):
    """Their border rule is carried inwards, round by round: 1e-3, as the description says."""
    arrays = golden("rivals")
    lr = image(arrays["zssr_lr"])[None]
    reduction = Reduction(2, Degradations.isotropic(0.0, 2).kernels)
    u = torch.from_numpy(arrays["zssr_ilr"])[None].clamp(0, 1)
    once = reduction.back_project(u, lr)[0]
    assert relative_error(
        inside(once, 8), arrays["zssr_back_projection_cubic"][..., 8:-8, 8:-8]
    ) < (1e-3)
    assert (once - u[0]).abs().max() > 0.01


@torch.no_grad()
def test_the_answer_is_the_median_of_eight_views_back_projected(golden):
    arrays = golden("rivals")
    lr, network = image(arrays["zssr_lr"])[None], by_rule([2.0] * 7 + [0.5])
    out = ZSSR(2).finish(network, lr, Reduction(2, Degradations.isotropic(0.0, 2).kernels))[0]
    theirs = torch.from_numpy(arrays["zssr_final_cubic"])
    # The middle, further in than ten rounds and eight views carry the borders.
    assert (inside(out, 20) - inside(theirs, 20)).abs().mean() < 1e-3


@pytest.mark.parametrize("turn", range(8))
def test_a_view_is_undone(turn):
    images = torch.rand(2, 3, 5, 7)
    assert torch.equal(undo_view(view(images, turn), turn), images)


def test_eight_views_are_eight():
    images = torch.rand(1, 1, 4, 4)
    views = [view(images, turn) for turn in range(8)]
    assert all(not torch.equal(a, b) for i, a in enumerate(views) for b in views[:i])


def test_the_line_and_the_rate_agree(golden):
    """Trap: the standard error is today's; the fourth case tells both scalings apart."""
    arrays = golden("rivals")
    steps = [float(step) for step in arrays["zssr_policy_steps"]]
    for case in arrays["zssr_policy"]:
        errors, (slope, deviation, rate) = case[:5], case[5:]
        line = fit_line(steps, errors.tolist())
        assert (line.slope, line.error) == pytest.approx((slope, deviation), rel=1e-6)
        policy = RatePolicy(FULL)
        policy.noted = [(int(s), float(e)) for s, e in zip(steps, errors, strict=True)]
        policy.changed = -1000
        assert policy.after(299, None) == pytest.approx(rate)  # the 300th step: a line is fitted


def test_the_rate_falls_three_times_at_the_earliest_and_then_it_is_over():
    policy, changes = RatePolicy(FULL), []
    for step in range(1000):
        if policy.is_over:
            break
        before = policy.rate
        error = 1.0 + step % 3 if step % FULL.note_every == 0 else None  # no fall
        if policy.after(step, error) != before:
            changes.append(step)
    assert changes == [299, 599, 899]
    assert step == 900


def test_a_line_needs_three_errors():
    with pytest.raises(ValueError, match="wait must be at least 3"):
        replace(FULL, wait=100)


def test_fathers_are_plain_turned_and_warped():
    """5 %, 45 % and 50 %; 1000 draws, so three deviations are 4.7 % of the halves."""
    whole = picture(40, 44)[None]
    sizes = replace(FULL, crop=16)
    draw = torch.Generator().manual_seed(0)
    plain = {
        tuple(t.flatten().tolist())
        for t in whole.unfold(2, 16, 1).unfold(3, 16, 1)[0].permute(1, 2, 0, 3, 4).flatten(0, 1)
    }
    cut = turned = 0
    for _ in range(1000):
        father = random_father(whole, sizes, True, draw)
        assert father.shape == (1, 3, 16, 16)
        assert 0 <= father.min() <= father.max() <= 1
        views = [tuple(undo_view(father, turn)[0].flatten().tolist()) in plain for turn in range(8)]
        cut += views[0]
        turned += any(views[1:])
    assert pytest.approx(cut / 1000, abs=0.03) == 0.05 + 0.45 / 8
    assert pytest.approx(turned / 1000, abs=0.047) == 0.45 * 7 / 8


def test_a_kernel_that_is_not_symmetric_is_never_turned():
    tilted = Degradations.anisotropic(2.0, 0.5, 0.6, 2)
    assert not Reduction.told(tilted, torch.device("cpu")).may_turn
    assert Reduction.told(Degradations.isotropic(1.2, 2), torch.device("cpu")).may_turn
    whole, draw = picture(24, 24)[None], torch.Generator().manual_seed(0)
    rows = whole.unfold(2, 16, 1).unfold(3, 16, 1)[0].permute(1, 2, 0, 3, 4).flatten(0, 1)
    sizes = replace(FULL, crop=16)
    fathers = [random_father(whole, sizes, False, draw) for _ in range(200)]
    exact = [f for f in fathers if (rows == f).flatten(1).all(dim=1).any()]
    assert 70 < len(exact) < 130  # the half that is not warped, and no other


def restored(lr, degradation, **changes):
    zssr = ZSSR(2, replace(SMOKE, **changes), progress=False)
    return zssr, zssr.restore(lr, degradation)


def test_told_the_kernel_it_is_better_than_bicubic():
    degradation = Degradations.isotropic(1.2, 2)
    hr = (picture(64, 64, 3) > 0.5).float()  # edges: what a sharper picture gains most from
    lr = degrade(hr[None], degradation)
    sizes = {"layers": 4, "width": 16, "steps": 150, "wait": 128, "note_every": 25, "crop": 32}
    _, sr = restored(lr, degradation, **sizes)
    bicubic = evaluation.Bicubic(2).restore(lr)
    gain = evaluation.psnr_y(sr[0], hr, 2) - evaluation.psnr_y(bicubic[0], hr, 2)
    assert gain > 1


def test_equal_seeds_give_equal_pictures_and_nothing_else_changes():
    lr, degradation = torch.rand(1, 3, 12, 14), Degradations.isotropic(1.2, 2)
    before = torch.get_rng_state()
    with torch.inference_mode():
        zssr, first = restored(lr, degradation)
        assert torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(zssr.restore(lr, degradation), first)
    other = ZSSR(2, SMOKE, seed=1, progress=False)
    assert not torch.equal(other.restore(lr, degradation), first)


def test_a_batch_is_its_pictures_one_by_one():
    lr = torch.rand(2, 3, 12, 14)
    each = Degradations.isotropic([0.6, 1.8], 2)
    zssr, both = restored(lr, each)
    for i in range(2):
        assert torch.equal(both[i : i + 1], zssr.restore(lr[i : i + 1], each[i]))


def test_it_can_be_watched():
    lr, degradation = torch.rand(1, 3, 12, 14), Degradations.isotropic(1.2, 2)
    zssr = ZSSR(2, SMOKE, progress=False)
    moments = [(m.step, m.loss, m.picture()) for m in zssr.adapt(lr, degradation)]
    assert [step for step, _, _ in moments] == list(range(SMOKE.steps + 1))
    assert moments[0][1] is None
    assert all(math.isfinite(loss) for _, loss, _ in moments[1:])
    assert not torch.equal(moments[0][2], moments[-1][2])


def test_what_cannot_be_restored_is_refused():
    zssr, lr = ZSSR(2, SMOKE, progress=False), torch.rand(2, 3, 12, 14)
    with pytest.raises(ValueError, match="zssr is not blind: give it the degradation"):
        zssr.restore(lr)
    with pytest.raises(ValueError, match="expected one picture to adapt to, got 2"):
        zssr.adapt(lr, Degradations.isotropic(1.2, 2))
    with pytest.raises(ValueError, match=r"1×14 is too small for zssr ×2: each side .* 2 pixels"):
        zssr.restore(lr[:, :, :1], Degradations.isotropic(1.2, 2))


def test_there_is_nothing_to_train_beforehand(tmp_path):
    assert not list(baselines.build("zssr", 2).parameters())
    with pytest.raises(ValueError, match="zssr is trained on the test picture alone"):
        training.Run(tmp_path, "zssr", "smoke", scale=2)
