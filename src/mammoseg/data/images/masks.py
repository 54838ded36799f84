"""Binary mask of all masses of an image, from mask files or outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.mask_labels import is_bilevel, is_jpeg, mass_of_values, read_mask_values
from mammoseg.errors import ImageReadError

MAX_ASPECT_DIFFERENCE = 0.02  # between mask and image; the masks of CBIS-DDSM that have another size differ by 0.001


@dataclass(frozen=True)
class MassMask:
    """Union of the masks of all masses of an image.

    Attributes:
        mask: (H, W) in {0, 1}.
        resized: Whether a mask file had a different size than the image and was resized.
        n_labels: Number of labels in the file with the most labels; 0 if all masks are empty.
    """

    mask: NDArray[np.uint8]
    resized: bool = False
    n_labels: int = 1


def read_masks(
    candidates_per_mass: Sequence[Sequence[Path]], shape: tuple[int, int], verified: bool = True
) -> MassMask:
    """Read the masks of all masses in an image and return their union.

    Args:
        candidates_per_mass: For each mass, the files that may be its mask.
        shape: (H, W) of the image.
        verified: Whether each mass has exactly one file, known to be a mask of the image's size. Otherwise the largest
            bilevel candidate is used, resized to the image if the sizes differ.

    Raises:
        ImageReadError: If a mass has no readable mask.
    """
    union, was_resized, most_labels = np.zeros(shape, np.uint8), False, 0
    for index, files in enumerate(candidates_per_mass, start=1):
        if verified:
            mask, n_labels = read_mask_file(files[0], shape)
        else:
            mask, n_labels = mass_of_values(*select_mask_file(files))
        if mask.shape != shape:
            check_aspect(mask.shape, shape)
            mask = np.asarray(cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
            was_resized = True
        if not verified and not mask.any():
            name = f"mask {index} of {len(candidates_per_mass)}" if len(candidates_per_mass) > 1 else "the mask"
            raise ImageReadError(f"{name} is empty; copy it again, or remove the case")
        union = mask if index == 1 else union | mask
        most_labels = max(most_labels, n_labels)
    return MassMask(union, was_resized, most_labels)


def read_mask_file(path: Path, shape: tuple[int, int]) -> tuple[NDArray[np.uint8], int]:
    """Read a mask file of the image's size.

    Args:
        path: The mask file.
        shape: (H, W) of the image.

    Returns:
        The mask (H, W) in {0, 1} and its number of labels.

    Raises:
        ImageReadError: If the file cannot be read or is not a mask of this size; the message contains its name.
    """
    try:
        values = read_mask_values(path)
        if values.shape != shape:
            raise ImageReadError(
                f"the mask has {values.shape[1]}x{values.shape[0]} pixels, but the image has {shape[1]}x{shape[0]}; "
                "export both at the same size"
            )
        return mass_of_values(values, lossy=is_jpeg(path))
    except ImageReadError as error:
        raise ImageReadError(f"its mask {path.name}: {error}") from None


def check_aspect(mask: tuple[int, ...], image: tuple[int, int]) -> None:
    """Check that a mask of another size has the aspect ratio of its image.

    Args:
        mask: (H, W) of the mask.
        image: (H, W) of the image.

    Raises:
        ImageReadError: If the aspect ratios differ by more than `MAX_ASPECT_DIFFERENCE`.
    """
    ratio = mask[0] * image[1] / (mask[1] * image[0])
    if abs(ratio - 1) > MAX_ASPECT_DIFFERENCE:
        raise ImageReadError(
            f"the mask must have the aspect ratio of the image, got {mask[1]}x{mask[0]} pixels for an image of "
            f"{image[1]}x{image[0]}; it belongs to another image or is rotated"
        )


def select_mask_file(files: Sequence[Path]) -> tuple[NDArray[Any], bool]:
    """Return the values (H, W) of the largest bilevel image; the other files are crops of the mammogram.

    Returns:
        The values, and whether the file is a JPEG.

    Raises:
        ImageReadError: If no file is a mask; the message contains the files that could not be read.
    """
    masks, reasons = [], []
    for file in files:
        try:
            values = read_mask_values(file)
        except ImageReadError as error:
            reasons.append(f"{file.name}: {error}")
            continue
        if is_bilevel(values):
            masks.append((values, is_jpeg(file)))
    if masks:
        return max(masks, key=lambda mask: mask[0].size)
    if reasons:
        raise ImageReadError(f"no readable mask ({'; '.join(reasons)})")
    raise ImageReadError(f"{len(files)} file(s) but no mask, only crops; download the ROI mask series")


def rasterise(outlines: Sequence[NDArray[Any]], height: int, width: int) -> NDArray[np.uint8]:
    """Rasterise polygons, clipped to the image.

    Args:
        outlines: Polygons (N, 2) of (x, y) in pixels.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        The union of the polygons as a mask (height, width) in {0, 1}; empty without polygons. Areas that a polygon
        encloses more than once, as where the end of a drawn outline overlaps its start, belong to it.

    Raises:
        ValueError: If a polygon lies completely outside the image.

    Example:
        >>> rasterise([np.array([[0, 0], [2, 0], [2, 1], [0, 1]])], height=3, width=4)
        array([[1, 1, 1, 0],
               [1, 1, 1, 0],
               [0, 0, 0, 0]], dtype=uint8)
    """
    mask = np.zeros((height, width), np.uint8)
    for index, points in enumerate(outlines, start=1):
        # fillPoly takes fixed-point coordinates with 4 fractional bits; clipping prevents an overflow.
        polygon = np.rint(np.clip(points, -1e5, 1e5) * 16).astype(np.int32)
        polygon_mask = np.zeros_like(mask)
        cv2.fillPoly(polygon_mask, [polygon], 1, shift=4)
        # fillPoly leaves out areas that are enclosed an even number of times.
        contours, _ = cv2.findContours(polygon_mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(polygon_mask, contours, -1, 1, cv2.FILLED)
        if not polygon_mask.any():
            raise ValueError(f"outline {index} lies outside the image of {width}x{height} pixels")
        mask |= polygon_mask
    return mask
