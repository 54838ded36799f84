"""Connected regions of a binary mask: candidates of the detection analysis, and the masses of a prediction."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CONNECTIVITY = 8  # pixels that share a corner are connected


@dataclass(frozen=True)
class Region:
    """One 8-connected region.

    Attributes:
        label: Its value in the label image, from 1.
        x: Column of the centroid in pixels; the centre of the image's first pixel is 0.
        y: Row of the centroid.
        area: In pixels.
        max_prob: Highest probability in the region.
        mean_prob: Mean probability.
        mean_std: Mean standard deviation of the probability; NaN if unknown.
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
    """The regions of a mask before anything is measured in them.

    Attributes:
        labels: (H, W) int32; 0 is background.
        areas: (N,) in pixels, of labels 1 to N.
        centroids: (N, 2) as (x, y).
        boxes: (N, 4) left, top, width, height.
    """

    labels: NDArray[np.int32]
    areas: NDArray[np.int64]
    centroids: NDArray[np.float64]
    boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.areas)

    def window(self, label: int) -> tuple[slice, slice]:
        """Index of the bounding box of a region."""
        left, top, width, height = self.boxes[label - 1].tolist()
        return np.s_[top : top + height, left : left + width]


def label_regions(mask: NDArray[np.bool_]) -> LabelImage:
    """Label the 8-connected regions of a mask (H, W)."""
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
    """The regions of a mask, measured; the largest first, equal ones from top to bottom and left to right.

    Args:
        mask: (H, W).
        prob: (H, W), predicted probability.
        std: (H, W), its standard deviation over an ensemble; None if unknown.
    """
    regions = measure_regions(label_regions(mask), prob, std)
    return sorted(regions, key=lambda region: (-region.area, region.y, region.x))


def measure_regions(
    image: LabelImage, prob: NDArray[np.float32], std: NDArray[np.float32] | None = None
) -> list[Region]:
    """Measure the regions of a label image.

    Args:
        image: From `label_regions`.
        prob: As for `connected_regions`.
        std: As for `connected_regions`.

    Returns:
        Regions in order of their labels.
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
