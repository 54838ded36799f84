"""Conversion of wide integers and 64-bit floats to float32, the type of preprocessing, without loss of contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_EXACT = 2**24  # float32 represents all integers up to this one


def to_preprocessable(pixels: NDArray[Any]) -> NDArray[Any]:
    """Convert values that float32 would round to few grey levels, and all 64-bit floats, to float32.

    Preprocessing is invariant to an offset of all grey values, so the minimum is subtracted from large values.

    Args:
        pixels: (H, W) of any real dtype.

    Returns:
        (H, W); unchanged if its dtype has at most 16 bits or is float32, or if all integers are exact in float32.

    Example:
        >>> to_preprocessable(np.array([[4294967295, 4294967290]], np.uint32))
        array([[5., 0.]], dtype=float32)
    """
    if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 or pixels.size == 0:
        return pixels
    low, high = pixels.min(), pixels.max()
    is_exact = max(abs(float(low)), abs(float(high))) <= MAX_EXACT
    if pixels.dtype.kind != "f":
        return pixels if is_exact else (pixels.astype(np.float64) - float(low)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are rejected later
        return np.asarray(pixels if is_exact else pixels - low, np.float32)
