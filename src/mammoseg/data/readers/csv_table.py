"""CSV reader for the dialects of datasets, spreadsheets and locales, shared by all dataset readers."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

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
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # first line of CSV files written for Excel
EXTRA_CELLS = " "  # key of the cells beyond the last column, joined; headings are stripped, so none is a space
Rows = list[tuple[int, list[str]]]
Records = list[tuple[int, dict[str, str]]]


def read_csv_rows(path: Path) -> Rows:
    """Read a CSV file without interpreting its header.

    The delimiter is the most frequent one of `DELIMITERS` in the first line, unless that is `sep=;`. For the encoding,
    see `decode_table`.

    Args:
        path: The CSV file.

    Returns:
        (line number, cells) of each non-blank row; surrounding white space is stripped from the cells.

    Raises:
        UserError: If the file cannot be read or parsed.
    """
    try:
        text = decode_table(path.read_bytes())
        separator = SEPARATOR_LINE.match(text)
        start = separator.end() if separator else 0
        header = next(iter(text[start:].splitlines()), "")
        delimiter = separator[1] if separator else max(DELIMITERS, key=header.count)
        # strict: a quotation mark that is not closed would append all following rows to a cell.
        reader = csv.reader(io.StringIO(text[start:], newline=""), delimiter=delimiter, strict=True)
        first_line = 1 if separator else 0
        rows = ((reader.line_num + first_line, [cell.strip() for cell in row]) for row in reader)
        return [(line, cells) for line, cells in rows if any(cells)]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged or not readable ({error}); replace it with the original") from None


def decode_table(content: bytes) -> str:
    """Decode the content of a CSV file.

    The encoding is that of the byte order mark. Without one, it is UTF-16 if every second byte is zero, else UTF-8,
    else Windows-1252, which Excel writes in Western Europe; invalid bytes are replaced by U+FFFD.

    Raises:
        ValueError: If the content does not match its byte order mark.

    Example:
        >>> decode_table("case;näme".encode("utf-16"))
        'case;näme'
    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding)
    start = content[:1024]
    if len(start) > 1 and b"\0" in start:
        return content.decode("utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


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


def check_columns(table: Path, headings: Sequence[str], required: Sequence[str], requirement: str) -> None:
    """Check the headings of a table, ignoring case, spaces, underscores and hyphens.

    Args:
        table: The file, for messages.
        headings: Its first line.
        required: Required columns.
        requirement: Description of the table for messages, such as "exams requires a table with ...".

    Raises:
        UserError: If a required column is missing, or a column occurs twice.
    """
    counts = Counter(map(normalise_heading, headings))
    if missing := [name for name in required if name not in counts]:
        raise UserError(
            f"{table}: missing columns: {', '.join(missing)}; the first line is {', '.join(headings) or 'empty'}; "
            f"{requirement}, separated by commas, semicolons or tabs"
        )
    if repeated := [name for name, count in counts.items() if name and count > 1]:
        raise UserError(f"{table}: each column must occur once, got {repeated[0]} twice; remove one")


def make_record(columns: list[str], cells: list[str]) -> dict[str, str]:
    """Return the cells of a row by column; see `read_csv`.

    Example:
        >>> make_record(["case", "patient"], ["a", "Doe", "Jane"])
        {'case': 'a', 'patient': 'Doe', ' ': 'Jane'}
    """
    extra = " ".join(filter(None, cells[len(columns) :]))
    return {**dict(zip(columns, cells, strict=False)), **({EXTRA_CELLS: extra} if extra else {})}
