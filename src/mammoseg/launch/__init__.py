"""Launching and supervising runs: signals, sweeps, several processes."""
