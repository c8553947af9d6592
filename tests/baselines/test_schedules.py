"""The schedules: one for every network, in every profile."""

from __future__ import annotations

import pytest

from dasrlib import profiles
from dasrlib.baselines import NETWORKS, schedules
from dasrlib.training.step import learning_rate


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_schedule_in_every_profile(name):
    for profile in profiles.PROFILES.values():
        stage = schedules.stage(name, profile)
        rates = [learning_rate(stage, i) for i in range(0, stage.iterations, stage.iterations // 5)]
        assert 0 < max(rates) <= stage.lr
        if profile.name != "laptop":  # as long as DASR's training
            both = profile.stage1.iterations + profile.stage2.iterations
            assert stage.iterations == both


def test_the_laptop_has_no_other_networks():
    assert set(schedules.LAPTOP) == set(NETWORKS)
