"""ACR breast density categories, shared by readers, losses, metrics and reports."""

from __future__ import annotations

from enum import IntEnum


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
        """Parse a table cell: "1" to "4", or an empty cell, for which None is returned.

        Raises:
            ValueError: If the cell is invalid.
        """
        if text in ("", *map(str, cls)):
            return cls(int(text)) if text else None
        raise ValueError(f"ACR density must be 1, 2, 3, 4 or empty, got {text}")
