"""The definition of a run: its settings, its folder, and the files in it."""
