"""Checks that an image may be a mammogram, the same for training and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import ImageReadError

MIN_SIDE = 64  # pixels; smaller images are thumbnails
MIN_GREY_LEVELS = 16  # masks and drawings have fewer grey levels
MIN_TRAINING_LEVELS = 3  # of images in a dataset, which may be synthetic; a binary mask has two
MAX_VALUE = 1e15  # float images mark missing pixels by values such as -3.4e38
SAMPLES_PER_SIDE = 64  # pixels sampled along the shorter side to count grey levels


def check_plausible(pixels: NDArray[Any]) -> None:
    """Check size and grey values of an image to predict.

    Args:
        pixels: (H, W) of any real dtype.

    Raises:
        ImageReadError: If the image is smaller than `MIN_SIDE`, or `check_grey_values` fails.
    """
    height, width = pixels.shape
    if min(height, width) < MIN_SIDE:
        raise ImageReadError(
            f"only {width}x{height} pixels; a mammogram has at least {MIN_SIDE} per side; provide the full-size image"
        )
    check_grey_values(pixels)


def check_grey_values(pixels: NDArray[Any], min_levels: int = MIN_GREY_LEVELS) -> None:
    """Check the grey values of an image.

    Args:
        pixels: (H, W) of any real dtype.
        min_levels: Minimum number of grey levels.

    Raises:
        ImageReadError: If the image contains non-finite or extreme values, or has fewer grey levels.
    """
    if pixels.dtype.kind == "f":
        check_range(pixels)
    step = max(min(pixels.shape) // SAMPLES_PER_SIDE, 1)
    n_levels = len(np.unique(pixels[::step, ::step]))
    if n_levels == 1 and pixels.min() == pixels.max():
        raise ImageReadError("all pixels have the same grey value; export the image again")
    if n_levels < min_levels:
        raise ImageReadError(f"only {n_levels} grey values: a mask or a drawing, not a mammogram")


def check_range(pixels: NDArray[Any]) -> None:
    """Check that the values of a floating-point image are finite and contain no marker of missing pixels.

    Raises:
        ImageReadError: If they are not, or do.
    """
    if not np.isfinite(pixels).all():
        raise ImageReadError("some pixels are infinite or not a number; export the image again")
    extreme = max(pixels.min(), pixels.max(), key=abs)
    if abs(extreme) > MAX_VALUE:
        raise ImageReadError(
            f"grey values must be between {-MAX_VALUE:g} and {MAX_VALUE:g}, got {extreme:.3g}, which may mark missing "
            "pixels; export the image again"
        )
