"""§4.1 Training in two stages: run, step, patches, and the CUDA graph of a step."""

from dasrlib.training.log import Log as Log
from dasrlib.training.run import Run as Run
from dasrlib.training.settings import identity as identity
from dasrlib.training.settings import require_same_settings as require_same_settings
from dasrlib.training.step import learning_rate as learning_rate
from dasrlib.training.trained_systems import profile_for as profile_for
