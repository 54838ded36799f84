"""Interpretation of the cells of tables, shared by all dataset readers; for densities, see `ACRDensity.parse`."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from mammoseg.data.readers.csv_table import strip_decimals
from mammoseg.density import UNKNOWN

SIDE_SPELLINGS = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
# Names of the parts of a split in tables -> name of the part.
SPLIT_SPELLINGS = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test"},
}


def strip_unknown(text: str) -> str:
    """Return the text of a cell, empty for the marks of a missing value such as NaN and N/A.

    Example:
        >>> strip_unknown("CC"), strip_unknown("NaN")
        ('CC', '')
    """
    return "" if text.upper() in UNKNOWN else text


def parse_side(text: str) -> str:
    """Parse the laterality, ignoring case.

    Returns:
        "L", "R", or "" for an unknown side.

    Raises:
        ValueError: If the cell contains anything else.

    Example:
        >>> parse_side("left"), parse_side("R"), parse_side("nan")
        ('L', 'R', '')
    """
    try:
        return SIDE_SPELLINGS[text.upper()] if strip_unknown(text) else ""
    except KeyError:
        raise ValueError(f"side must be LEFT, RIGHT, L, R or blank, got {text}") from None


def parse_split(text: str) -> str:
    """Parse the part of the official split, ignoring case.

    Returns:
        "train", "val", "test", or "" for an unknown part.

    Raises:
        ValueError: If the cell contains anything else.

    Example:
        >>> parse_split("Train"), parse_split("validation")
        ('train', 'val')
    """
    try:
        return SPLIT_SPELLINGS[text.lower()] if strip_unknown(text) else ""
    except KeyError:
        raise ValueError(f"split must be train, val, test or blank, got {text}") from None


def parse_count(column: str, text: str) -> int:
    """Parse a non-negative integer, also with decimals (2.0).

    Args:
        column: Name of the column, for the error message.
        text: Content of the cell.

    Returns:
        The integer.

    Raises:
        ValueError: If the cell contains anything else.

    Example:
        >>> parse_count("masses", "2.0")
        2
    """
    digits = strip_decimals(text)
    if not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{column} must be a non-negative integer, got {text}")
    return int(digits)


def resolve_path(root: Path, text: str) -> Path:
    r"""Return the path of a file in a table, relative to the dataset's root.

    Backslashes separate folders, as Windows writes them, unless a file with this literal name exists.

    Example:
        >>> resolve_path(Path("root"), r"images\a.png").as_posix()
        'root/images/a.png'
    """
    literal = root / text
    try:
        is_literal = "\\" not in text or literal.exists()
    except (OSError, ValueError):  # the name is too long or contains a null byte
        is_literal = True
    return literal if is_literal else root / text.replace("\\", "/")


def patient_key(patient: str) -> str:
    r"""Return the form of a patient identifier by which patients are compared.

    Identifiers are equal if they differ only in case, in white space at the ends or in its width, in invisible
    characters, or in the Unicode encoding of the same characters, such as composed and decomposed accents.
    Spreadsheets remove the leading zeros of numbers, so 007 and 7 are equal as well.

    Example:
        >>> patient_key("P01") == patient_key(" p01"), patient_key("7.0") == patient_key("7") == patient_key("007")
        (True, True)
        >>> patient_key("Jos\u00e9") == patient_key("Jose\u0301"), patient_key("P1") == patient_key("P1\u200b")
        (True, True)
    """
    visible = "".join(character for character in patient if unicodedata.category(character) != "Cf")
    compatible = unicodedata.normalize("NFKC", visible).casefold()
    key = strip_decimals(" ".join(unicodedata.normalize("NFKC", compatible).split()))
    return key.lstrip("0") or "0" if key.isdecimal() else key
