"""Thumbnails for display."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 1024  # pixels
PERCENTILES = (0.5, 99.8)  # of the grey values, mapped to black and white


def shrink(image: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Downsample an image by area averaging so that its longer side has at most `MAX_SIDE` pixels.

    Args:
        image: (H, W).

    Returns:
        The downsampled image (h, w) as uint8, uint16 or float32, and the scale h / H, at most 1.

    Example:
        >>> downsampled, scale = shrink(np.zeros((4096, 2048), np.uint16))
        >>> downsampled.shape, scale
        ((1024, 512), 0.25)
    """
    scale = min(MAX_SIDE / max(image.shape), 1)
    height, width = (max(round(side * scale), 1) for side in image.shape)
    supported = image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32)
    return cv2.resize(supported, (width, height), interpolation=cv2.INTER_AREA), scale


def thumbnail(pixels: NDArray[Any]) -> tuple[NDArray[np.uint8], float]:
    """Downsample an image as `shrink` does and stretch its contrast.

    Args:
        pixels: (H, W).

    Returns:
        The thumbnail (h, w) as uint8, and the scale h / H, at most 1.
    """
    downsampled, scale = shrink(pixels)
    downsampled = downsampled.astype(np.float32)
    low, high = np.percentile(downsampled, PERCENTILES)
    return np.clip((downsampled - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8), scale
