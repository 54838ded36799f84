"""Percent density by thresholding, and the regions of the breast on which estimates of density are based.

Percent density (dense area over breast area) is measured by thresholding (Byng et al., Phys. Med. Biol. 39, 1994) after
a peripheral enhancement that compensates for the decreasing thickness near the skin line (Byng, Critten, Yaffe,
Radiology 203, 1997), as a function of the distance to the skin line (Karssemeijer, Phys. Med. Biol. 43, 1998). These
papers set the threshold interactively; here it is a constant, fitted to the 1231 official training images of CBIS-DDSM.
The ACR category is estimated by `density_model.py`.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.breast import BoolMask

RING_WIDTH = 1 / 128  # fraction of the image's side; pixels of a ring have equal distance to the skin
MAX_SKIN_DISTANCE = 0.25  # fraction of the side; the compressed breast has constant thickness farther from the skin
FAT_PERCENTILE = 10  # of the grey values of a ring, taken as that of fat, which is present in every ring
MIN_RING_PIXELS = 20  # smaller rings are interpolated from their neighbours
CONTRAST_PERCENTILES = (0.1, 99.9)  # of the grey values of the breast, taken as minimum and maximum
DENSE_THRESHOLD = 0.15  # fraction of the breast's grey range above fat; brighter pixels are fibroglandular
PECTORAL_TRIANGLE = (0.5, 0.6)  # fraction of width and height, excluded in oblique views
OBLIQUE = ("MLO", "ML", "LMO")


def percent_density(image: NDArray[np.float32], breast: BoolMask, view: str) -> float:
    """Estimate the fibroglandular fraction of the breast.

    Args:
        image: (size, size), with any normalisation.
        breast: Breast mask (size, size).
        view: View position, such as CC or MLO; the pectoral muscle is excluded in oblique views.

    Returns:
        Percent density as a fraction in [0, 1]; 0 for an image without contrast.

    Example:
        >>> image = np.zeros((128, 128), np.float32)
        >>> image[40:90, 20:60] = 1
        >>> 0 < percent_density(image, np.ones((128, 128), bool), "CC") < 0.5
        True
    """
    size = image.shape[0]
    tissue = breast & ~pectoral_triangle(breast) if view.upper() in OBLIQUE else breast
    if not tissue.any():
        return 0.0
    low, high = np.percentile(image[breast], CONTRAST_PERCENTILES)
    if high <= low:
        return 0.0
    grey = np.clip((image - low) / (high - low), 0, 1)
    depth = skin_distance(breast)
    ring = np.minimum(depth / (RING_WIDTH * size), MAX_SKIN_DISTANCE / RING_WIDTH).astype(np.int64)
    fat = fat_by_ring(grey, ring, tissue)
    inside = tissue & (depth > RING_WIDTH * size)
    return float((grey[inside] - fat[ring[inside]] > DENSE_THRESHOLD).mean()) if inside.any() else 0.0


def skin_distance(breast: BoolMask) -> NDArray[np.float32]:
    """Compute the distance to the skin line.

    Args:
        breast: Breast mask (size, size).

    Returns:
        (size, size) distance to the nearest background pixel in pixels; the image border does not count as skin.

    Example:
        >>> skin_distance(np.array([[True, True, True, False]]))
        array([[3., 2., 1., 0.]], dtype=float32)
    """
    padded = np.pad(breast.astype(np.uint8), 1, mode="edge")
    if padded.all():
        return np.full(breast.shape, np.float32(max(breast.shape)))
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1], np.float32)


def pectoral_triangle(breast: BoolMask) -> BoolMask:
    """Approximate the pectoral muscle by a triangle in the upper corner at the chest wall.

    Args:
        breast: Breast mask (H, W); the chest wall is on the side with more breast pixels.

    Returns:
        (H, W) mask of the triangle.
    """
    height, width = breast.shape
    left = breast[:, : width // 2].sum() >= breast[:, width // 2 :].sum()
    x = np.arange(width) if left else np.arange(width)[::-1]
    y = np.arange(height)
    inside = x[None, :] / (PECTORAL_TRIANGLE[0] * width) + y[:, None] / (PECTORAL_TRIANGLE[1] * height) < 1
    return np.asarray(inside)


def fat_by_ring(grey: NDArray[Any], ring: NDArray[np.int64], tissue: BoolMask) -> NDArray[np.float32]:
    """Estimate the grey value of fat in each ring.

    Args:
        grey: (size, size) grey values in [0, 1].
        ring: (size, size) index of the ring of each pixel.
        tissue: (size, size) mask of the pixels to use.

    Returns:
        (n_rings,) grey values, interpolated over small rings and smoothed.
    """
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
