"""Label images of mask files: which pixels are mass, for every way in which programs store masks."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mammoseg.data.images.formats import open_decompressed, signature_format
from mammoseg.data.images.read import check_orientation, is_raster, read_image
from mammoseg.errors import ImageReadError

MAX_LABEL = 32  # a mask whose values are integers up to this one is a label map; binary masks have 1, 255 or 65535
MAX_OVERSHOOT = 0.5  # of values that resampling changes at edges, as a fraction of the label
RINGING_SIDE = 17  # pixels; compression and resampling cause regions that are at most 8 pixels from an edge
MAX_COLOURS = 32  # a picture with more colours is not a mask
FLAT_SIDE = 5  # pixels; blurred edges of a mask have no square of this size with equal values
SAMPLE_STEP = 4  # pixels; sampling every 4th one suffices to distinguish a mask from an image
LEVEL_TOLERANCE = 0.12  # fraction of the grey range
MIN_BILEVEL_FRACTION = 0.97  # of the pixels; JPEG compression blurs the edges of a mask
MIN_MASK_FRACTION = 0.9  # of the pixels have one of the values of a mask; the edges in small JPEG files may be 5 %
MAX_MASS_FRACTION = 0.5  # of the image; above it, mass and background are exchanged
MAX_LABELLED_FRACTION = 0.25  # of the image, for several labels; above it, one of them is probably the breast
ALPHA_MODES = ("RGBA", "LA", "PA")  # modes of Pillow with an alpha channel
COLOUR_MODES = (*ALPHA_MODES, "P", "RGB")  # with a palette, colours or an alpha channel
JPEG_MUST_BE_BILEVEL = "a JPEG mask must be black and white"
IMAGE_AS_MASK = "a mask must have few grey values, got those of an image; are image and mask exchanged?"


def read_mask_values(path: Path) -> NDArray[Any]:
    """Read the values (H, W) of a mask file; 0 is background.

    Palette and colour masks: black is background, and every other colour is a label. Masks with a varying alpha
    channel: opaque pixels are mass.

    Raises:
        ImageReadError: If the file cannot be read or is not a mask.
    """
    mode = raster_mode(path)
    if mode in ALPHA_MODES or (mode in COLOUR_MODES and not is_jpeg(path)):
        values = decode_colours(path)
        if values is not None:
            return values
    values = read_image(path, mask=True)[0]
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageReadError("some pixels are infinite or not a number; export the mask again")
    return values


def is_jpeg(path: Path) -> bool:
    """Return whether a file is a JPEG, by its content.

    Raises:
        ImageReadError: If the file cannot be read.
    """
    try:
        with open_decompressed(path) as file:
            return signature_format(file.read(4)) == "jpeg"
    except OSError:
        raise ImageReadError("cannot be read; check it or copy it again") from None


def raster_mode(path: Path) -> str:
    """Return Pillow's mode of a PNG or TIFF with a single page; empty for other files."""
    if not is_raster(path):
        return ""
    try:
        with warnings.catch_warnings(action="ignore"), open_decompressed(path) as file, Image.open(file) as image:
            return image.mode if getattr(image, "n_frames", 1) == 1 else ""
    except (ImageReadError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""  # read_image reports the reason


def decode_colours(path: Path) -> NDArray[Any] | None:
    """Decode a mask with a palette, colours or an alpha channel.

    Returns:
        (H, W) labels, 0 for black or transparent pixels; None for grey values without transparency, which `read_image`
        reads.

    Raises:
        ImageReadError: If the image has an orientation tag or too many colours, or if colours and alpha channel
            describe different masks.
    """
    try:
        with open_decompressed(path) as file:
            content = file.read()
        check_orientation(content)
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(content)) as image:
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
    """Return the mass pixels of a mask file: every positive label is mass; see `find_labels`.

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
    low, maximum = float(values.min(initial=0)), float(values.max(initial=0))
    if low < -MAX_OVERSHOOT * maximum:
        raise ImageReadError(f"mask values must be 0 (background) or positive, got {low:g}; export the mask again")
    if maximum <= 0:
        return np.zeros(values.shape, np.uint8), 0
    if lossy and 1 < maximum <= MAX_LABEL:
        raise ImageReadError(f"{JPEG_MUST_BE_BILEVEL}, got the maximum {maximum:g}; export it as PNG")
    if lossy and not is_bilevel(values, MIN_MASK_FRACTION):
        raise ImageReadError(IMAGE_AS_MASK)
    if lossy and any(area >= FLAT_SIDE**2 for area, _ in isolated_regions(values)):
        raise ImageReadError(f"{JPEG_MUST_BE_BILEVEL}, got grey regions; export it as PNG")
    labels = [maximum] if lossy else find_labels(values)
    mask = binarise(values) if len(labels) == 1 else np.asarray(values > min(labels) / 2, np.uint8)
    check_fraction(np.count_nonzero(mask) / mask.size, len(labels))
    return mask, len(labels)


def find_labels(values: NDArray[Any]) -> list[float]:
    """Return the labels of a mask with a positive maximum, which is one of them.

    Labels are all positive values of a label map: of integers up to `MAX_LABEL`, and of an image in which every value
    occurs in a flat region. In other masks, such as those with blurred edges, they are the maximum, the values of flat
    regions above compression noise, and the highest values of regions without any of these.

    Args:
        values: (H, W), from `read_mask_values`.

    Raises:
        ImageReadError: If the values are those of an image.
    """
    low, maximum = float(values.min()), float(values.max())
    if values.dtype == np.uint8 and not has_levels_between(values, low, maximum):
        return [maximum]
    others = (values > max(low, 0)) & (values < maximum)
    if not others.any():
        return [maximum]
    levels = np.unique(values[others])
    if maximum <= MAX_LABEL and bool((levels == np.rint(levels)).all()) and maximum == round(maximum):
        return [*levels.tolist(), maximum]
    # Flat regions are labels; blurred edges have gradients.
    grey, window = values.astype(np.float32), np.ones((FLAT_SIDE, FLAT_SIDE), np.uint8)
    flat = others & (cv2.erode(grey, window) == grey) & (cv2.dilate(grey, window) == grey)
    labels = np.unique(values[flat])
    if len(labels) == len(levels) < MAX_COLOURS:
        return [*labels.tolist(), maximum]
    tolerance = LEVEL_TOLERANCE * (maximum - low)
    lower, upper = max(low, 0) + tolerance, maximum - tolerance
    labels = labels[(labels > lower) & (labels < upper)]
    intermediate = (values > lower) & (values < upper)
    n_gradient = np.count_nonzero(intermediate & ~np.isin(values, labels))
    if len(labels) > MAX_COLOURS or n_gradient > (1 - MIN_MASK_FRACTION) * values.size:
        raise ImageReadError(IMAGE_AS_MASK)
    labels = labels[labels < maximum / (1 + MAX_OVERSHOOT)]  # higher ones may be the label that the maximum exceeds
    return [*sorted({*labels.tolist(), *(peak for _, peak in isolated_regions(values))}), maximum]


def has_levels_between(values: NDArray[np.uint8], low: float, high: float) -> bool:
    """Return whether a mask (H, W) has values above `low` and below `high`; faster than comparing in NumPy."""
    return cv2.countNonZero(cv2.inRange(values, low + 1, high - 1)) > 0


def isolated_regions(values: NDArray[Any]) -> list[tuple[int, float]]:
    """Return the area and the maximum of each region that binarising at half the maximum of the mask would remove.

    Args:
        values: (H, W) with a positive maximum.

    Returns:
        One pair per region; regions as close to the rest of the mask as compression artefacts are excluded.
    """
    maximum = float(values.max())
    n_regions, regions = cv2.connectedComponents(np.asarray(values > LEVEL_TOLERANCE * maximum, np.uint8))
    areas = np.bincount(regions.ravel(), minlength=n_regions)
    mass = cv2.dilate(np.asarray(values > maximum / 2, np.uint8), np.ones((RINGING_SIDE, RINGING_SIDE), np.uint8))
    kept = np.unique(regions[mass > 0])
    removed = np.setdiff1d(np.arange(1, n_regions), kept)
    peaks = ndimage.maximum(values, regions, removed) if len(removed) else []
    return [(int(areas[region]), float(peak)) for region, peak in zip(removed, peaks, strict=True)]


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
