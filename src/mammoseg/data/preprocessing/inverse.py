"""The inverse of cropping, resizing and flipping: from the network's square back to the full-size image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.box import Box, letterbox
from mammoseg.data.preprocessing.preprocess import PreprocessedImage
from mammoseg.data.store import Case

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class InversePreprocessing:
    """The geometry of one preprocessed image, inverted.

    Coordinates of pixels refer to their centres, as in OpenCV.

    Attributes:
        height: Of the full-size image, in pixels.
        width: Of the full-size image, in pixels.
        box: The part of it that was kept.
        aspect: How the box was resized to the square, as in `letterbox`.
        flipped: Whether the square was mirrored.
    """

    height: int
    width: int
    box: Box
    aspect: str
    flipped: bool

    @classmethod
    def from_preprocessed(
        cls, preprocessed: PreprocessedImage, shape: tuple[int, int], aspect: str
    ) -> InversePreprocessing:
        """Of an image of `shape` (H, W) that was preprocessed with this `aspect`."""
        return cls(*shape, preprocessed.box, aspect, preprocessed.flipped)

    @classmethod
    def from_case(cls, case: Case, aspect: str) -> InversePreprocessing:
        """Of a case of a store that was prepared with this `aspect`."""
        box = Box(case.top, case.bottom, case.left, case.right)
        return cls(case.height, case.width, box, aspect, bool(case.flipped))

    def content_box(self, size: int) -> Box:
        """The part of the square of `size` that shows `box`, before mirroring; the rest is padding."""
        return letterbox(self.box.height, self.box.width, size, self.aspect)

    def to_original(self, values: NDArray) -> Floats:
        """Resize to the full-size image, bilinear to enlarge and by area averaging to shrink; 0 outside the box.

        Args:
            values: (size, size). Probabilities stay within [0, 1]; threshold the result for a mask in {0, 1} at 0.5.

        Returns:
            (height, width).
        """
        unflipped = values[:, ::-1] if self.flipped else values
        content = np.ascontiguousarray(self.content_box(values.shape[0]).crop(unflipped), np.float32)
        # One axis after the other: OpenCV averages areas only if both shrink.
        resized = _resize(_resize(content, (content.shape[0], self.box.width)), (self.box.height, self.box.width))
        if resized.shape == (self.height, self.width):
            return resized
        full = np.zeros((self.height, self.width), np.float32)
        self.box.crop(full)[:] = resized
        return full

    def pixel_centres(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates of the centres of the square's columns and rows in the full-size image.

        Args:
            size: Side of the square.

        Returns:
            x (size,) and y (size,) in pixels, from the left and the upper edge: the first pixel's centre is 0.5.
        """
        content, centres = self.content_box(size), np.arange(size, dtype=np.float64) + 0.5
        x = self.box.left + (centres - content.left) * (self.box.width / content.width)
        y = self.box.top + (centres - content.top) * (self.box.height / content.height)
        return (x[::-1] if self.flipped else x), y


def _resize(values: Floats, shape: tuple[int, int]) -> Floats:
    enlarges = shape[0] >= values.shape[0] and shape[1] >= values.shape[1]
    interpolation = cv2.INTER_LINEAR if enlarges else cv2.INTER_AREA
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=interpolation), np.float32)
