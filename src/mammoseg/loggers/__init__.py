"""Experiment loggers, selected in conf/logger."""
