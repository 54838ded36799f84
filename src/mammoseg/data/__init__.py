"""Datasets: reading, preprocessing, splitting and batching of mammograms."""
