"""Everything that is predicted for one image, at its original resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mammoseg.metrics.regions import Region
from mammoseg.predict.contours import Outline, outline_masses


@dataclass(frozen=True)
class Findings:
    """Predicted maps and masses of one image.

    Attributes:
        prob: (H, W) probability of each pixel, 0 outside the breast.
        std: (H, W) standard deviation of the probability; None without an ensemble.
        mask: (H, W) mask of the masses.
        masses: The masses by decreasing area.
    """

    prob: NDArray[np.float32]
    std: NDArray[np.float32] | None
    mask: NDArray[np.bool_]
    masses: Sequence[Region]

    @cached_property
    def outlines(self) -> list[Outline]:
        """Bounding boxes and contours of the masses, in the same order."""
        return outline_masses(self.mask, self.masses)
