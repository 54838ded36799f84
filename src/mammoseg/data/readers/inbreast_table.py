"""Reader of INbreast.csv, and of the spreadsheets that some copies of the release contain instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mammoseg.data.readers.csv_table import normalise_heading, read_csv_rows, strip_decimals
from mammoseg.data.readers.spreadsheet import read_sheet
from mammoseg.errors import UserError

CASE = re.compile(r"\d{8}")


@dataclass(frozen=True)
class InbreastRow:
    """Cells of one image in the table, as text.

    Attributes:
        acr: ACR density.
        side: Laterality, L or R.
        view: View position, CC or MLO.
    """

    acr: str
    side: str
    view: str


def read_table(files: Sequence[Path]) -> dict[str, InbreastRow | None]:
    """Read the table; a CSV file takes precedence over a spreadsheet.

    Args:
        files: Candidates for the table.

    Returns:
        The row of each case, None if it has contradictory rows.

    Raises:
        UserError: If a column is missing, or if several tables differ.
    """
    file, *others = sorted(files, key=lambda file: (file.suffix.lower(), file))  # .csv comes first
    lines = read_cells(file)
    for other in others:
        if other.suffix.lower() == file.suffix.lower() and read_cells(other) != lines:
            raise UserError(f"{file} and {other} differ; set dataset.root to the folder of one of them")
    headings = [[normalise_heading(cell) for cell in line] for line in lines]
    columns = next((line for line in headings if normalise_heading("File Name") in line), [])
    if missing := [name for name in ("File Name", "ACR") if normalise_heading(name) not in columns]:
        raise UserError(f"{file}: no column {' and '.join(missing)}; replace it with the table from the release")
    rows: dict[str, InbreastRow | None] = {}
    for line in lines:
        values = dict(zip(columns, line, strict=False))
        # A row without a File Name is the header, a blank line, or the spreadsheet's totals.
        if CASE.fullmatch(case := values.get("filename", "")):
            row = InbreastRow(values.get("acr", ""), values.get("laterality", ""), values.get("view", ""))
            rows[case] = row if rows.get(case, row) == row else None
    return rows


def read_cells(file: Path) -> list[list[str]]:
    """Read the rows of a CSV file or of the first sheet of a spreadsheet, with stripped cells.

    Raises:
        UserError: If the file cannot be read.
    """
    if file.suffix.lower() == ".csv":
        return [[strip_decimals(cell) for cell in cells] for _, cells in read_csv_rows(file)]
    return read_sheet(file)
