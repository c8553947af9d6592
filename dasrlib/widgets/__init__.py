"""The interactive demonstrations: each a function that takes pictures and weights and returns one
widget, whose first frame is a plain figure where no kernel runs."""

from dasrlib.widgets.base.interactive_figure import InteractiveFigure
from dasrlib.widgets.divider.widget import BeforeAfter, before_after
from dasrlib.widgets.explorer import ablation_explorer
from dasrlib.widgets.lab import degradation_lab
from dasrlib.widgets.mismatch import kernel_mismatch
from dasrlib.widgets.point_map.widget import representation_map

__all__ = [
    "BeforeAfter",
    "InteractiveFigure",
    "ablation_explorer",
    "before_after",
    "degradation_lab",
    "kernel_mismatch",
    "representation_map",
]
