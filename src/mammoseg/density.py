"""ACR breast density categories, shared by readers, losses, metrics and reports."""

from __future__ import annotations

import re
from enum import IntEnum

# Spellings of the categories in tables, besides 1 to 4: letters of the 5th edition of BI-RADS, and Roman numerals.
SPELLINGS = {"A": 1, "B": 2, "C": 3, "D": 4, "I": 1, "II": 2, "III": 3, "IV": 4}
PREFIXES = ("ACR", "BI-RADS", "BIRADS", "DENSITY", "TYPE")
UNKNOWN = ("", "NAN", "NA", "N/A", "NONE", "NULL")


class ACRDensity(IntEnum):
    """BI-RADS breast composition category of the American College of Radiology (ACR).

    Tables store the value, 1 to 4; tensors store `index`, 0 to 3. An unknown density is None.

    Example:
        >>> ACRDensity.parse("4").index
        3
    """

    FATTY = 1
    SCATTERED = 2
    HETEROGENEOUS = 3
    EXTREME = 4

    @property
    def index(self) -> int:
        """Zero-based category, 0 to 3: the index into `theta` and the `density` of a batch."""
        return self.value - 1

    @classmethod
    def from_index(cls, index: int) -> ACRDensity:
        """Return the category of a zero-based index, 0 to 3.

        Raises:
            ValueError: If `index` is out of range.
        """
        return cls(index + 1)

    @classmethod
    def parse(cls, text: str) -> ACRDensity | None:
        """Parse the cell of a table, ignoring case and white space.

        Args:
            text: 1 to 4, also with decimals as pandas writes columns with blanks (2.0); A to D; I to IV; with or
                without a prefix such as ACR or DENSITY. Empty, NaN and N/A mean unknown.

        Returns:
            The category, or None if it is unknown.

        Raises:
            ValueError: If the cell contains anything else.

        Example:
            >>> [ACRDensity.parse(text) for text in ("2.0", "b", "II", "DENSITY B")] == 4 * [ACRDensity.SCATTERED]
            True
        """
        cell = " ".join(text.upper().split())
        if cell in UNKNOWN:
            return None
        for prefix in PREFIXES:
            if cell.startswith(prefix):
                cell = cell.removeprefix(prefix).strip(" :-")
        category = SPELLINGS.get(cell)
        if category is None and re.fullmatch(r"[1-4](\.0+)?", cell):
            category = int(cell[0])
        if category is None:
            raise ValueError(f"ACR density must be 1 to 4, A to D, I to IV or empty, got {text}")
        return cls(category)
