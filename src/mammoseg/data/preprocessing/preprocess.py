"""Preprocessing of full-size images: crop to the breast, resize, normalise, flip.

Pure functions on arrays. Only `cv2.resize` traverses the full-size image, so preprocessing costs little more than
decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.box import (
    Box,
    breast_bounding_box,
    fraction_inside,
    letterbox,
    mask_bounding_box,
    scale_box,
)
from mammoseg.data.preprocessing.breast import downsample_uint8, segment_downsampled
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings

SAMPLE_STEP = 16  # pixels; sampling every 16th one suffices to measure the range of an image
PREVIEW_SIDE = 160  # pixels

FloatImage = NDArray[np.float32]
Mask = NDArray[np.uint8]
DType = TypeVar("DType", bound=np.generic)


@dataclass(frozen=True)
class PreprocessedImage:
    """Preprocessed image and the parameters of its preprocessing.

    Attributes:
        image: (size, size) float32 network input. Its values do not depend on the mask, except in that the image is
            not cropped if `crop_skipped`.
        mask: (size, size) uint8 in {0, 1}.
        breast: (size, size) bool breast mask; without crop, the whole image except the padding of `aspect`.
        preview: (PREVIEW_SIDE, PREVIEW_SIDE) uint8 preview of the uncropped, unflipped image, padded to a square.
        box: Crop box in the full-size image.
        crop_skipped: Whether the image was left uncropped because the crop would have cut a mass.
        flipped: Whether the image was mirrored.
        breast_fraction: Breast area as a fraction of the full-size image.
        mass_in_breast: Fraction of the mass that lies within the segmented breast; 1 without a mass.
        grey: (h, w) uint8 of the uncropped, unflipped image, see `downsample_uint8`.
        segmentation: (h, w) bool breast mask of `grey`, which does not depend on the settings.
    """

    image: FloatImage
    mask: Mask
    breast: NDArray[np.bool_]
    preview: Mask
    box: Box
    crop_skipped: bool
    flipped: bool
    breast_fraction: float
    mass_in_breast: float
    grey: Mask
    segmentation: NDArray[np.bool_]


def preprocess(pixels: NDArray[Any], mask: Mask, settings: PreprocessingSettings) -> PreprocessedImage:
    """Preprocess one image and its mask.

    No mass is lost: if the crop would cut a mass, the image is left uncropped, and a mass too small for the new size
    keeps at least one pixel.

    Args:
        pixels: (H, W) of any real dtype.
        mask: (H, W) uint8 in {0, 1}.
        settings: See `PreprocessingSettings`.

    Returns:
        The preprocessed image and mask.

    Example:
        >>> pixels, mask = np.zeros((300, 200)), np.zeros((300, 200), np.uint8)
        >>> pixels[50:250, :120], mask[100:120, 40:60] = 1000, 1
        >>> preprocess(pixels, mask, PreprocessingSettings(size=64)).image.shape
        (64, 64)
    """
    height, width = pixels.shape
    grey = downsample_uint8(pixels)
    segmentation = segment_downsampled(grey)
    breast = segmentation if settings.crop != "none" or settings.flip != "none" else np.ones(grey.shape, bool)
    flipped = needs_flip(breast, settings.flip)
    fraction, masses = float(breast.mean()), mask_bounding_box(mask)
    inside = fraction_inside(mask, masses, breast)
    box, skipped = crop_box(breast, masses, (height, width), settings.crop == "breast")
    if skipped or settings.crop == "none":
        breast = np.ones(grey.shape, bool)
    image, small_mask, breast_mask = resize_to_square(pixels, mask, masses, breast, box, settings)
    if flipped:
        image, small_mask, breast_mask = mirror(image), mirror(small_mask), mirror(breast_mask)
    return PreprocessedImage(
        image, small_mask, breast_mask, make_preview(grey), box, skipped, flipped, fraction, inside, grey, segmentation
    )


def crop_box(breast: NDArray[np.bool_], masses: Box | None, shape: tuple[int, int], crop: bool) -> tuple[Box, bool]:
    """Return the crop box in the full-size image, and whether it is the whole image since a crop would cut a mass.

    Args:
        breast: Downsampled breast mask (h, w).
        masses: Bounding box of all mass pixels, or None if there are none.
        shape: (H, W) of the full-size image.
        crop: Whether to crop.
    """
    height, width = shape
    full = Box(0, height, 0, width)
    box = breast_bounding_box(breast, height, width) if crop else full
    return (box, False) if masses is None or box.contains(masses) else (full, True)


def resize_to_square(
    pixels: NDArray[Any],
    mask: Mask,
    masses: Box | None,
    breast: NDArray[np.bool_],
    box: Box,
    settings: PreprocessingSettings,
) -> tuple[FloatImage, Mask, NDArray[np.bool_]]:
    """Crop to `box`, resize and normalise.

    Args:
        pixels: (H, W) of any real dtype.
        mask: (H, W) uint8 in {0, 1}.
        masses: Bounding box of all mass pixels, or None if there are none.
        breast: Downsampled breast mask (h, w).
        box: Crop box in the full-size image.
        settings: See `PreprocessingSettings`.

    Returns:
        Image, mask in {0, 1} and breast mask, each (size, size).
    """
    size, aspect = settings.size, settings.aspect
    image = resize_image(to_resizable_dtype(box.crop(pixels)), size, aspect)
    small_mask = np.zeros((size, size), np.uint8)
    if masses is not None:
        small_mask = resize_mask(box.crop(mask), masses.relative_to(box), size, aspect)
    # Rounding shifts the outline by at most half a pixel of the downsampled image.
    small_box = scale_box(box, breast.shape, pixels.shape)
    breast_mask = resize_image(small_box.crop(breast.astype(np.float32)), size, aspect, padding=0) >= 0.5
    # The image must not depend on the mask, which is unknown in prediction: a mass outside the breast is blanked, too.
    return normalise_intensity(image, breast_mask, settings.normalise), small_mask, breast_mask


def mirror(array: NDArray[DType]) -> NDArray[DType]:
    """Return a contiguous copy of an array (H, W), mirrored horizontally.

    Example:
        >>> mirror(np.array([[1, 2, 3]]))
        array([[3, 2, 1]])
    """
    return np.ascontiguousarray(array[:, ::-1])


def needs_flip(breast: NDArray[np.bool_], flip: str) -> bool:
    """Return whether an image has to be mirrored so that the breast is on the side `flip`.

    Args:
        breast: Breast mask (h, w); its side is that of its centroid.
        flip: "none", "left" or "right".

    Example:
        >>> breast = np.array([[True, True, False, False]])
        >>> needs_flip(breast, "left"), needs_flip(breast, "right"), needs_flip(breast, "none")
        (False, True, False)
    """
    columns = breast.sum(axis=0)
    centroid = (columns * (np.arange(len(columns)) + 0.5)).sum() / columns.sum()
    side = "left" if centroid <= len(columns) / 2 else "right"
    return flip not in ("none", side)


def normalise_intensity(pixels: FloatImage, region: NDArray[np.bool_], mode: str) -> FloatImage:
    """Normalise grey values by the statistics of a region; pixels outside get its lowest value.

    Args:
        pixels: (size, size).
        region: (size, size) bool; if empty, the statistics are those of all pixels.
        mode: "minmax", "percentile" or "zscore"; see `PreprocessingSettings.normalise`.

    Returns:
        (size, size) float32; in [0, 1] for "minmax" and "percentile".

    Example:
        >>> pixels = np.array([[10, 20], [30, 90]], np.float32)
        >>> normalise_intensity(pixels, pixels < 50, "minmax")
        array([[0. , 0.5],
               [1. , 0. ]], dtype=float32)
    """
    inside = pixels[region] if region.any() else pixels.ravel()
    if mode == "minmax":
        low, high = inside.min(), inside.max()
    elif mode == "percentile":
        low, high = np.percentile(inside, [0.5, 99.5])
    else:
        low, high = inside.mean(), inside.mean() + inside.std()
    scale = float(high) - float(low) or 1.0  # 1 for a constant image
    scaled = (pixels - low) / scale
    if mode == "zscore":
        return np.asarray(np.where(region, scaled, (inside.min() - low) / scale), np.float32)
    return np.where(region, np.clip(scaled, 0, 1), 0).astype(np.float32)


def resize_image(image: NDArray[Any], size: int, aspect: str, padding: float | None = None) -> FloatImage:
    """Resize an image by area-averaging downsampling or bilinear upsampling, rounded to the input's dtype.

    Args:
        image: (H, W) uint8, uint16 or float32.
        size: Side of the square.
        aspect: "stretch" or "pad", as in `letterbox`.
        padding: Value of the padding; None for the minimum of the resized image.

    Returns:
        (size, size) float32.

    Example:
        >>> resize_image(np.full((4, 2), 7, np.uint8), size=4, aspect="pad").shape
        (4, 4)
    """
    height, width = image.shape
    content = letterbox(height, width, size, aspect)
    shrinks = height >= content.height and width >= content.width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, (content.width, content.height), interpolation=interpolation), np.float32)
    if small.shape == (size, size):
        return small
    pad_width = ((content.top, size - content.bottom), (content.left, size - content.right))
    return np.pad(small, pad_width, constant_values=float(small.min()) if padding is None else padding)


def to_resizable_dtype(image: NDArray[Any]) -> NDArray[Any]:
    """Convert an image to a dtype in which it can be resized without significant rounding.

    Args:
        image: (H, W) of any real dtype.

    Returns:
        (H, W) float32; a uint16 image is returned unchanged if its values use a quarter of the range or more.
    """
    if image.dtype == np.uint16 and image[::SAMPLE_STEP, ::SAMPLE_STEP].max() >= 2**14:
        return image
    return image.astype(np.float32)


def resize_mask(mask: Mask, masses: Box, size: int, aspect: str) -> Mask:
    """Resize a mask; a pixel is mass if at least half of its area is.

    Args:
        mask: (H, W) in {0, 1}.
        masses: Bounding box of all mass pixels.
        size: Side of the square.
        aspect: "stretch" or "pad", as in `letterbox`.

    Returns:
        (size, size) in {0, 1}.

    Example:
        >>> mask = np.zeros((64, 64), np.uint8)
        >>> mask[5, 5] = 1  # one pixel, which covers 1/16 of a resized pixel
        >>> int(resize_mask(mask, mask_bounding_box(mask), size=16, aspect="stretch").sum())
        1
    """
    # Scaled to {0, 255}, since OpenCV rounds to integers; float32 would take twice as long.
    small = (resize_image(mask * np.uint8(255), size, aspect) >= 127.5).astype(np.uint8)
    # A mass smaller than a pixel may vanish: set the pixel with the largest overlap.
    n_labels, labels = cv2.connectedComponents(masses.crop(mask))
    if n_labels == 2 and small.any():
        return small
    for label in range(1, n_labels):
        component_mask = np.zeros(mask.shape, np.float32)
        masses.crop(component_mask)[:] = labels == label
        resized_component = resize_image(component_mask, size, aspect)
        if not small[resized_component > 0].any():
            small[np.unravel_index(resized_component.argmax(), resized_component.shape)] = 1
    return small


def make_preview(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize an image for display, padded to preserve the aspect ratio.

    Returns:
        (PREVIEW_SIDE, PREVIEW_SIDE).
    """
    return np.asarray(resize_image(grey, PREVIEW_SIDE, "pad"), np.uint8)
