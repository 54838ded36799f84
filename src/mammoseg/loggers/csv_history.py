"""metrics.csv: the logged metrics of a run, in one file however often the run is interrupted and resumed."""

from __future__ import annotations

import csv
import os
import warnings
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger

METRICS_FILE = "metrics.csv"


def resumable_csv_logger(folder: Path, first_step: int) -> CSVLogger:
    """Build a logger that appends to `folder`/metrics.csv.

    Args:
        folder: The run folder.
        first_step: Optimizer step at which training begins or resumes. Rows from this step on, and truncated ones,
            are removed, because training writes them again.

    Returns:
        The logger.
    """
    path, kept = folder / METRICS_FILE, folder / f"{METRICS_FILE}.kept"
    previous = path if path.is_file() else kept  # the process was killed between CSVLogger's removal and os.replace
    header: list[str] = []
    rows: list[dict[str, str]] = []
    if previous.is_file():
        with previous.open(newline="") as lines:
            table = csv.DictReader(lines)
            rows = [row for row in table if None not in row.values() and int(row["step"]) < first_step]
            header = list(table.fieldnames or ())
    if rows:
        with kept.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, header)
            writer.writeheader()
            writer.writerows(rows)
    with warnings.catch_warnings():
        # CSVLogger removes an existing metrics.csv, and warns that the folder is not empty: it holds the config.
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        logger = CSVLogger(folder, name="", version="")
        experiment = logger.experiment
    if rows:
        experiment.metrics_keys = header
        os.replace(kept, path)
    return logger
