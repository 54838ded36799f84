"""Lightning callbacks. conf/callbacks selects optional ones; `TrainingRun` adds those that every run requires."""
