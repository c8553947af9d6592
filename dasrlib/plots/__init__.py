"""Every figure, a file per section of the paper; each function draws data and returns a Figure."""

from dasrlib.plots.panels import bars, curves, picture_grid, pictures
from dasrlib.plots.style import PALETTE, RC, image_axes

__all__ = ["PALETTE", "RC", "bars", "curves", "image_axes", "picture_grid", "pictures"]
