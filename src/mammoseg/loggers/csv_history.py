"""metrics.csv: the logged metrics of a run, continued in the same file after an interruption."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger

from mammoseg.files import atomic_write


def resumable_csv_logger(path: Path, first_step: int, train_metrics: Mapping[str, float] | None = None) -> CSVLogger:
    """Build a logger that appends to metrics.csv.

    Args:
        path: Path of metrics.csv.
        first_step: Optimizer step at which training starts or resumes. Rows from this step on, rows of a test and
            truncated rows are removed, since they will be logged again.
        train_metrics: Training metrics of the last epoch, from the checkpoint; they are added if the file lacks them.

    Returns:
        The logger.
    """
    backup = path.with_name(f"{path.name}.kept")  # rows to retain
    # If `path` is missing, the process was killed after CSVLogger removed it and before it was replaced.
    previous = path if path.is_file() else backup
    header: list[str] = []
    rows: list[dict[str, str]] = []
    if previous.is_file():
        with previous.open(newline="") as lines:
            table = csv.DictReader(lines)
            rows = [row for row in table if is_retained(row, first_step)]
            header = list(table.fieldnames or ())
    if train_metrics and header and not any(is_same_epoch(row, train_metrics) for row in rows):
        header = sorted({*header, *train_metrics})
        rows.append({name: str(value) for name, value in train_metrics.items()})
    if rows:
        with atomic_write(backup) as lines:
            writer = csv.DictWriter(lines, header)
            writer.writeheader()
            writer.writerows(rows)
    with warnings.catch_warnings():
        # CSVLogger removes an existing metrics.csv, and warns that the folder is not empty.
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        logger = CSVLogger(path.parent, name="", version="")
        experiment = logger.experiment
    if rows:
        experiment.metrics_keys = header
        backup.replace(path)
    return logger


def is_same_epoch(row: Mapping[str, str], train_metrics: Mapping[str, float]) -> bool:
    """Return True if a row of metrics.csv contains the training metrics of the same epoch."""
    return row.get("epoch") == str(train_metrics["epoch"]) and bool(row.get("train/loss"))


def is_retained(row: dict[str, str], first_step: int) -> bool:
    """Return True if a row of metrics.csv was logged before `first_step` and will not be logged again."""
    truncated = None in row.values()
    tested = any(value for name, value in row.items() if name and name.startswith("test/"))
    return not truncated and not tested and int(row["step"]) < first_step
