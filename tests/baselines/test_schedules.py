"""The schedules: one for every network, in every profile."""

from __future__ import annotations

import pytest

from dasrlib import profiles
from dasrlib.baselines import TRAINED, schedules
from dasrlib.training.step import learning_rate


@pytest.mark.parametrize("name", TRAINED)
def test_every_network_has_a_schedule_in_every_profile(name):
    for profile in profiles.PROFILES.values():
        stages = [s for s in schedules.stages(name, profile) if s.iterations]
        assert len(stages) == (2 if name == "mzsr" else 1)
        for stage in stages:
            every = stage.iterations // 5
            rates = [learning_rate(stage, i) for i in range(0, stage.iterations, every)]
            assert 0 < max(rates) <= stage.lr
        if profile.name != "laptop":  # as long as DASR's training
            both = profile.stage1.iterations + profile.stage2.iterations
            assert sum(stage.iterations for stage in stages) == both


def test_the_laptop_has_no_other_networks():
    assert set(schedules.LAPTOP) == set(TRAINED)
