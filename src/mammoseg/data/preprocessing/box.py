"""Bounding boxes in pixels, for cropping and letterboxing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MARGIN = 0.015  # fraction of the breast's bounding box, added on each side so that the skin line is not cut


@dataclass(frozen=True)
class Box:
    """Rows [top, bottom) and columns [left, right) of an image, in pixels.

    Example:
        >>> box = Box(top=1, bottom=3, left=0, right=2)
        >>> box.crop(np.arange(12).reshape(3, 4))
        array([[4, 5],
               [8, 9]])
    """

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    def crop(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the part of an array (H, W) inside the box, as a view."""
        return array[self.top : self.bottom, self.left : self.right]

    def contains(self, other: Box) -> bool:
        """Return whether `other` lies inside the box."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def relative_to(self, outer: Box) -> Box:
        """Return the box in the coordinates of a crop to `outer`."""
        return Box(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


def mask_bounding_box(mask: NDArray[np.uint8]) -> Box | None:
    """Return the bounding box of the non-zero pixels of a mask (H, W), or None if there are none.

    Example:
        >>> mask_bounding_box(np.array([[0, 0, 0], [0, 1, 1]], np.uint8))
        Box(top=1, bottom=2, left=1, right=3)
    """
    left, top, width, height = cv2.boundingRect(mask)
    return Box(top, top + height, left, left + width) if width else None


def breast_bounding_box(breast: NDArray[np.bool_], height: int, width: int) -> Box:
    """Return the bounding box of the breast with a margin, in pixels of the full-size image.

    Args:
        breast: (h, w) downsampled breast mask.
        height: Height of the full-size image.
        width: Width of the full-size image.

    Returns:
        The box, clipped to the image.

    Example:
        >>> breast_bounding_box(np.array([[False, False], [True, False]]), height=400, width=200)
        Box(top=197, bottom=400, left=0, right=102)
    """
    rows, columns = np.flatnonzero(breast.any(axis=1)), np.flatnonzero(breast.any(axis=0))
    scale_y, scale_x = height / breast.shape[0], width / breast.shape[1]
    top, bottom = rows[0] * scale_y, (rows[-1] + 1) * scale_y
    left, right = columns[0] * scale_x, (columns[-1] + 1) * scale_x
    margin_y, margin_x = MARGIN * (bottom - top), MARGIN * (right - left)
    return Box(
        top=max(int(top - margin_y), 0),
        bottom=min(int(np.ceil(bottom + margin_y)), height),
        left=max(int(left - margin_x), 0),
        right=min(int(np.ceil(right + margin_x)), width),
    )


def fraction_inside(mask: NDArray[np.uint8], masses: Box | None, breast: NDArray[np.bool_]) -> float:
    """Return the fraction of the mass pixels that lie within the breast.

    Args:
        mask: (H, W) in {0, 1}.
        masses: Bounding box of all mass pixels, or None if there are none.
        breast: Downsampled breast mask (h, w).

    Returns:
        The fraction in [0, 1]; 1 without a mass.

    Example:
        >>> mask = np.zeros((4, 4), np.uint8)
        >>> mask[1, :] = 1
        >>> fraction_inside(mask, mask_bounding_box(mask), np.array([[True, False], [True, False]]))
        0.5
    """
    if masses is None:
        return 1.0
    rows, columns = np.nonzero(masses.crop(mask))
    height, width = mask.shape
    rows = (rows + masses.top) * breast.shape[0] // height
    columns = (columns + masses.left) * breast.shape[1] // width
    return float(breast[rows, columns].mean())


def scale_box(box: Box, small: tuple[int, ...], full: tuple[int, ...]) -> Box:
    """Scale a box to a downsampled copy of its image.

    Args:
        box: Box in the full-size image.
        small: (h, w) of the downsampled image.
        full: (H, W) of the full-size image.

    Returns:
        The box in the downsampled image, at least one pixel in size.

    Example:
        >>> scale_box(Box(top=0, bottom=200, left=100, right=200), small=(4, 2), full=(400, 200))
        Box(top=0, bottom=2, left=1, right=2)
    """
    scale_y, scale_x = small[0] / full[0], small[1] / full[1]
    top, left = min(round(box.top * scale_y), small[0] - 1), min(round(box.left * scale_x), small[1] - 1)
    return Box(top, max(round(box.bottom * scale_y), top + 1), left, max(round(box.right * scale_x), left + 1))


def letterbox(height: int, width: int, size: int, aspect: str) -> Box:
    """Return the part of a square that an image fills after resizing.

    Args:
        height: Height of the image.
        width: Width of the image.
        size: Side of the square, in pixels.
        aspect: "stretch" fills the square; "pad" keeps the aspect ratio and centres the image.

    Returns:
        The box in the square.

    Example:
        >>> letterbox(height=100, width=50, size=16, aspect="pad")
        Box(top=0, bottom=16, left=4, right=12)
    """
    if aspect == "stretch":
        return Box(0, size, 0, size)
    longer = max(height, width)
    new_height, new_width = max(round(size * height / longer), 1), max(round(size * width / longer), 1)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    return Box(top, top + new_height, left, left + new_width)
