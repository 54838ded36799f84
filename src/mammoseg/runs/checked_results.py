"""Reading of results.csv of any origin: invalid values are reported with the file and a remedy."""

from __future__ import annotations

import csv
from pathlib import Path

from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.runs import results
from mammoseg.runs.predictions import MAX_SIZE
from mammoseg.runs.results import COUNTS, FALSE_POSITIVES, MAX_PROBABILITY, RUN_COLUMNS, ResultRow
from mammoseg.schema.text_types import FileName

TEST_AGAIN = "delete the file and test the run again with mammoseg.evaluate"
MAX_PIXELS = MAX_SIZE**2  # of a prepared image


def read_rows(path: Path) -> list[ResultRow]:
    """Read and validate results.csv.

    Raises:
        UserError: If the file is empty, lacks a column, or contains an invalid value or an image twice.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            columns = csv.DictReader(lines).fieldnames or []
        if missing := [name for name in results.REQUIRED_RESULT_COLUMNS if name not in columns]:
            raise UserError(f"{path}: has no column {', '.join(missing)}; {TEST_AGAIN}")
        rows = results.read_results(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: must be text in UTF-8; {TEST_AGAIN}") from error
    except (ValueError, OverflowError, csv.Error) as error:
        raise UserError(f"{path}: {error}; {TEST_AGAIN}") from error
    if not rows:
        raise UserError(f"{path}: has no rows, since the test part was empty; check the split of the run")
    for row in rows:
        check_row(row, path)
    if len({row["case"] for row in rows}) < len(rows):
        raise UserError(f"{path}: contains an image twice; test the run again")
    return rows


def check_row(row: ResultRow, path: Path) -> None:
    """Check the values of a row of results.csv, which are part of file names and tables.

    Raises:
        UserError: If a value is invalid.
    """
    if any(not 0 <= row[name] <= MAX_PIXELS for name in COUNTS):
        raise UserError(f"{path}: case {row['case']} must have between 0 and {MAX_PIXELS} pixels; test the run again")
    if not 0 <= row.get(FALSE_POSITIVES, 0) <= MAX_PIXELS or not 0 <= row.get(MAX_PROBABILITY, 0) <= 1:
        raise UserError(
            f"{path}: {FALSE_POSITIVES} of case {row['case']} must be at least 0 and {MAX_PROBABILITY} from 0 to 1; "
            "test the run again"
        )
    if row["density"] not in list(ACRDensity):
        raise UserError(f"{path}: density must be from 1 to 4, got {row['density']}; test the run again")
    if not FileName().accepts(row["dataset"]):
        raise UserError(f"{path}: dataset must be {FileName().description}, got {row['dataset']!r}; test the run again")
    if unprintable := [name for name in (*RUN_COLUMNS, "trained_on") if not str(row.get(name, "")).isprintable()]:
        raise UserError(f"{path}: {unprintable[0]} must be one line of text, got {row[unprintable[0]]!r}")
    if not row["method"]:
        raise UserError(f"{path}: method must not be empty; test the run again")
