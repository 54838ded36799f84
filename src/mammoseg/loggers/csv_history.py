"""metrics.csv: what was logged in each epoch, in one file however often the run was stopped and gone on with."""

from __future__ import annotations

import csv
import os
import warnings
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger

NAME = "metrics.csv"


def history(folder: Path, step: int) -> CSVLogger:
    """The logger that writes `folder`/metrics.csv, after what stands there from before training step `step`."""
    path, kept = folder / NAME, folder / f"{NAME}.kept"
    before = path if path.is_file() else kept  # if it was killed while the lines below were at work
    header: list[str] = []
    rows: list[dict[str, str]] = []
    if before.is_file():
        with before.open(newline="") as lines:
            table = csv.DictReader(lines)
            # A line that was cut short lacks values.
            rows = [row for row in table if None not in row.values() and int(row["step"]) < step]
            header = list(table.fieldnames or ())
    if rows:
        with kept.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, header)
            writer.writeheader()
            writer.writerows(rows)
    with warnings.catch_warnings():
        # It warns of a folder that is not empty, ours holds the composed config already, and removes metrics.csv.
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        logger = CSVLogger(folder, name="", version="")
        experiment = logger.experiment
    if rows:
        experiment.metrics_keys = header
        os.replace(kept, path)
    return logger
