"""Report on a hyperparameter sweep."""
