"""ACR density estimated from the prepared image, for datasets that do not give it.

Percent density by thresholding (Byng et al., Phys. Med. Biol. 39, 1994: dense area over breast area) after the
rim's missing thickness is made up for (Byng, Critten, Yaffe, Radiology 203, 1997), as a function of the distance to
the skin line (Karssemeijer, Phys. Med. Biol. 43, 1998). What a reader sets by hand there, the threshold and the
three cuts between categories, is fixed here: by the 1231 official training images of CBIS-DDSM.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

BIN = 1 / 128  # of the image's side: width of a ring of equal distance to the skin
PLATEAU = 0.25  # of the side: deeper than this, the compressed breast is of even thickness
FAT = 10  # percentile of a ring's grey values that stands for fat: there is some fat at every depth
FEWEST = 20  # pixels in a ring; emptier ones take their neighbours' value
RANGE = (0.1, 99.9)  # percentiles of the breast that stand for its darkest and brightest
DENSE = 0.15  # of the breast's grey range above fat counts as fibroglandular
MUSCLE = (0.5, 0.6)  # of the width and the height: the triangle left out for the pectoral muscle in oblique views
OBLIQUE = ("MLO", "ML", "LMO")

Region = NDArray[np.bool_]


def percent_density(image: NDArray[np.float32], breast: Region, view: str) -> float:
    """Share of the breast that is fibroglandular, 0 to 1; 0 for a picture without contrast.

    Shapes: image (S, S) normalised in any way, breast (S, S). `view` decides whether a muscle is left out.
    """
    size = image.shape[0]
    tissue = breast & ~pectoral(breast) if view.upper() in OBLIQUE else breast
    if not tissue.any():
        return 0.0
    low, high = np.percentile(image[breast], RANGE)
    if high <= low:
        return 0.0
    grey = np.clip((image - low) / (high - low), 0, 1)
    depth = skin_distance(breast)
    ring = np.minimum(depth / (BIN * size), PLATEAU / BIN).astype(np.int64)
    fat = fat_by_ring(grey, ring, tissue)
    inside = tissue & (depth > BIN * size)
    return float((grey[inside] - fat[ring[inside]] > DENSE).mean()) if inside.any() else 0.0


def category(density: float, cuts: Sequence[float]) -> int:
    """Percent density and three ascending cuts -> ACR 1 to 4."""
    return 1 + int(np.searchsorted(cuts, density))


def skin_distance(breast: Region) -> NDArray[np.float32]:
    """Pixels to the nearest background; the image's own edge is no skin."""
    around = np.pad(breast.astype(np.uint8), 1, mode="edge")
    if around.all():
        return np.full(breast.shape, np.float32(max(breast.shape)))
    return np.asarray(cv2.distanceTransform(around, cv2.DIST_L2, 5)[1:-1, 1:-1], np.float32)


def pectoral(breast: Region) -> Region:
    """The upper corner at the chest wall, which is the side where there is more breast."""
    height, width = breast.shape
    left = breast[:, : width // 2].sum() >= breast[:, width // 2 :].sum()
    across = np.arange(width) if left else np.arange(width)[::-1]
    return across[None, :] / (MUSCLE[0] * width) + np.arange(height)[:, None] / (MUSCLE[1] * height) < 1


def fat_by_ring(grey: NDArray, ring: NDArray[np.int64], tissue: Region) -> NDArray[np.float32]:
    """The grey value of fat at each distance to the skin, smoothed."""
    rings = np.arange(ring.max() + 1)
    fat = np.full(len(rings), np.nan)
    places, values = ring[tissue], grey[tissue]
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], [*rings, len(rings)])
    for number in rings:
        inside = values[order[bounds[number] : bounds[number + 1]]]
        if len(inside) >= FEWEST:
            fat[number] = np.percentile(inside, FAT)
    known = np.flatnonzero(np.isfinite(fat))
    if len(known) == 0:
        return np.full(len(rings), np.percentile(values, FAT), np.float32)
    filled = np.interp(rings, known, fat[known]).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(filled.reshape(1, -1), (0, 0), 1.5), np.float32).ravel()
