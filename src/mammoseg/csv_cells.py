"""Escaping of CSV cells that a spreadsheet program would evaluate as formulas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# As recommended by OWASP, "CSV Injection". A leading apostrophe marks text in spreadsheet programs.
FORMULA = re.compile(r"'*[=+\-@\t\r]", re.DOTALL)
ESCAPED = re.compile(r"''*[=+\-@\t\r]", re.DOTALL)
# A number, or several, as in "+1.5 [0.9, 2.1]".
NUMBERS = re.compile(r"[+\-][\d\s.,%±–−+\-\[\]()]*|[+\-](?:\d+\.?\d*e[+\-]?\d+|inf|nan)", re.IGNORECASE)


def escape_cell(value: Any) -> Any:
    """Add an apostrophe to text that starts as a formula does; numbers and other values are unchanged.

    Example:
        >>> [escape_cell(value) for value in ("=1+1", "-0.5", -0.5, "@name", "'=1", "film")]
        ["'=1+1", '-0.5', -0.5, "'@name", "''=1", 'film']
    """
    if not isinstance(value, str) or not FORMULA.match(value) or NUMBERS.fullmatch(value):
        return value
    return f"'{value}"


def unescape_cell(text: str) -> str:
    """Invert `escape_cell`.

    Example:
        >>> [unescape_cell(text) for text in ("'=1+1", "''=1", "'quoted'", "-0.5")]
        ['=1+1', "'=1", "'quoted'", '-0.5']
    """
    return text[1:] if ESCAPED.match(text) else text


def escape_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Escape the values of a row; see `escape_cell`."""
    return {name: escape_cell(value) for name, value in row.items()}


def escape_cells(values: Iterable[Any]) -> list[Any]:
    """Escape values; see `escape_cell`."""
    return [escape_cell(value) for value in values]


def unescape_row(row: Mapping[str, str]) -> dict[str, str]:
    """Unescape the values of a row that `csv.DictReader` has read; missing values are unchanged."""
    return {name: unescape_cell(text) if isinstance(text, str) else text for name, text in row.items()}
