"""What goes on around runs: sweeps and searches, several processes for one run, and being told to stop."""
