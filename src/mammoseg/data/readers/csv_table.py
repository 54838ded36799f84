"""CSV reader for the dialects of datasets, spreadsheets and locales."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mammoseg.errors import UserError

DELIMITERS = ",;\t"
Rows = list[tuple[int, list[str]]]
Records = list[tuple[int, dict[str, str]]]


def read_csv_rows(path: Path) -> Rows:
    """Read a CSV file without interpreting its header.

    The delimiter is the most frequent one of `DELIMITERS` in the first line. The encoding is UTF-8 with or without a
    byte order mark; invalid bytes are replaced by U+FFFD.

    Args:
        path: The CSV file.

    Returns:
        (line number, cells) of each non-blank row; surrounding white space is stripped from the cells.

    Raises:
        UserError: If the file cannot be read or parsed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
        header = text.partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=header.count))
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: damaged or not readable ({error}); replace it with the original") from None


def read_csv(path: Path) -> tuple[list[str], Records]:
    """Read a CSV file whose first row is the header.

    Args:
        path: The CSV file; see `read_csv_rows`.

    Returns:
        The column names, and (line number, {column: cell}) of each record; short records lack the last columns.

    Raises:
        UserError: If the file cannot be read or parsed.
    """
    rows = read_csv_rows(path)
    if not rows:
        return [], []
    (_, columns), *records = rows
    return columns, [(line, dict(zip(columns, cells, strict=False))) for line, cells in records]
