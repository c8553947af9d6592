"""DASR (CVPR 2021): degradations, their representation, and the network that reads it."""

__version__ = "0.1.0"
