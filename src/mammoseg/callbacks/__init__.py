"""Lightning callbacks. The optional ones are selected in conf/callbacks; `TrainingRun` adds the others."""
