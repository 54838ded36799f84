"""Read mask files into one binary mask per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.read import read_image
from mammoseg.errors import ImageReadError

SAMPLE_STEP = 4  # pixels; sampling every 4th one suffices to distinguish a mask from an image
LEVEL_TOLERANCE = 0.12  # fraction of the grey range
MIN_BILEVEL_FRACTION = 0.97  # of the pixels; JPEG compression blurs the edges of a mask


def read_masks(
    candidates_per_mass: Sequence[Sequence[Path]], shape: tuple[int, int], verified: bool = True
) -> tuple[NDArray[np.uint8], bool]:
    """Read the masks of all masses in an image and return their union.

    Args:
        candidates_per_mass: For each mass, the files that may be its mask.
        shape: (H, W) of the image.
        verified: Whether each mass has exactly one file, known to be a mask of the image's size. Otherwise the largest
            bilevel candidate is used, resized to the image if the sizes differ.

    Returns:
        The mask (H, W) in {0, 1}, and whether a mask was resized.

    Raises:
        ImageReadError: If a mass has no readable mask.
    """
    union, was_resized = np.zeros(shape, np.uint8), False
    for index, files in enumerate(candidates_per_mass, start=1):
        grey = read_mask_file(files[0]) if verified else select_mask_file(files)
        if verified and grey.shape != shape:
            raise ImageReadError(
                f"the mask has {grey.shape[1]}x{grey.shape[0]} pixels, but the image has {shape[1]}x{shape[0]}; "
                "export both at the same size"
            )
        mask = binarise(grey)
        if mask.shape != shape:
            mask = np.asarray(cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
            was_resized = True
        if not verified and not mask.any():
            name = f"mask {index} of {len(candidates_per_mass)}" if len(candidates_per_mass) > 1 else "the mask"
            raise ImageReadError(f"{name} is empty; copy it again, or remove the case")
        union = mask if index == 1 else union | mask
    return union, was_resized


def read_mask_file(path: Path) -> NDArray[Any]:
    """Read the grey values (H, W) of a mask file.

    Raises:
        ImageReadError: If the file cannot be read; the message contains its name.
    """
    try:
        return read_image(path, mask=True)[0]
    except ImageReadError as error:
        raise ImageReadError(f"its mask {path.name}: {error}") from None


def select_mask_file(files: Sequence[Path]) -> NDArray[Any]:
    """Return the grey values (H, W) of the largest bilevel image; the other files are crops of the mammogram.

    Raises:
        ImageReadError: If no file is a mask; the message contains the files that could not be read.
    """
    masks, reasons = [], []
    for file in files:
        try:
            grey = read_image(file, mask=True)[0]
        except ImageReadError as error:
            reasons.append(f"{file.name}: {error}")
            continue
        if is_bilevel(grey):
            masks.append(grey)
    if masks:
        return max(masks, key=lambda grey: grey.size)
    if reasons:
        raise ImageReadError(f"no readable mask ({'; '.join(reasons)})")
    raise ImageReadError(f"{len(files)} file(s) but no mask, only crops; download the ROI mask series")


def is_bilevel(grey: NDArray[Any]) -> bool:
    """Return whether nearly all pixels (H, W) are close to the minimum or the maximum.

    Example:
        >>> is_bilevel(np.array([[0, 0], [255, 250]])), is_bilevel(np.array([[0, 100], [150, 255]]))
        (True, False)
    """
    sample = grey[::SAMPLE_STEP, ::SAMPLE_STEP] if min(grey.shape) > 32 * SAMPLE_STEP else grey
    low, high = float(sample.min()), float(sample.max())
    tolerance = LEVEL_TOLERANCE * (high - low)
    return bool(((sample <= low + tolerance) | (sample >= high - tolerance)).mean() > MIN_BILEVEL_FRACTION)


def binarise(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Binarise a mask at half its maximum.

    Args:
        grey: (H, W); mask files contain {0, 1}, {0, 255}, or intermediate values at edges blurred by JPEG compression.

    Returns:
        The mask (H, W) in {0, 1}.

    Example:
        >>> binarise(np.array([[0, 100, 200, 255]], np.uint8))
        array([[0, 0, 1, 1]], dtype=uint8)
    """
    if grey.dtype != np.uint8:
        return np.asarray(grey > grey.max(initial=0) / 2, np.uint8)
    return np.asarray(cv2.threshold(grey, int(grey.max(initial=0)) // 2, 1, cv2.THRESH_BINARY)[1], np.uint8)
