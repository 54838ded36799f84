"""Breast-mass segmentation in whole mammograms: the Density-ASP loss, its rivals, and believable tables."""

__version__ = "0.1.0"
