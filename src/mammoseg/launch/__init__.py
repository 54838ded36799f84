"""Launching and supervision of runs: sweeps, distributed processes and signals."""
