"""§4.1 How long each system is trained, and with which learning rate.

In the profile `laptop` every system has at most half an hour of one thread. Its learning rates are
those that the systems' own papers print, or Model 4's where a short schedule asks for more; they
were not tuned. In the other profiles every system has the iterations that DASR has.
"""

from __future__ import annotations

from dataclasses import replace

from dasrlib.profiles import Profile, Stage

# Behind a line: seconds an iteration on one thread of a busy Xeon, LR patches 32×32, ×4.
LAPTOP = {
    "srcnn": Stage(4000, lr=1e-3, warmup=100, batch=2),  # 0.26 to 0.40; HR patches are large
    "rcan": Stage(3500, lr=8e-4, warmup=100, batch=8),  # 0.48
    "dncnn": Stage(6000, lr=1e-3, warmup=100, batch=8),  # 0.13
    "srmd": Stage(7000, lr=1e-3, warmup=100, batch=8),  # 0.24
    "srmdnf": Stage(7000, lr=1e-3, warmup=100, batch=8),  # 0.24
    "predictor": Stage(20000, lr=1e-3, warmup=100, batch=8),  # 0.03
    "sftmd": Stage(2000, lr=8e-4, warmup=100, batch=8),  # 0.91
    "ikc": Stage(750, lr=5e-4, warmup=50, batch=8),  # 2.35, with five updates
}


def stage(name: str, profile: Profile) -> Stage:
    """The one stage of a system's training.

    Args:
        name: of baselines.NETWORKS.
        profile: for "laptop" the table above; else DASR's two stages as one, with the rate of the
            second.
    """
    if profile.name == "laptop":
        return LAPTOP[name]
    iterations = profile.stage1.iterations + profile.stage2.iterations
    return replace(profile.stage2, iterations=iterations)
