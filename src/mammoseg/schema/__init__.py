"""Types, ranges and names of all settings, checked before a command starts."""
