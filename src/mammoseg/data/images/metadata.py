"""What a file says about its mammogram beside the pixels. Nothing about the patient is among it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spacing:
    """mm between the centres of neighbouring pixels, down and across, and where they hold.

    `source`: which attribute they come from. `stored`: as stored, before any correction for magnification.
    """

    down: float
    across: float
    source: str
    stored: tuple[float, float]

    @property
    def pixel_area(self) -> float:
        """mm2"""
        return self.down * self.across


def columns(spacing: Spacing | None) -> dict[str, str]:
    """Spacing as tables have it; blank where it is not known."""
    return {
        "spacing_down_mm": f"{spacing.down:.6g}" if spacing else "",
        "spacing_across_mm": f"{spacing.across:.6g}" if spacing else "",
        "spacing_from": spacing.source if spacing else "",
    }


@dataclass(frozen=True)
class Facts:
    """`view`: CC, MLO, ... `side`: L or R. Blank, or None, where the file does not say."""

    view: str = ""
    side: str = ""
    spacing: Spacing | None = None
