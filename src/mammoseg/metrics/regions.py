"""From a mask to its masses, one by one, as a person would list them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mass:
    """One connected part of a mask; pixels that touch at a corner are connected.

    `x`, `y`: its centre of gravity in pixels, the centre of the image's first pixel at 0. `area`: in pixels.
    `probability` and `uncertainty`: means over it; the latter NaN where nothing is known of it.
    """

    x: float
    y: float
    area: int
    probability: float
    uncertainty: float


def find(
    mask: NDArray[np.bool_], prob: NDArray[np.float32], uncertainty: NDArray[np.float32] | None = None
) -> list[Mass]:
    """All masses of a mask, the largest first. Shapes: all (H, W)."""
    number, labels, _, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if number == 1:
        return []
    inside = labels[mask]
    area = np.bincount(inside, minlength=number)[1:]
    probabilities = np.bincount(inside, prob[mask], number)[1:] / area
    unsure = np.full(number - 1, np.nan)
    if uncertainty is not None:
        unsure = np.bincount(inside, uncertainty[mask], number)[1:] / area
    found = [
        Mass(float(x), float(y), int(pixels), float(probability), float(deviation))
        for (x, y), pixels, probability, deviation in zip(centres[1:], area, probabilities, unsure, strict=True)
    ]
    return sorted(found, key=lambda mass: (-mass.area, mass.y, mass.x))
