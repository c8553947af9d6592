"""DASR (CVPR 2021), section by section: degradations, their representation, the network that reads it."""

__version__ = "0.1.0"
