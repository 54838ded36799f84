"""Readers of the dataset layouts."""
