"""Inference on new mammograms: ensemble, post-processing and output files."""
