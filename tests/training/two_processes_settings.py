"""What one process and two train in test_processes: a batch of four pictures."""

from dataclasses import replace

from tiny_runs import MOCO, TINY

from dasrlib.degradation import DegradationSpace


def with_batch(profile, batch=4):
    return replace(
        profile,
        stage1=replace(profile.stage1, batch=batch),
        stage2=replace(profile.stage2, batch=batch),
    )


# The second with noise, drawn for the whole batch, and BatchNorm over queries and keys together.
CASES = {
    "queue": (with_batch(MOCO), DegradationSpace.isotropic(2)),
    "in-batch": (with_batch(TINY), DegradationSpace.anisotropic(2)),
}
