"""The interactive demonstrations: each a function that takes pictures and weights and returns one
widget, whose first frame is a plain figure where no kernel runs."""

from dasrlib.widgets.ablation_explorer import ablation_explorer
from dasrlib.widgets.before_after import BeforeAfter, before_after
from dasrlib.widgets.degradation_lab import degradation_lab
from dasrlib.widgets.frame import Frame
from dasrlib.widgets.representation_map import representation_map
from dasrlib.widgets.told import what_it_was_told

__all__ = [
    "BeforeAfter",
    "Frame",
    "ablation_explorer",
    "before_after",
    "degradation_lab",
    "representation_map",
    "what_it_was_told",
]
