"""metrics.csv: what was logged in each epoch, in one file however often the run was stopped and gone on with."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger

NAME = "metrics.csv"


def history(folder: Path, step: int) -> CSVLogger:
    """The logger that writes `folder`/metrics.csv, after what stands there from before training step `step`."""
    path = folder / NAME
    header: list[str] = []
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="") as lines:
            table = csv.DictReader(lines)
            rows = [row for row in table if int(row["step"]) < step]
            header = list(table.fieldnames or ())
    with warnings.catch_warnings():
        # It warns of a folder that is not empty, ours holds the composed config already, and removes metrics.csv.
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        logger = CSVLogger(folder, name="", version="")
        experiment = logger.experiment
    if rows:
        experiment.metrics_keys = header
        with path.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, header)
            writer.writeheader()
            writer.writerows(rows)
    return logger
