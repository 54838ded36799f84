"""Pixel grid of a synthetic mammogram, with coordinates in millimetres."""

from __future__ import annotations

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
