"""Definition of a run: settings, run folder, and files."""
