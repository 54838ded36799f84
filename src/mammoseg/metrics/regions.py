"""Connected regions of binary masks: detection candidates and predicted masses."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CONNECTIVITY = 8  # pixels are also connected diagonally


@dataclass(frozen=True)
class Region:
    """An 8-connected region and its measurements.

    Attributes:
        label: Label of its pixels in the label image, 1 or higher.
        x: Column of the centroid in pixels; the centre of the top left pixel is at (0, 0).
        y: Row of the centroid in pixels.
        area: Number of pixels.
        max_prob: Highest probability in the region.
        mean_prob: Mean probability in the region.
        mean_std: Mean standard deviation of the probability in the region; NaN without an ensemble.
    """

    label: int
    x: float
    y: float
    area: int
    max_prob: float
    mean_prob: float
    mean_std: float


@dataclass(frozen=True)
class LabelImage:
    """Label image of the connected regions of a mask.

    Attributes:
        labels: Label of each pixel, shape (H, W); 0 is background, 1 to N are regions.
        areas: Area of each region in pixels, shape (N,).
        centroids: Centroid (x, y) of each region in pixels, shape (N, 2).
        boxes: Bounding box (left, top, width, height) of each region in pixels, shape (N, 4).
    """

    labels: NDArray[np.int32]
    areas: NDArray[np.int64]
    centroids: NDArray[np.float64]
    boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.areas)

    def window(self, label: int) -> tuple[slice, slice]:
        """Return the slices of the bounding box of a region."""
        left, top, width, height = self.boxes[label - 1].tolist()
        return np.s_[top : top + height, left : left + width]


def label_regions(mask: NDArray[np.bool_]) -> LabelImage:
    """Label the 8-connected regions of a mask (H, W).

    Example:
        >>> import numpy as np
        >>> label_regions(np.eye(3, dtype=bool)).areas
        array([3])
    """
    _, labels, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=CONNECTIVITY)
    return LabelImage(
        np.asarray(labels, np.int32),
        stats[1:, cv2.CC_STAT_AREA].astype(np.int64),
        np.asarray(centroids[1:], np.float64),
        stats[1:, : cv2.CC_STAT_AREA].astype(np.int64),
    )


def connected_regions(
    mask: NDArray[np.bool_], prob: NDArray[np.float32], std: NDArray[np.float32] | None = None
) -> list[Region]:
    """Find and measure the connected regions of a mask.

    Args:
        mask: Binary mask of shape (H, W).
        prob: Predicted probability of shape (H, W) in [0, 1].
        std: Standard deviation of the probability over an ensemble, shape (H, W); None without an ensemble.

    Returns:
        Regions sorted by decreasing area, then from top to bottom and left to right.

    Example:
        >>> import numpy as np
        >>> (region,) = connected_regions(np.eye(3, dtype=bool), np.full((3, 3), 0.75, np.float32))
        >>> (region.x, region.y, region.area, region.max_prob)
        (1.0, 1.0, 3, 0.75)
    """
    regions = measure_regions(label_regions(mask), prob, std)
    return sorted(regions, key=lambda region: (-region.area, region.y, region.x))


def measure_regions(
    image: LabelImage, prob: NDArray[np.float32], std: NDArray[np.float32] | None = None
) -> list[Region]:
    """Measure the regions of a label image.

    Args:
        image: Label image from `label_regions`.
        prob: See `connected_regions`.
        std: See `connected_regions`.

    Returns:
        Regions in the order of their labels.
    """
    regions = []
    for label in range(1, len(image) + 1):
        window = image.window(label)
        inside = image.labels[window] == label
        probs = prob[window][inside]
        regions.append(
            Region(
                label=label,
                x=float(image.centroids[label - 1, 0]),
                y=float(image.centroids[label - 1, 1]),
                area=int(image.areas[label - 1]),
                max_prob=float(probs.max()),
                mean_prob=float(probs.mean(dtype=float)),
                mean_std=float("nan") if std is None else float(std[window][inside].mean(dtype=float)),
            )
        )
    return regions
