"""Synthetic mammograms: drawn by `anatomy`, written in the layouts of real datasets by `write`."""
