"""Evaluate a checkpoint on its test set."""
