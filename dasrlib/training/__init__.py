"""§4.1 Training in two stages: run, step, patches, and the CUDA graph of a step."""

from dasrlib.training.run import Run as Run
from dasrlib.training.run import identity as identity
