"""metrics.csv: the logged metrics of a run, continued in the same file after an interruption."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from torch import Tensor
from typing_extensions import override

from mammoseg.files import atomic_write


class MetricsLogger(Logger):
    """Logger that writes metrics.csv, with one column per metric in alphabetical order.

    Lightning's CSVLogger deletes the rows of an interrupted run, and a process that is killed while it adds a column
    loses all rows. This logger appends rows, and replaces the file atomically if it needs new columns.

    Args:
        path: Path of metrics.csv.
        rows: Rows with which the file starts; rows of an existing file are replaced.
    """

    def __init__(self, path: Path, rows: list[dict[str, Any]]) -> None:
        super().__init__()
        self.path = path
        self.rows = rows
        self.n_saved = 0
        self.header: list[str] = []
        if rows:
            self.save()
        else:
            path.unlink(missing_ok=True)

    @property
    @override
    def name(self) -> str:
        """Empty, so that the files of Lightning's callbacks are in the run folder."""
        return ""

    @property
    @override
    def version(self) -> str:
        """Empty; see `name`."""
        return ""

    @property
    @override
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    @override
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing; run.json contains the settings."""

    @override
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row; `save` writes it.

        Args:
            metrics: Value by name.
            step: Optimizer step.
        """
        values = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self.rows.append({**values, "step": len(self.rows) if step is None else step})

    @override
    def save(self) -> None:
        """Write the rows that were added since the previous call."""
        added = self.rows[self.n_saved :]
        if not added:
            return
        header = sorted({*self.header, *(name for row in added for name in row)})
        if header != self.header or not self.path.is_file():
            with atomic_write(self.path) as file:
                file.write(format_rows(header, self.rows, with_header=True))
        else:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(format_rows(header, added))
        self.header, self.n_saved = header, len(self.rows)

    @override
    def finalize(self, status: str) -> None:
        """Write all rows."""
        self.save()


def resumable_csv_logger(
    path: Path, first_step: int, train_metrics: Mapping[str, float] | None = None
) -> MetricsLogger:
    """Build a logger that continues metrics.csv.

    Args:
        path: Path of metrics.csv.
        first_step: Optimizer step at which training starts or resumes. Rows from this step on, rows of a test and
            damaged rows are removed, since they will be logged again.
        train_metrics: Training metrics of the last epoch, from the checkpoint; they are added if the file lacks them.

    Returns:
        The logger.
    """
    rows: list[dict[str, Any]] = [dict(row) for row in read_rows(path) if is_retained(row, first_step)]
    if train_metrics and rows and not any(is_same_epoch(row, train_metrics) for row in rows):
        rows.append(dict(train_metrics))
    return MetricsLogger(path, rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the complete rows of metrics.csv, without empty cells; none if the file does not exist."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    complete = [line for line in lines if line.endswith("\n")]  # a full disk may have truncated the last line
    rows = csv.DictReader(complete)
    return [{name: value for name, value in row.items() if name and value} for row in rows if None not in row.values()]


def format_rows(header: list[str], rows: list[dict[str, Any]], *, with_header: bool = False) -> str:
    """Format rows as CSV; missing values are empty cells."""
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    if with_header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def is_same_epoch(row: Mapping[str, Any], train_metrics: Mapping[str, float]) -> bool:
    """Return True if a row of metrics.csv contains the training metrics of the same epoch."""
    return row.get("epoch") == str(train_metrics["epoch"]) and "train/loss" in row


def is_retained(row: Mapping[str, str], first_step: int) -> bool:
    """Return True if a row of metrics.csv was logged before `first_step` and will not be logged again."""
    tested = any(name.startswith("test/") for name in row)
    step = row.get("step", "")
    return not tested and step.isdecimal() and int(step) < first_step
