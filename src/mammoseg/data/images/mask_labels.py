"""Label images of mask files: which pixels are mass, for every way in which programs store masks."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mammoseg.data.images.read import JPEG_SUFFIXES, is_raster, read_image
from mammoseg.errors import ImageReadError

MAX_LABEL = 32  # a mask whose values are integers up to this one is a label map; binary masks have 1, 255 or 65535
MAX_COLOURS = 32  # a picture with more colours is not a mask
FLAT_SIDE = 5  # pixels; blurred edges of a mask have no square of this size with equal values
SAMPLE_STEP = 4  # pixels; sampling every 4th one suffices to distinguish a mask from an image
LEVEL_TOLERANCE = 0.12  # fraction of the grey range
MIN_BILEVEL_FRACTION = 0.97  # of the pixels; JPEG compression blurs the edges of a mask
MIN_MASK_FRACTION = 0.9  # of the pixels have one of the values of a mask; the edges in small JPEG files may be 5 %
MAX_MASS_FRACTION = 0.5  # of the image; above it, mass and background are exchanged
MAX_LABELLED_FRACTION = 0.25  # of the image, for several labels; above it, one of them is probably the breast
IMAGE_AS_MASK = "a mask must have few grey values, got those of an image; are image and mask exchanged?"


def read_mask_values(path: Path) -> NDArray[Any]:
    """Read the values (H, W) of a mask file; 0 is background.

    Palette and colour masks: black is background, and every other colour is a label. Masks with a varying alpha
    channel: opaque pixels are mass.

    Raises:
        ImageReadError: If the file cannot be read or is not a mask.
    """
    mode = raster_mode(path)
    if mode in ("RGBA", "LA", "PA") or (mode in ("P", "RGB") and path.suffix.lower() not in JPEG_SUFFIXES):
        values = decode_colours(path)
        if values is not None:
            return values
    values = read_image(path, mask=True)[0]
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageReadError("some pixels are infinite or not a number; export the mask again")
    return values


def raster_mode(path: Path) -> str:
    """Return Pillow's mode of a PNG or TIFF with a single page; empty for other files."""
    if not is_raster(path):
        return ""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            return image.mode if getattr(image, "n_frames", 1) == 1 else ""
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""  # read_image reports the reason


def decode_colours(path: Path) -> NDArray[Any] | None:
    """Decode a mask with a palette, colours or an alpha channel.

    Returns:
        (H, W) labels, 0 for black or transparent pixels; None for grey values without transparency, which `read_image`
        reads.

    Raises:
        ImageReadError: If the image has too many colours, or colours and alpha channel describe different masks.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            rgba = np.asarray(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    rgb, alpha = rgba[..., :3], rgba[..., 3]
    is_transparent = alpha.min() != alpha.max()
    is_grey = bool((rgb == rgb[..., :1]).all())
    if not is_transparent:
        return None if is_grey else colour_labels(rgb)
    opaque = (alpha > alpha.max() / 2).astype(np.uint8)
    visible = rgb[opaque > 0]
    if (visible == visible[:1]).all():  # one colour on a transparent background
        return np.asarray(opaque)
    labels = colour_labels(rgb * opaque[..., None])
    if not np.array_equal(labels > 0, opaque > 0):
        raise ImageReadError(
            "colours and alpha channel must describe the same mask, got black pixels that are not transparent; "
            "export the mask without an alpha channel"
        )
    return labels


def colour_labels(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the index of the colour of each pixel (H, W, 3); 0 is black, and the mask must contain black.

    Raises:
        ImageReadError: If there are more than `MAX_COLOURS` colours, or no black pixel.
    """
    packed = rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    colours = np.unique(packed)
    if len(colours) > MAX_COLOURS:
        raise ImageReadError(f"a mask must have at most {MAX_COLOURS} colours, got {len(colours)}; is it an image?")
    if colours[0] != 0:
        raise ImageReadError("the background of a colour mask must be black, got none; export it as greyscale")
    return np.searchsorted(colours, packed).astype(np.uint8)


