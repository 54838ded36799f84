"""A W&B workspace that compares the methods."""
