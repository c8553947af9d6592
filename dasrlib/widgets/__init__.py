"""The interactive demonstrations: each a function that takes pictures and weights and returns one
widget, whose first frame is a plain figure where no kernel runs."""

from dasrlib.widgets.before_after import BeforeAfter, before_after
from dasrlib.widgets.degradation_lab import degradation_lab
from dasrlib.widgets.frame import Frame

__all__ = ["BeforeAfter", "Frame", "before_after", "degradation_lab"]
