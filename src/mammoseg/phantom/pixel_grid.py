"""Pixel grid of a synthetic mammogram, with coordinates in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


@dataclass(frozen=True)
class PixelGrid:
    """Pixel grid of an image.

    Attributes:
        shape: (H, W) in pixels.
        mm: Pixel spacing in mm.
    """

    shape: tuple[int, int]
    mm: float

    @property
    def x(self) -> Field:
        """Column coordinates (1, W) in mm."""
        return (np.arange(self.shape[1], dtype=np.float32) * self.mm)[None, :]

    @property
    def y(self) -> Field:
        """Row coordinates (H, 1) in mm."""
        return (np.arange(self.shape[0], dtype=np.float32) * self.mm)[:, None]

    def window(self, row: int, column: int, radius_mm: float) -> tuple[slice, slice]:
        """Return the slices of the square window around a pixel, cut off at the edges of the image.

        Example:
            >>> PixelGrid((100, 80), 0.5).window(10, 40, radius_mm=8)
            (slice(0, 27, None), slice(24, 57, None))
        """
        radius = math.ceil(radius_mm / self.mm)
        return slice(max(row - radius, 0), row + radius + 1), slice(max(column - radius, 0), column + radius + 1)
