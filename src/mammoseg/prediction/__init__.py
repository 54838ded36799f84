"""From checkpoints and mammograms to a folder of predictions."""
