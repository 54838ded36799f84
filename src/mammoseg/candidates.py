"""Selection of the masses that a prediction reports: connected regions, limited in area and number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammoseg import validate
from mammoseg.data.images.metadata import PixelSpacing
from mammoseg.metrics.regions import Region, connected_regions, label_regions, measure_regions

# The smallest masses of CBIS-DDSM cover 13 of 256x256 pixels, 2e-4 of the image or about 10 mm2. Half of that is the
# default minimum, so that a mass is reported even if only half of it is predicted.
DEFAULT_MIN_AREA_MM2 = 5.0
DEFAULT_MIN_FRACTION = 1e-4  # of the image, where the pixel spacing is unknown
ORDERS = ("area", "score")


@dataclass(frozen=True)
class MinimumArea:
    """Minimum area of a reported mass.

    Attributes:
        mm2: In mm2, for images with a known pixel spacing.
        pixels: In pixels, for images without; None for `DEFAULT_MIN_FRACTION` of the image.

    Example:
        >>> MinimumArea(mm2=5.0, pixels=None).in_pixels((2000, 1000), spacing=None)
        200
    """

    mm2: float = DEFAULT_MIN_AREA_MM2
    pixels: int | None = None

    def in_pixels(self, shape: tuple[int, ...], spacing: PixelSpacing | None) -> int:
        """Return the minimum number of pixels of a mass.

        Args:
            shape: (H, W) of the image.
            spacing: Its pixel spacing, or None if it is unknown.
        """
        if spacing is not None:
            return math.ceil(round(self.mm2 / spacing.pixel_area, 6))
        if self.pixels is not None:
            return self.pixels
        return math.ceil(DEFAULT_MIN_FRACTION * shape[0] * shape[1])

    def check(self) -> None:
        """Raise UserError if a value is invalid."""
        validate.non_negative("min_area_mm2", self.mm2)
        validate.optional_positive_int("min_area_pixels", self.pixels, minimum=0)


@dataclass(frozen=True)
class MaximumNumber:
    """Maximum number of reported masses of an image.

    Attributes:
        masses: The maximum; None for all masses.
        by: Which masses are kept: those of the largest "area", or of the highest "score", the highest probability in
            the mass. Of equal masses, the upper one is kept.
    """

    masses: int | None = None
    by: str = "area"

    def select(self, regions: Sequence[Region]) -> list[Region]:
        """Return the regions to keep."""
        name = "area" if self.by == "area" else "max_prob"
        return sorted(regions, key=lambda region: (-getattr(region, name), region.y, region.x))[: self.masses]

    def check(self) -> None:
        """Raise UserError if a value is invalid."""
        validate.optional_positive_int("max_masses", self.masses)
        validate.one_of("max_masses_by", self.by, ORDERS)


DEFAULT_MIN_AREA, ALL_MASSES = MinimumArea(), MaximumNumber()


def select_masses(
    mask: NDArray[np.bool_],
    prob: NDArray[np.float32],
    std: NDArray[np.float32] | None,
    min_pixels: int,
    maximum: MaximumNumber = ALL_MASSES,
) -> tuple[NDArray[np.bool_], list[Region]]:
    """Remove the connected regions that are smaller than a minimum, or exceed a number of masses.

    Args:
        mask: (H, W), True where the probability exceeds the threshold.
        prob: See `connected_regions`.
        std: See `connected_regions`.
        min_pixels: Minimum number of pixels of a region.
        maximum: Maximum number of the regions that have this size.

    Returns:
        The mask of the remaining regions, and the regions by decreasing area.

    Example:
        >>> mask = np.array([[True, True, False, True]])
        >>> mask, masses = select_masses(mask, mask.astype(np.float32), None, min_pixels=2)
        >>> mask.tolist(), len(masses)
        ([[True, True, False, False]], 1)
    """
    regions = label_regions(mask)
    is_kept = np.append(False, regions.areas >= min_pixels)  # label 0 is background
    if maximum.masses is not None and is_kept.sum() > maximum.masses:
        large = [region for region in measure_regions(regions, prob) if is_kept[region.label]]
        is_kept = np.isin(np.arange(len(is_kept)), [region.label for region in maximum.select(large)])
    selected = mask if is_kept[1:].all() else is_kept[regions.labels]
    return selected, connected_regions(selected, prob, std)
