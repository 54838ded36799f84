"""Experiment loggers, chosen in conf/logger."""
