"""Boxes and circles that mark masses without outlining them, the annotations of VinDr-Mammo and mini-MIAS.

They are the ground truth of detection only: their area is not that of the mass, so no pixel metric can be computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MassBox:
    """Bounding box of a mass, in pixels of the full-size image.

    x is the column and y the row, and the origin is the centre of the top-left pixel, as in `Mammogram.outlines`.

    Attributes:
        left: Smallest x.
        top: Smallest y.
        right: Largest x, above `left`.
        bottom: Largest y, above `top`.

    Example:
        >>> MassBox(left=1, top=0, right=2, bottom=1).rasterise(height=2, width=4).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0]])
    """

    left: float
    top: float
    right: float
    bottom: float

    def rasterise(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the pixels of an image whose centres are in the box, (height, width)."""
        y, x = np.ogrid[:height, :width]
        return np.asarray((self.left <= x) & (x <= self.right) & (self.top <= y) & (y <= self.bottom))


@dataclass(frozen=True)
class MassCircle:
    """Circle that encloses a mass, in the coordinates of `MassBox`.

    Attributes:
        x: Column of the centre.
        y: Row of the centre.
        radius: Radius, above 0.

    Example:
        >>> MassCircle(x=1, y=1, radius=1).rasterise(height=3, width=3).astype(int)
        array([[0, 1, 0],
               [1, 1, 1],
               [0, 1, 0]])
    """

    x: float
    y: float
    radius: float

    def rasterise(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the pixels of an image whose centres are in the circle, (height, width)."""
        y, x = np.ogrid[:height, :width]
        return np.asarray((x - self.x) ** 2 + (y - self.y) ** 2 <= self.radius**2)


MassLocation = MassBox | MassCircle
Location = TypeVar("Location", MassBox, MassCircle)
KINDS: dict[str, type[Any]] = {"box": MassBox, "circle": MassCircle}


def format_locations(locations: tuple[MassLocation, ...]) -> str:
    """Format locations as the cell of a table; empty if there are none.

    Example:
        >>> format_locations((MassBox(1, 2, 3.5, 4), MassCircle(5, 6, 7)))
        'box 1 2 3.5 4; circle 5 6 7'
    """
    names = {kind: name for name, kind in KINDS.items()}
    return "; ".join(
        " ".join([names[type(location)], *(f"{value:.10g}" for value in astuple(location))]) for location in locations
    )


def parse_locations(text: str) -> tuple[MassLocation, ...]:
    """Parse the output of `format_locations`.

    Example:
        >>> parse_locations("circle 5 6 7")
        (MassCircle(x=5.0, y=6.0, radius=7.0),)
    """
    words = [location.split() for location in text.split(";") if location.strip()]
    return tuple(KINDS[kind](*map(float, values)) for kind, *values in words)


def remove_repeated(locations: Sequence[Location], ignored: Counter[str]) -> tuple[Location, ...]:
    """Remove copies of locations, which would count a mass twice.

    Args:
        locations: Boxes and circles of one image.
        ignored: Counts the copies, see `RejectedCases`.

    Returns:
        The first of each group of equal locations, in the same order.
    """
    unique = tuple(dict.fromkeys(locations))
    if n_repeated := len(locations) - len(unique):
        ignored["repeated boxes or circles of the same image, which are not used"] += n_repeated
    return unique


def location_masks(locations: tuple[MassLocation, ...], height: int, width: int) -> list[NDArray[np.bool_]]:
    """Rasterise locations, clipped to the image.

    Args:
        locations: Boxes and circles.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        One mask (height, width) per location.

    Raises:
        ValueError: If a location contains no pixel of the image; the message is the reason.
    """
    masks = [location.rasterise(height, width) for location in locations]
    for index, mask in enumerate(masks, start=1):
        if not mask.any():
            raise ValueError(
                f"box or circle {index} must contain a pixel of the image of {width}x{height} pixels, got "
                f"{format_locations(locations[index - 1 : index])}; fix the table"
            )
    return masks
