"""Every figure, a file per section of the paper; each function draws data and returns a Figure."""

from dasrlib.plots.style import PALETTE, RC, image_axes

__all__ = ["PALETTE", "RC", "image_axes"]
