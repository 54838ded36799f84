"""Synthetic mammograms in the layouts of real datasets."""
