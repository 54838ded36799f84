"""metrics.csv of a resumed run."""

from __future__ import annotations

import csv
from pathlib import Path

from mammoseg.loggers.csv_history import resumable_csv_logger

TRAIN_ROW = {"epoch": 1, "step": 9, "train/loss": 0.25}


def write_history(path: Path, *, with_last_train_row: bool) -> list[dict[str, str]]:
    logger = resumable_csv_logger(path, first_step=0)
    logger.log_metrics({"epoch": 0, "train/loss": 0.5}, step=4)
    logger.log_metrics({"epoch": 1, "val/dsc": 0.1}, step=9)
    if with_last_train_row:
        logger.log_metrics({"epoch": 1, "train/loss": 0.25}, step=9)
    logger.save()
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_missing_row_of_training_metrics_is_restored(tmp_path: Path) -> None:
    written = write_history(tmp_path / "complete" / "metrics.csv", with_last_train_row=True)
    path = tmp_path / "incomplete" / "metrics.csv"
    assert len(write_history(path, with_last_train_row=False)) == len(written) - 1
    resumable_csv_logger(path, first_step=10, train_metrics=TRAIN_ROW)
    restored = list(csv.DictReader(path.read_text().splitlines()))
    values = [{name: float(value) for name, value in row.items() if value} for row in restored]
    assert values == [{name: float(value) for name, value in row.items() if value} for row in written]


def test_a_row_of_training_metrics_is_not_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.csv"
    written = write_history(path, with_last_train_row=True)
    resumable_csv_logger(path, first_step=10, train_metrics=TRAIN_ROW)
    assert list(csv.DictReader(path.read_text().splitlines())) == written
