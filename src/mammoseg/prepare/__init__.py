"""Preprocess a dataset and report on it."""
