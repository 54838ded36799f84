"""Create a W&B workspace that compares the methods."""
