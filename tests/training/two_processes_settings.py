"""What one process and two train in test_processes: three iterations on four pictures each."""

from dataclasses import replace

from tiny_runs import MOCO, TINY

from dasrlib.degradation import DegradationSpace


def short(profile):
    return replace(
        profile,
        stage1=replace(profile.stage1, iterations=1, batch=4),
        stage2=replace(profile.stage2, iterations=2, batch=4, warmup=0),
        checkpoint_minutes=0.5,  # each iteration, by the clock of the tests
    )


# The second with noise, drawn for the whole batch, and BatchNorm over queries and keys together.
CASES = {
    "queue": (short(MOCO), DegradationSpace.isotropic(2)),
    "in-batch": (short(TINY), DegradationSpace.anisotropic(2)),
}
