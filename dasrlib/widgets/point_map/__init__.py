"""A map of representations, with a picture to place on it."""
