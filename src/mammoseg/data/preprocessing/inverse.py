"""From the network's square back onto the image as it was: the inverse of `clean`'s cropping, resizing and flipping."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.preprocess import Box, Cleaned, fitted
from mammoseg.data.store import Case

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Geometry:
    """How an image of (height, width) pixels became a square one.

    `box` was cut out of it, scaled into the square as `aspect` says ("stretch" or "pad"), and the square was mirrored
    if `flipped`. Values that belong to pixels belong to their centres, here as in OpenCV.
    """

    height: int
    width: int
    box: Box
    aspect: str
    flipped: bool

    @classmethod
    def of(cls, cleaned: Cleaned, shape: tuple[int, int], aspect: str) -> Geometry:
        """That of an image of `shape` (H, W), which `clean` prepared with this `aspect`."""
        return cls(*shape, cleaned.box, aspect, cleaned.flipped)

    @classmethod
    def of_case(cls, case: Case, aspect: str) -> Geometry:
        """That of a row of a store whose `about["aspect"]` is `aspect`."""
        box = Box(case.top, case.bottom, case.left, case.right)
        return cls(case.height, case.width, box, aspect, bool(case.flipped))

    def inside(self, size: int) -> Box:
        """The part of the square of `size` that shows the box, before mirroring; the rest is padding."""
        return fitted(self.box.bottom - self.box.top, self.box.right - self.box.left, size, self.aspect)

    def restored(self, values: NDArray) -> Floats:
        """(size, size) -> (height, width): bilinear where it grows, areas averaged where it shrinks; 0 outside the box.

        Probabilities stay within [0, 1]. For a mask give it as 0 and 1, and cut the result at 0.5.
        """
        size = values.shape[0]
        upright = values[:, ::-1] if self.flipped else values
        shown = np.ascontiguousarray(self.inside(size).of(upright), np.float32)
        tall, wide = self.box.bottom - self.box.top, self.box.right - self.box.left
        # One way after the other: OpenCV averages areas only where both shrink.
        scaled = resized_to(resized_to(shown, (shown.shape[0], wide)), (tall, wide))
        if scaled.shape == (self.height, self.width):
            return scaled
        whole = np.zeros((self.height, self.width), np.float32)
        self.box.of(whole)[:] = scaled
        return whole

    def axes(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the centres of the square's columns (size,) and rows (size,) lie in the image: x and y in its pixels.

        The image's own left and upper edges are 0, so that the centre of its first pixel is 0.5.
        """
        inside, steps = self.inside(size), np.arange(size, dtype=np.float64) + 0.5
        tall = (self.box.bottom - self.box.top) / (inside.bottom - inside.top)
        wide = (self.box.right - self.box.left) / (inside.right - inside.left)
        x = self.box.left + (steps - inside.left) * wide
        y = self.box.top + (steps - inside.top) * tall
        return (x[::-1] if self.flipped else x), y


def resized_to(values: Floats, shape: tuple[int, int]) -> Floats:
    grows = shape[0] >= values.shape[0] and shape[1] >= values.shape[1]
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=how), np.float32)
