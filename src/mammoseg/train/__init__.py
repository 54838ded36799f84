"""Train a network, test it and report the results."""
