"""The interactive demonstrations: each a function that takes pictures and weights and returns one
widget, whose first frame is a plain figure where no kernel runs."""

from dasrlib.widgets.ablation_explorer.widget import ablation_explorer
from dasrlib.widgets.base.frame import Frame
from dasrlib.widgets.before_after.widget import BeforeAfter, before_after
from dasrlib.widgets.degradation_lab import degradation_lab
from dasrlib.widgets.kernel_mismatch.widget import what_it_was_told
from dasrlib.widgets.representation_map.widget import representation_map

__all__ = [
    "BeforeAfter",
    "Frame",
    "ablation_explorer",
    "before_after",
    "degradation_lab",
    "representation_map",
    "what_it_was_told",
]
