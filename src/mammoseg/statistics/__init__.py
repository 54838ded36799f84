"""Bootstrap intervals, significance tests and the comparison of methods."""
