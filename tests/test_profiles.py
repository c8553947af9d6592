"""The table of profiles, and §4.1's learning rate over a stage."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dasrlib import data, paper, profiles
from dasrlib.profiles import PROFILES, Stage
from dasrlib.representation import IN_BATCH, MOCO
from dasrlib.training import learning_rate

# The learning rate


def test_the_papers_learning_rate():
    stage1, stage2 = PROFILES["paper"].stage1, PROFILES["paper"].stage2
    epoch = 1000  # iterations
    assert (stage1.iterations, stage2.iterations) == (100 * epoch, 500 * epoch)
    rates = {
        1e-3: [(stage1, 0), (stage1, 60 * epoch - 1)],
        1e-4: [(stage1, 60 * epoch), (stage1, 100 * epoch - 1), (stage2, 125 * epoch - 1)],
        5e-5: [(stage2, 125 * epoch), (stage2, 250 * epoch - 1)],
        2.5e-5: [(stage2, 250 * epoch), (stage2, 375 * epoch - 1)],
        1.25e-5: [(stage2, 375 * epoch), (stage2, 500 * epoch - 1)],
    }
    for rate, places in rates.items():
        for stage, iteration in places:
            assert learning_rate(stage, iteration) == pytest.approx(rate), iteration


def test_the_cosine_warms_up_and_falls_to_zero():
    stage = Stage(iterations=400, lr=2e-3, warmup=50)
    rates = [learning_rate(stage, i) for i in range(400)]
    assert rates[0] == pytest.approx(2e-3 / 51)
    assert rates[:50] == sorted(rates[:50])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert max(rates) == pytest.approx(2e-3, rel=0.05)  # the cosine has begun to fall by then
    assert rates[200] == pytest.approx(1e-3)
    assert 0 < rates[-1] < 1e-4 * 2e-3
    plain = replace(stage, warmup=0)
    assert learning_rate(plain, 0) == 2e-3
    assert learning_rate(plain, 100) == pytest.approx(2e-3 * (1 + math.sqrt(0.5)) / 2)


# The table of profiles


def test_the_paper_profile_is_the_papers():
    p = profiles.get("paper")
    assert p.stage1.batch == p.stage2.batch == paper.BATCH_SIZE
    assert (p.recipe, p.init_as_nearest_neighbour) == (MOCO, False)
    sizes = (p.sizes.groups, p.sizes.blocks, p.sizes.channels, p.sizes.reduction)
    assert sizes == (paper.GROUPS, paper.BLOCKS, paper.FEATURES, paper.REDUCTION)
    assert p.sizes.tail_channels == paper.FEATURES


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="schedule must be one of 'cosine', 'steps', got 'step'"):
        Stage(10, 1e-3, "step")
    with pytest.raises(ValueError, match="only the recipe study has GroupNorm"):
        replace(PROFILES["laptop"], recipe=replace(IN_BATCH, batchnorm="group"))


def test_smoke_alone_is_plumbing():
    assert [name for name, p in PROFILES.items() if p.is_plumbing] == ["smoke"]


def test_every_profile_is_one_that_can_run():
    assert list(PROFILES) == ["smoke", "laptop", "gpu", "paper"]
    for name, p in PROFILES.items():
        assert p.name == name
        # The centre of a 21×21 kernel must fit into an HR patch at ×2.
        assert 2 * p.patch > paper.KERNEL_SIZE // 2
        for stage in (p.stage1, p.stage2):
            assert stage.batch >= 2  # in-batch negatives need another picture
            assert 0 <= stage.warmup < stage.iterations
            assert all(0 < m < stage.iterations for m in stage.milestones)
        assert p.sizes.channels % p.sizes.reduction == 0
        assert set(p.data) <= {"samples", *data.available()}


def test_unknown_profile_suggests_the_nearest():
    with pytest.raises(ValueError, match="no profile is named 'papr': did you mean 'paper'"):
        profiles.get("papr")


def test_another_length_is_the_second_stages():
    laptop = profiles.get("laptop")
    longer = profiles.with_iterations(laptop, 12_000)
    assert longer.stage1 == laptop.stage1
    assert longer.stage2.iterations == 12_000 - 200
    with pytest.raises(ValueError, match="must be more than the 200 of stage 1"):
        profiles.with_iterations(laptop, 200)
