"""Reduced images for display."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 1024  # pixels
PERCENTILES = (0.5, 99.8)  # of the grey values, shown as black and white


def shrink(image: NDArray) -> tuple[NDArray, float]:
    """Reduce `image` (H, W) by area averaging until its longer side has at most `MAX_SIDE` pixels.

    Returns:
        The reduced image (h, w), in uint8, uint16 or float32, and the scale h / H, at most 1.
    """
    scale = min(MAX_SIDE / max(image.shape), 1)
    height, width = (max(round(side * scale), 1) for side in image.shape)
    supported = image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32)
    return cv2.resize(supported, (width, height), interpolation=cv2.INTER_AREA), scale


def thumbnail(pixels: NDArray) -> tuple[NDArray[np.uint8], float]:
    """Return `pixels` (H, W) reduced to 8 bits (h, w) with stretched contrast, and the scale h / H, at most 1."""
    reduced, scale = shrink(pixels)
    reduced = reduced.astype(np.float32)
    low, high = np.percentile(reduced, PERCENTILES)
    return np.clip((reduced - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8), scale
