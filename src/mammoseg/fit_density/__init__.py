"""Fit the model that estimates the breast density."""
