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
    "ikc": Stage(600, lr=5e-4, warmup=50, batch=8),  # 2.3 on an EPYC, with five updates
    "mzsr": Stage(1200, lr=1e-4, warmup=50, batch=8),  # 0.9 on an EPYC
}
LAPTOP_FIRST = {"mzsr": Stage(3000, lr=4e-4, warmup=50, batch=8)}  # 0.16 on an EPYC
LAPTOP_PATCH = {"mzsr": 16, "ikc": 24}  # LR pixels, where it is not the profile's


def stages(name: str, profile: Profile) -> tuple[Stage, Stage]:
    """Both stages of a system's training; most have the second alone.

    Args:
        name: of baselines.TRAINED.
        profile: for "laptop" the tables above. Else DASR's two stages, as one with the rate of the
            second where a system has one.
    """
    nothing = replace(profile.stage1, iterations=0)
    if profile.name == "laptop":
        return LAPTOP_FIRST.get(name, nothing), LAPTOP[name]
    if name in LAPTOP_FIRST:
        return profile.stage1, profile.stage2
    iterations = profile.stage1.iterations + profile.stage2.iterations
    return nothing, replace(profile.stage2, iterations=iterations)
