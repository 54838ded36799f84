"""Inverse preprocessing: from the network's output back to the full-size image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.box import Box, letterbox
from mammoseg.data.preprocessing.preprocess import FloatImage, PreprocessedImage
from mammoseg.data.store import Case


@dataclass(frozen=True)
class InversePreprocessing:
    """Inverse of cropping, resizing and flipping of one image.

    Coordinates refer to pixel centres, as in OpenCV.

    Attributes:
        height: Height of the full-size image in pixels.
        width: Width of the full-size image in pixels.
        box: Crop box in the full-size image.
        aspect: "stretch" or "pad", as in `letterbox`.
        flipped: Whether the preprocessed image was mirrored.

    Example:
        >>> inverse = InversePreprocessing(height=8, width=6, box=Box(0, 8, 0, 4), aspect="stretch", flipped=False)
        >>> full = inverse.to_original(np.ones((4, 4)))
        >>> full.shape, float(full[:, :4].min()), float(full[:, 4:].max())
        ((8, 6), 1.0, 0.0)
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
        """Create the inverse for a preprocessed image.

        Args:
            preprocessed: Output of `preprocess`.
            shape: (H, W) of the full-size image.
            aspect: The setting it was preprocessed with.
        """
        return cls(*shape, preprocessed.box, aspect, preprocessed.flipped)

    @classmethod
    def from_case(cls, case: Case, aspect: str) -> InversePreprocessing:
        """Create the inverse for a case of a store.

        Args:
            case: Row of cases.csv.
            aspect: The setting the store was prepared with.
        """
        box = Box(case.top, case.bottom, case.left, case.right)
        return cls(case.height, case.width, box, aspect, bool(case.flipped))

    def content_box(self, size: int) -> Box:
        """Return the part of the square that contains `box`, before mirroring; pixels outside are padding."""
        return letterbox(self.box.height, self.box.width, size, self.aspect)

    def to_original(self, values: NDArray[Any]) -> FloatImage:
        """Map values to the full-size image by bilinear upsampling or area-averaging downsampling.

        Args:
            values: (size, size) probabilities, or a mask in {0, 1}; threshold the result of a mask at 0.5.

        Returns:
            (height, width) float32; 0 outside the crop box. Probabilities stay within [0, 1].
        """
        unflipped = values[:, ::-1] if self.flipped else values
        content = np.ascontiguousarray(self.content_box(values.shape[0]).crop(unflipped), np.float32)
        # One axis at a time, since OpenCV averages areas only if neither axis is enlarged.
        resized = _resize(_resize(content, (content.shape[0], self.box.width)), (self.box.height, self.box.width))
        if resized.shape == (self.height, self.width):
            return resized
        full = np.zeros((self.height, self.width), np.float32)
        self.box.crop(full)[:] = resized
        return full

    def region_to_original(self, region: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Map a region to the full-size image.

        Args:
            region: (size, size), such as the breast mask of `PreprocessedImage`.

        Returns:
            (height, width); False outside the crop box.
        """
        return self.to_original(region.astype(np.float32)) >= np.float32(0.5)

    def pixel_centres(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the pixel centres of the preprocessed image in coordinates of the full-size image.

        Args:
            size: Side of the preprocessed image.

        Returns:
            x (size,) and y (size,) in pixels from the left and upper edges; the centre of the first pixel is at 0.5.
        """
        content, centres = self.content_box(size), np.arange(size, dtype=np.float64) + 0.5
        x = self.box.left + (centres - content.left) * (self.box.width / content.width)
        y = self.box.top + (centres - content.top) * (self.box.height / content.height)
        return (x[::-1] if self.flipped else x), y


def _resize(values: FloatImage, shape: tuple[int, int]) -> FloatImage:
    enlarges = shape[0] >= values.shape[0] and shape[1] >= values.shape[1]
    interpolation = cv2.INTER_LINEAR if enlarges else cv2.INTER_AREA
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=interpolation), np.float32)
