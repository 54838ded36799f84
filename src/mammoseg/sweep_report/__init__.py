"""Report on a hyper-parameter sweep."""
