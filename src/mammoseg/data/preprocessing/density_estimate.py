"""ACR density estimated from the preprocessed image, for datasets that do not state it.

Percent density by thresholding (Byng et al., Phys. Med. Biol. 39, 1994: dense area over breast area) after peripheral
enhancement for the decreasing thickness at the rim (Byng, Critten, Yaffe, Radiology 203, 1997), as a function of the
distance to the skin line (Karssemeijer, Phys. Med. Biol. 43, 1998). The threshold and the three cuts between
categories, interactive in these papers, are fixed here: fitted to the 1231 official training images of CBIS-DDSM.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.density import ACRDensity

RING_WIDTH = 1 / 128  # of the image's side; a ring has equal distance to the skin
MAX_DEPTH = 0.25  # of the side: deeper than this, the compressed breast has constant thickness
FAT_PERCENTILE = 10  # of a ring's grey values, taken as fat: there is some fat at every depth
MIN_RING_PIXELS = 20  # rings with fewer are interpolated from their neighbours
CONTRAST_PERCENTILES = (0.1, 99.9)  # of the breast, taken as minimum and maximum
DENSE_THRESHOLD = 0.15  # of the breast's grey range, above fat: brighter is fibroglandular
PECTORAL_TRIANGLE = (0.5, 0.6)  # of width and height, excluded in oblique views for the pectoral muscle
OBLIQUE = ("MLO", "ML", "LMO")

Region = NDArray[np.bool_]


def percent_density(image: NDArray[np.float32], breast: Region, view: str) -> float:
    """Estimate the fraction of the breast that is fibroglandular.

    Args:
        image: (size, size), normalised in any way.
        breast: (size, size).
        view: The pectoral muscle is excluded in oblique views.

    Returns:
        Percent density as a fraction, 0 to 1; 0 for an image without contrast.
    """
    size = image.shape[0]
    tissue = breast & ~pectoral(breast) if view.upper() in OBLIQUE else breast
    if not tissue.any():
        return 0.0
    low, high = np.percentile(image[breast], CONTRAST_PERCENTILES)
    if high <= low:
        return 0.0
    grey = np.clip((image - low) / (high - low), 0, 1)
    depth = skin_distance(breast)
    ring = np.minimum(depth / (RING_WIDTH * size), MAX_DEPTH / RING_WIDTH).astype(np.int64)
    fat = fat_by_ring(grey, ring, tissue)
    inside = tissue & (depth > RING_WIDTH * size)
    return float((grey[inside] - fat[ring[inside]] > DENSE_THRESHOLD).mean()) if inside.any() else 0.0


def acr_category(percent_density: float, cuts: Sequence[float]) -> ACRDensity:
    """The category of a percent density, given the three ascending cuts between categories."""
    return ACRDensity.from_index(int(np.searchsorted(cuts, percent_density)))


def skin_distance(breast: Region) -> NDArray[np.float32]:
    """Distance in pixels to the nearest background (size, size); the edge of the image is no skin."""
    padded = np.pad(breast.astype(np.uint8), 1, mode="edge")
    if padded.all():
        return np.full(breast.shape, np.float32(max(breast.shape)))
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1], np.float32)


def pectoral(breast: Region) -> Region:
    """The upper corner at the chest wall, the side with more breast."""
    height, width = breast.shape
    left = breast[:, : width // 2].sum() >= breast[:, width // 2 :].sum()
    across = np.arange(width) if left else np.arange(width)[::-1]
    return (
        across[None, :] / (PECTORAL_TRIANGLE[0] * width) + np.arange(height)[:, None] / (PECTORAL_TRIANGLE[1] * height)
        < 1
    )


def fat_by_ring(grey: NDArray, ring: NDArray[np.int64], tissue: Region) -> NDArray[np.float32]:
    """Smoothed grey value of fat in each ring."""
    rings = np.arange(ring.max() + 1)
    fat = np.full(len(rings), np.nan)
    indices, values = ring[tissue], grey[tissue]
    order = np.argsort(indices, kind="stable")
    bounds = np.searchsorted(indices[order], [*rings, len(rings)])
    for index in rings:
        inside = values[order[bounds[index] : bounds[index + 1]]]
        if len(inside) >= MIN_RING_PIXELS:
            fat[index] = np.percentile(inside, FAT_PERCENTILE)
    known = np.flatnonzero(np.isfinite(fat))
    if len(known) == 0:
        return np.full(len(rings), np.percentile(values, FAT_PERCENTILE), np.float32)
    filled = np.interp(rings, known, fat[known]).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(filled.reshape(1, -1), (0, 0), 1.5), np.float32).ravel()
