"""Image metadata; attributes that identify the patient are never kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spacing:
    """Distance between the centres of neighbouring pixels.

    Attributes:
        down: Between rows, in mm.
        across: Between columns, in mm.
        source: DICOM attribute that the values come from.
        raw: (down, across) in mm as stored, before any correction for magnification.
    """

    down: float
    across: float
    source: str
    raw: tuple[float, float]

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in mm2."""
        return self.down * self.across


def spacing_columns(spacing: Spacing | None) -> dict[str, str]:
    """Return the table columns of a pixel spacing, empty if it is unknown."""
    return {
        "spacing_down_mm": f"{spacing.down:.6g}" if spacing else "",
        "spacing_across_mm": f"{spacing.across:.6g}" if spacing else "",
        "spacing_from": spacing.source if spacing else "",
    }


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata of one image; empty or None if not stated in the file.

    Attributes:
        view: Projection, such as CC or MLO.
        side: L or R.
        spacing: Pixel spacing.
    """

    view: str = ""
    side: str = ""
    spacing: Spacing | None = None
