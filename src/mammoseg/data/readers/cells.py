"""Interpretation of the cells of tables, shared by all dataset readers; for densities, see `ACRDensity.parse`."""

from __future__ import annotations

from pathlib import Path

from mammoseg.data.readers.csv_table import strip_decimals

# Names of the parts of a split in tables -> name of the part.
SPLIT_SPELLINGS = {
    **{"": "", "nan": ""},
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test"},
}


def parse_split(text: str) -> str:
    """Parse the part of the official split, ignoring case.

    Returns:
        "train", "val", "test", or "" for a blank cell.

    Raises:
        ValueError: If the cell contains anything else.

    Example:
        >>> parse_split("Train"), parse_split("validation")
        ('train', 'val')
    """
    try:
        return SPLIT_SPELLINGS[text.lower()]
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
    """Return the form of a patient identifier by which patients are compared: P01, p01 and `P01 ` are equal.

    Example:
        >>> patient_key("P01") == patient_key(" p01"), patient_key("7.0") == patient_key("7")
        (True, True)
    """
    return strip_decimals(" ".join(patient.split())).casefold()
