"""Train a network, test it and report."""