def mass_of_values(values: NDArray[Any], lossy: bool = False) -> tuple[NDArray[np.uint8], int]:
    """Return the mass pixels of a mask file.

    - Binary masks (0 and 1, 255, or 65535), also with blurred edges: values above half the maximum are mass.
    - Label maps (integers up to `MAX_LABEL`, or flat regions with different values): every positive label is mass.

    Args:
        values: (H, W), from `read_mask_values`.
        lossy: Whether the file is a JPEG, whose noise cannot be distinguished from labels.

    Returns:
        Mask (H, W) in {0, 1}, and the number of labels.

    Raises:
        ImageReadError: If the values cannot be those of a mask.

    Example:
        >>> mask, n_labels = mass_of_values(np.array([[0, 1, 2, 0, 0, 0, 0, 0, 0]], np.uint8))
        >>> mask.tolist(), n_labels
        ([[0, 1, 1, 0, 0, 0, 0, 0, 0]], 2)
    """
    maximum = values.max(initial=0)
    if maximum <= 0:
        return np.zeros(values.shape, np.uint8), 0
    if lossy and 1 < maximum <= MAX_LABEL:
        raise ImageReadError(f"a JPEG mask must be black and white, got the maximum {maximum}; export it as PNG")
    n_labels = 1 if lossy else count_labels(values)
    if lossy and not is_bilevel(values, MIN_MASK_FRACTION):
        raise ImageReadError(IMAGE_AS_MASK)
    mask = np.asarray(values > 0, np.uint8) if n_labels > 1 else binarise(values)
    check_fraction(np.count_nonzero(mask) / mask.size, n_labels)
    return mask, n_labels


def count_labels(values: NDArray[Any]) -> int:
    """Return the number of labels of a mask (H, W) with a positive maximum.

    Raises:
        ImageReadError: If the values are those of an image.
    """
    low, maximum = float(values.min()), float(values.max())
    if maximum <= MAX_LABEL:
        levels = np.unique(values)
        if values.dtype.kind in "iub" or bool((levels == np.rint(levels)).all()):
            return int((levels > 0).sum())
    tolerance = LEVEL_TOLERANCE * (maximum - low)
    lower, upper = low + tolerance, maximum - tolerance
    if values.dtype.kind in "iu":  # integer bounds, since NumPy would convert the image to floats
        lower, upper = math.floor(lower), math.ceil(upper)
    intermediate = (values > lower) & (values < upper)
    if not intermediate.any():
        return 1
    # Flat regions are labels; blurred edges have gradients.
    grey, window = values.astype(np.float32), np.ones((FLAT_SIDE, FLAT_SIDE), np.uint8)
    flat = intermediate & (cv2.erode(grey, window) == grey) & (cv2.dilate(grey, window) == grey)
    labels = np.unique(values[flat])
    n_gradient = np.count_nonzero(intermediate) - np.count_nonzero(np.isin(values, labels))
    if len(labels) > MAX_COLOURS or n_gradient > (1 - MIN_MASK_FRACTION) * values.size:
        raise ImageReadError(IMAGE_AS_MASK)
    return 1 + len(labels)


def check_fraction(fraction: float, n_labels: int) -> None:
    """Check that the mass does not cover most of the image.

    Raises:
        ImageReadError: If it does; the message contains the probable cause.
    """
    limit = MAX_MASS_FRACTION if n_labels == 1 else MAX_LABELLED_FRACTION
    if fraction <= limit:
        return
    cause = "is it inverted?" if n_labels == 1 else "a label other than mass, such as the breast, must be removed"
    labels = "" if n_labels == 1 else f" in {n_labels} labels"
    raise ImageReadError(
        f"mass must cover at most {100 * limit:.0f} % of the image, got {100 * fraction:.0f} %{labels}; {cause}"
    )


def is_bilevel(grey: NDArray[Any], min_fraction: float = MIN_BILEVEL_FRACTION) -> bool:
    """Return whether a fraction of the pixels (H, W) above `min_fraction` is close to the minimum or the maximum.

    Example:
        >>> is_bilevel(np.array([[0, 0], [255, 250]])), is_bilevel(np.array([[0, 100], [150, 255]]))
        (True, False)
    """
    sample = grey[::SAMPLE_STEP, ::SAMPLE_STEP] if min(grey.shape) > 32 * SAMPLE_STEP else grey
    low, high = float(sample.min()), float(sample.max())
    tolerance = LEVEL_TOLERANCE * (high - low)
    return bool(((sample <= low + tolerance) | (sample >= high - tolerance)).mean() > min_fraction)


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
