"""CSV reader for the dialects of datasets, spreadsheets and locales, shared by all dataset readers."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from mammoseg.errors import UserError

DELIMITERS = ",;\t"
# UTF-32 first, since its mark begins with that of UTF-16.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN = "cp1252"
BLOCK_SIZE = 1 << 16  # bytes
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # first line of CSV files written for Excel
EXTRA_CELLS = " "  # key of the cells beyond the last column, joined; headings are stripped, so none is a space
Rows = list[tuple[int, list[str]]]
Records = list[tuple[int, dict[str, str]]]


def read_csv_rows(path: Path) -> Rows:
    """Read a CSV file without interpreting its header; see `iterate_csv_rows`."""
    return list(iterate_csv_rows(path))


def iterate_csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV file row by row, in constant memory, without interpreting its header.

    The delimiter is the most frequent one of `DELIMITERS` in the first line, unless that is `sep=;`. For the encoding,
    see `table_encoding`.

    Args:
        path: The CSV file.

    Yields:
        (line number, cells) of each non-blank row; surrounding white space is stripped from the cells.

    Raises:
        UserError: If the file cannot be read or parsed.
    """
    try:
        with open_table(path) as lines:
            header = lines.readline()
            separator = SEPARATOR_LINE.match(header)
            if separator is None:
                lines.seek(0)
            delimiter = separator[1] if separator else max(DELIMITERS, key=header.count)
            # strict: a quotation mark that is not closed would append all following rows to a cell.
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            first_line = 1 if separator else 0
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield reader.line_num + first_line, cells
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged or not readable ({error}); replace it with the original") from None


def decode_lines(path: Path) -> list[str]:
    """Read the lines of a text file in any of the encodings of `table_encoding`.

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        with open_table(path) as lines:
            return lines.read().splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged or not readable ({error}); replace it with the original") from None


def open_table(path: Path) -> TextIO:
    """Open a text file for reading in its encoding, see `table_encoding`."""
    encoding = table_encoding(path)
    return path.open(encoding=encoding, errors="replace" if encoding == WESTERN else "strict", newline="")


def table_encoding(path: Path) -> str:
    """Return the encoding of a CSV file.

    It is that of the byte order mark. Without one, it is UTF-16 if every second byte is zero, else UTF-8, else
    Windows-1252, which Excel writes in Western Europe; its undefined bytes are read as U+FFFD.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "table.csv"
        ...     _ = path.write_bytes("case;n\u00e4me".encode("cp1252"))
        ...     table_encoding(path)
        'cp1252'
    """
    with path.open("rb") as file:
        block = file.read(1024)
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if block.startswith(mark):
                return encoding
        if len(block) > 1 and b"\0" in block:
            return "utf-16-le" if block[1::2].count(0) > block[::2].count(0) else "utf-16-be"
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while block:
                decoder.decode(block)
                block = file.read(BLOCK_SIZE)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return WESTERN
    return "utf-8"


def normalise_heading(heading: str) -> str:
    """Return a column heading without case, spaces, underscores and hyphens, by which headings are compared.

    Example:
        >>> normalise_heading("Breast_density"), normalise_heading("breast density")
        ('breastdensity', 'breastdensity')
    """
    return re.sub(r"[\s_-]", "", heading).lower()


def strip_decimals(cell: str) -> str:
    """Return an integer without the decimals that spreadsheets and pandas add.

    Example:
        >>> strip_decimals("22678622.0"), strip_decimals("1.5"), strip_decimals("a.0")
        ('22678622', '1.5', 'a.0')
    """
    return re.sub(r"^(\d+)\.0+$", r"\1", cell)


def read_csv(path: Path) -> tuple[list[str], Records]:
    """Read a CSV file whose first row is the header.

    Args:
        path: The CSV file; see `read_csv_rows`.

    Returns:
        The column names, and (line number, {column: cell}) of each record. Short records lack the last columns; the
        non-blank cells of long records beyond the last column are joined under `EXTRA_CELLS`.

    Raises:
        UserError: If the file cannot be read or parsed.
    """
    rows = read_csv_rows(path)
    if not rows:
        return [], []
    (_, columns), *records = rows
    return columns, [(line, make_record(columns, cells)) for line, cells in records]


def make_record(columns: list[str], cells: list[str]) -> dict[str, str]:
    """Return the cells of a row by column; see `read_csv`.

    Example:
        >>> make_record(["case", "patient"], ["a", "Doe", "Jane"])
        {'case': 'a', 'patient': 'Doe', ' ': 'Jane'}
    """
    extra = " ".join(filter(None, cells[len(columns) :]))
    return {**dict(zip(columns, cells, strict=False)), **({EXTRA_CELLS: extra} if extra else {})}


def iterate_csv(path: Path, required: Sequence[str], hint: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Read a CSV file with a header row by row, see `iterate_csv_rows`.

    Args:
        path: The CSV file.
        required: Columns that must exist; spellings are compared by `normalise_heading`.
        hint: Where to get the file, for error messages.

    Yields:
        (line number, {normalised heading: cell}) of each record; see `read_csv` for long records. The missing cells of
        short records are empty.

    Raises:
        UserError: If the file is missing, cannot be read or parsed, or lacks a column or has it twice.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; {hint}")
    rows = iterate_csv_rows(path)
    _, headings = next(rows, (0, []))
    check_columns(path, headings, required, hint)
    columns = [normalise_heading(heading) for heading in headings]
    for line, cells in rows:
        yield line, {**dict.fromkeys(columns, ""), **make_record(columns, cells)}


def check_length(record: Mapping[str, str]) -> None:
    """Check that a record has no cells beyond the last column, which an unquoted separator in a cell causes.

    Args:
        record: Output of `read_csv` or `iterate_csv`.

    Raises:
        ValueError: If it has; the message is the reason.
    """
    if EXTRA_CELLS in record:
        raise ValueError(
            "the row must have no text after the last column; put cells that contain the separator in quotes"
        )


def check_columns(table: Path, headings: Sequence[str], required: Sequence[str], hint: str) -> None:
    """Check the headings of a table, which are compared by `normalise_heading`.

    Args:
        table: The file, for error messages.
        headings: Its headings.
        required: Columns that must exist.
        hint: What the table must be, or where to get it, for error messages.

    Raises:
        UserError: If a required column is missing or a column occurs twice.
    """
    counts = Counter(map(normalise_heading, headings))
    if missing := [name for name in required if normalise_heading(name) not in counts]:
        raise UserError(
            f"{table}: missing columns: {', '.join(missing)}; the first line is {', '.join(headings) or 'empty'}; "
            f"{hint}"
        )
    if repeated := [name for name, count in counts.items() if name and count > 1]:
        raise UserError(f"{table}: each column must occur once, got {repeated[0]} twice; remove one")
