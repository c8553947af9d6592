"""One photograph before and after, with a divider to drag."""
