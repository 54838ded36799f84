"""Boxes of pixels: what is cropped, and where it is in the resized square."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MARGIN = 0.015  # of the breast's bounding box, kept around it so that skin line and chest wall are not cut


@dataclass(frozen=True)
class Box:
    """Rows [top, bottom) and columns [left, right) of the full-size image."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def crop(self, array: NDArray) -> NDArray:
        """The part of (H, W) inside the box, as a view."""
        return array[self.top : self.bottom, self.left : self.right]

    def contains(self, other: Box) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def relative_to(self, outer: Box) -> Box:
        """This box in the coordinates of the crop to `outer`."""
        return Box(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


def mask_bounding_box(mask: NDArray[np.uint8]) -> Box | None:
    """Bounding box of all mass pixels of (H, W); None if there are none."""
    left, top, width, height = cv2.boundingRect(mask)
    return Box(top, top + height, left, left + width) if width else None


def breast_bounding_box(breast: NDArray[np.bool_], height: int, width: int) -> Box:
    """Bounding box with margin in the image of (height, width); `breast` (h, w) is downsampled."""
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


def scale_box(box: Box, small: tuple[int, ...], full: tuple[int, ...]) -> Box:
    """The box of an image of shape `full` on its downsampled copy of shape `small`; at least one pixel."""
    scale_y, scale_x = small[0] / full[0], small[1] / full[1]
    top, left = min(round(box.top * scale_y), small[0] - 1), min(round(box.left * scale_x), small[1] - 1)
    return Box(top, max(round(box.bottom * scale_y), top + 1), left, max(round(box.right * scale_x), left + 1))


def letterbox(height: int, width: int, size: int, aspect: str) -> Box:
    """The part of a square of `size` that an image of (height, width) fills.

    All of it for "stretch"; centred, with the aspect ratio kept, for "pad".
    """
    if aspect == "stretch":
        return Box(0, size, 0, size)
    longer = max(height, width)
    new_height, new_width = max(round(size * height / longer), 1), max(round(size * width / longer), 1)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    return Box(top, top + new_height, left, left + new_width)
