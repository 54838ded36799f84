"""ACR breast density, the scale that readers, losses, metrics and reports share."""

from __future__ import annotations

from enum import IntEnum


class ACRDensity(IntEnum):
    """BI-RADS breast composition category of the American College of Radiology; an unknown density is None.

    The value, 1 to 4, is what tables store; `index`, 0 to 3, is what tensors store.
    """

    FATTY = 1
    SCATTERED = 2
    HETEROGENEOUS = 3
    EXTREME = 4

    @property
    def index(self) -> int:
        """Position on the scale, 0 to 3: the element of `theta`, and the `density` of a batch."""
        return self.value - 1

    @classmethod
    def from_index(cls, index: int) -> ACRDensity:
        """The category at position `index`, 0 to 3.

        Raises:
            ValueError: If there is none.
        """
        return cls(index + 1)

    @classmethod
    def parse(cls, text: str) -> ACRDensity | None:
        """A cell of a table: "1" to "4", or None for an empty one.

        Raises:
            ValueError: If the cell holds anything else.
        """
        if text in ("", *map(str, cls)):
            return cls(int(text)) if text else None
        raise ValueError(f"ACR density must be 1, 2, 3, 4 or empty, got {text}")
