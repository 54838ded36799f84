"""Reader of spreadsheets (.xls, .xlsx), shared by the dataset readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from python_calamine import CalamineError, CalamineWorkbook

from mammoseg.data.readers.csv_table import normalise_heading, strip_decimals
from mammoseg.errors import UserError


def read_sheet(file: Path, sheet: str | None = None) -> list[list[str]]:
    """Read the rows of a sheet; cells are stripped, and integers have no decimals.

    Args:
        file: The spreadsheet.
        sheet: Name of the sheet; None for the first one.

    Returns:
        Cells of each row.

    Raises:
        UserError: If the file cannot be read, or has no such sheet.
    """
    try:
        workbook = CalamineWorkbook.from_path(str(file))
        if sheet is not None and sheet not in workbook.sheet_names:
            raise UserError(
                f"{file}: must have a sheet {sheet}, got {', '.join(workbook.sheet_names)}; replace it with the table "
                "from the release"
            )
        opened = workbook.get_sheet_by_index(0) if sheet is None else workbook.get_sheet_by_name(sheet)
        rows = opened.to_python()
    except (CalamineError, OSError):
        raise UserError(f"{file}: damaged or not readable; replace it with the table from the release") from None
    return [[strip_decimals(str(cell).strip()) for cell in cells] for cells in rows]


def select_columns(
    file: Path,
    rows: Sequence[Sequence[str]],
    columns: Mapping[str, Sequence[str]],
    is_record: Callable[[Sequence[str]], bool],
) -> list[dict[str, str]]:
    """Return the records of a sheet whose header may have several rows.

    Args:
        file: The spreadsheet, for error messages.
        rows: Cells of each row, from `read_sheet`.
        columns: Spellings of the heading of each column, which are compared by `normalise_heading`.
        is_record: Whether a row is a record. The rows before the first one are the header.

    Returns:
        Cells of each record by the name of the column.

    Raises:
        UserError: If a column is missing.
    """
    start = next((index for index, cells in enumerate(rows) if is_record(cells)), len(rows))
    headings = [(normalise_heading(cell), index) for cells in rows[:start] for index, cell in enumerate(cells)]
    found: dict[str, int] = {}
    for name, spellings in columns.items():
        accepted = {normalise_heading(spelling) for spelling in spellings}
        for heading, index in headings:
            if heading in accepted:
                found.setdefault(name, index)
    if missing := [spellings[0] for name, spellings in columns.items() if name not in found]:
        raise UserError(f"{file}: no column {' and '.join(missing)}; replace it with the table from the release")
    records = [cells for cells in rows[start:] if is_record(cells)]
    return [{name: cells[index] if index < len(cells) else "" for name, index in found.items()} for cells in records]
