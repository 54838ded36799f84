"""CSV tables, whatever wrote them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mammoseg.errors import UserError

Records = list[tuple[int, dict[str, str]]]


def read_csv(table: Path, separators: str = ",") -> tuple[list[str], Records]:
    """The columns, and (line, record) for each record; cells without blanks and line ends around them.

    `separators`: those that may be used; the most frequent in the heading is.
    UTF-8 with or without a byte order mark; bytes that are none become U+FFFD. Raises UserError.
    """
    try:
        text = table.read_bytes().decode("utf-8-sig", errors="replace")
        heading = text.partition("\n")[0]
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(separators, key=heading.count))
        columns = [(name or "").strip() for name in reader.fieldnames or []]
        records = [
            (
                reader.line_num,
                {(name or "").strip(): cell.strip() for name, cell in row.items() if isinstance(cell, str)},
            )
            for row in reader
        ]
    except (OSError, csv.Error) as error:
        raise UserError(f"{table}: broken or not readable ({error}); take the original again") from None
    return columns, records
