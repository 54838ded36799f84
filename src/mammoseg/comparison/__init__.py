"""Sets of runs -> what can be said about their methods. Reads results tables, never a model."""
