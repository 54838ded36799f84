"""results.csv: one row per test image with pixel counts, from which all metrics are computed.

The columns are those of the run and the image, the counts, and the metrics in order of registration, so a metric that
is added later is the last column. If the test set contains images without a mass, `NEGATIVE_COLUMNS` follow. The metric
columns are for human readers: `read_results` ignores them and computes
every registered metric from the counts.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mammoseg.csv_cells import escape_row, unescape_row
from mammoseg.data.store import Case
from mammoseg.files import atomic_write
from mammoseg.metrics import PIXEL_METRICS, metrics_from_counts

RUN_COLUMNS = ("run", "experiment", "dataset", "method", "model", "loss", "fold", "seed")
IMAGE_COLUMNS = ("case", "patient", "side", "view", "density")
ENSEMBLE = "-ensemble"  # in the name of the method of an ensemble, before the number of networks
NATIVE_FILE = "native.csv"  # results at native resolution, in the output folder of `evaluate`
SOURCE_COLUMN = "source"  # name of the dataset of the image, only in the results of a union of datasets
COUNTS = ("tp", "fp", "fn", "tn")
REQUIRED_RESULT_COLUMNS = (*RUN_COLUMNS, *IMAGE_COLUMNS, *COUNTS)
# Regions of the predicted mask whose centroid lies outside all masses, and the highest probability of a pixel.
FALSE_POSITIVES, MAX_PROBABILITY = "false_positives", "max_probability"
NEGATIVE_COLUMNS: dict[str, Callable[[str], float]] = {FALSE_POSITIVES: int, MAX_PROBABILITY: float}

# Value by column: density, counts and false positives are int, metrics (by key) and probabilities are float, all others
# are str.
ResultRow = dict[str, Any]


def columns() -> tuple[str, ...]:
    """Return the columns of results.csv, with all registered metrics."""
    return (*REQUIRED_RESULT_COLUMNS, *PIXEL_METRICS)


def make_row(run: Mapping[str, Any], case: Case, counts: Sequence[int]) -> ResultRow:
    """Create the row of one image.

    Args:
        run: Values of `RUN_COLUMNS`.
        case: The image.
        counts: Numbers of TP, FP, FN and TN pixels.
    """
    image = {name: getattr(case, name) for name in IMAGE_COLUMNS}
    return with_metrics([{**run, **image, **dict(zip(COUNTS, counts, strict=True))}])[0]


def has_mass(row: Mapping[str, Any]) -> bool:
    """Return whether the mask of an image contains a mass."""
    return bool(row["tp"] + row["fn"] > 0)


def with_metrics(rows: Iterable[Mapping[str, Any]]) -> list[ResultRow]:
    """Copy the rows and compute every metric from the counts; undefined metrics are NaN.

    An image without a mass has no DSC, even if pixels are predicted: metrics that are undefined for such an image with
    an empty prediction are undefined for all of them.
    """
    copies = [dict(row) for row in rows]
    values = metrics_from_counts(count_array(copies))
    without_mass = metrics_from_counts(np.array([0, 0, 0, 1]))
    for key, column in values.items():
        for row, value in zip(copies, column.tolist(), strict=True):
            row[key] = value if has_mass(row) or not np.isnan(without_mass[key]) else float("nan")
    return copies


def count_array(rows: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the counts TP, FP, FN and TN of shape (rows, 4)."""
    return np.array([[row[name] for name in COUNTS] for row in rows], dtype=np.int64).reshape(-1, 4)


def pooled_metrics(rows: Sequence[ResultRow]) -> dict[str, float]:
    """Compute every metric from the counts summed over the rows; undefined metrics are NaN."""
    return {key: float(value) for key, value in metrics_from_counts(count_array(rows).sum(axis=0)).items()}


def mean_image_metrics(rows: Sequence[ResultRow]) -> dict[str, float]:
    """Average every metric over the images with a mass.

    An image without a mass has no DSC or sensitivity, so it enters none of the means.

    Args:
        rows: Rows of results.csv.

    Returns:
        Means by key of the metric; NaN if the metric is undefined for an image with a mass, or if there is none.
    """
    with_mass = [row for row in rows if has_mass(row)]
    return {
        key: sum(row[key] for row in with_mass) / len(with_mass) if with_mass else float("nan") for key in PIXEL_METRICS
    }


def write_results(path: Path, rows: Iterable[Mapping[str, Any]], more_columns: Iterable[str] = ()) -> None:
    """Write results.csv atomically.

    Args:
        path: Output file.
        rows: Values of `REQUIRED_RESULT_COLUMNS` and of `more_columns`; metrics are computed from the counts.
        more_columns: Additional columns after those of results.csv.
    """
    write_table(path, with_metrics(rows), (*columns(), *more_columns))


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], header: Sequence[str]) -> None:
    """Write a CSV file atomically; text that starts as a formula does is escaped, see `csv_cells`.

    Args:
        path: Output file.
        rows: Value by column of each row.
        header: Names of the columns, in this order.
    """
    with atomic_write(path) as file:
        table = csv.DictWriter(file, header, lineterminator="\n")
        table.writeheader()
        table.writerows(map(escape_row, rows))


def read_results(path: Path) -> list[ResultRow]:
    """Read results.csv or a table with additional columns; every metric is computed from the counts.

    Args:
        path: Input file.

    Raises:
        KeyError: If the density or a count is missing.
        ValueError: If the density or a count is not an integer, or a probability is not a number.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        table = [unescape_row(row) for row in csv.DictReader(lines)]
    rows = [
        {
            **row,
            **{name: _number(row, name, int) for name in ("density", *COUNTS)},
            **{name: _number(row, name, parse) for name, parse in NEGATIVE_COLUMNS.items() if name in row},
        }
        for row in table
    ]
    return with_metrics(rows)


def _number(row: Mapping[str, str], name: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(row[name])
    except (ValueError, TypeError):  # None in a row that is too short
        kind = "an integer" if parse is int else "a number"
        raise ValueError(f"{name} of case {row.get('case')} must be {kind}, got {row[name] or 'nothing'}") from None
