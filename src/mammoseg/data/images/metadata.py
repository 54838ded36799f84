"""Image metadata. Attributes that identify the patient are never read."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PixelSpacing:
    """Distance between the centres of adjacent pixels.

    Attributes:
        row: Spacing of adjacent rows (vertical), in mm.
        column: Spacing of adjacent columns (horizontal), in mm.
        source: DICOM attribute that the values are taken from.
        raw: (row, column) spacing in mm as stored, before any correction for magnification.

    Example:
        >>> PixelSpacing(row=0.25, column=0.5, source="ImagerPixelSpacing", raw=(0.25, 0.5)).pixel_area
        0.125
    """

    row: float
    column: float
    source: str
    raw: tuple[float, float]

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in mm2."""
        return self.row * self.column

    @property
    def mean(self) -> float:
        """Geometric mean of both spacings, in mm."""
        return math.sqrt(self.pixel_area)


def spacing_columns(spacing: PixelSpacing | None) -> dict[str, str]:
    """Return the pixel spacing by table column; the cells are empty if it is unknown."""
    return {
        "spacing_down_mm": f"{spacing.row:.6g}" if spacing else "",
        "spacing_across_mm": f"{spacing.column:.6g}" if spacing else "",
        "spacing_from": spacing.source if spacing else "",
    }


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata of an image; empty or None if the file does not contain it.

    Attributes:
        view: View position, such as CC or MLO.
        side: Laterality, L or R.
        spacing: Pixel spacing.
        acquisition: "film" for a digitised film, "digital" for an image of a digital detector.
    """

    view: str = ""
    side: str = ""
    spacing: PixelSpacing | None = None
    acquisition: str = ""
