"""Breast segmentation on digitised film and digital mammograms.

Excludes film borders, labels, tape and background. Pure functions on arrays.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mammoseg.data.preprocessing.box import mask_bounding_box
from mammoseg.data.preprocessing.padding import find_padding

GREY_PERCENTILES = (0.1, 99.9)  # of the grey values, mapped to 0 and 255
WORKING_SIDE = 512  # pixels; the outline of the breast needs no higher resolution
OPENING_DIAMETER = 0.04  # fraction of the longer side; removes frames and bridges from labels and tape to the breast
MAX_FRAME_WIDTH = 0.06  # fraction of a side; wider white borders may be muscle
FRAME_MIN_INTENSITY = 0.85  # fraction of the grey range
FRAME_MIN_EDGE = 0.15  # fraction of the grey range, across the inner edge; the edge of muscle is less steep
FRAME_MIN_LENGTH = 0.2  # fraction of a side; anything shorter is a bright structure of the breast
BACKGROUND_PERCENTILE = 75  # of the pixels outside the breast; labels and tape cover less than a quarter of them
BACKGROUND_TAIL = 0.02  # the upper tail of the background ends at this fraction of its histogram peak

UInt8Array = NDArray[np.uint8]
BoolMask = NDArray[np.bool_]


def segment_breast(pixels: NDArray[Any]) -> BoolMask:
    """Segment the breast at full resolution.

    Args:
        pixels: (H, W) of any real dtype.

    Returns:
        Breast mask (H, W); see `segment_downsampled`.

    Example:
        >>> pixels = np.zeros((300, 200))
        >>> pixels[50:250, :120] = 1000.0
        >>> breast = segment_breast(pixels)
        >>> bool(breast[150, 60]), bool(breast[150, 190])
        (True, False)
    """
    height, width = pixels.shape
    breast = segment_downsampled(downsample_uint8(pixels))
    return cv2.resize(breast.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def downsample_uint8(pixels: NDArray[Any]) -> UInt8Array:
    """Downsample an image and stretch its grey range.

    Args:
        pixels: (H, W) of any real dtype.

    Returns:
        (h, w) in 0..255, with at most `WORKING_SIDE` pixels per side; all 0 for a constant image.

    Example:
        >>> grey = downsample_uint8(np.linspace(0, 1, 1024 * 512).reshape(1024, 512))
        >>> grey.shape, int(grey.min()), int(grey.max())
        ((512, 256), 0, 255)
    """
    height, width = pixels.shape
    scale = min(1.0, WORKING_SIDE / max(height, width))
    shape = (max(round(width * scale), 1), max(round(height * scale), 1))
    # Subsampling to twice the target size before averaging takes a tenth of the time.
    step = max(int(0.5 / scale), 1)
    small = np.asarray(cv2.resize(pixels[::step, ::step].astype(np.float32), shape, interpolation=cv2.INTER_AREA))
    low, high = np.percentile(small, GREY_PERCENTILES)
    if high <= low:
        return np.zeros(small.shape, np.uint8)
    return np.asarray(np.clip((small - low) / (high - low) * 255, 0, 255), np.uint8)


def segment_downsampled(grey: UInt8Array) -> BoolMask:
    """Segment the breast on the output of `downsample_uint8`.

    The breast is the largest bright component after removing white frames and, by morphological opening, thinly
    connected structures (labels, tape).

    Args:
        grey: (h, w).

    Returns:
        Breast mask (h, w); all True if there is no such component (constant or empty image).
    """
    fallback = np.ones(grey.shape, bool)
    if grey.max() == grey.min():
        return fallback
    padding = find_padding(grey)
    if padding is not None:
        # Only the film is segmented, since the padding would be taken for its background.
        film = mask_bounding_box(np.asarray(~padding, np.uint8))
        assert film is not None, "find_padding leaves a film"
        low, high = np.percentile(grey[~padding], GREY_PERCENTILES)
        stretched = np.clip((film.crop(grey) - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)
        breast = np.zeros(grey.shape, bool)
        film.crop(breast)[:] = segment_film(stretched, film.crop(padding))
        return breast
    return segment_film(grey, np.zeros(grey.shape, bool))


def segment_film(grey: UInt8Array, padding: BoolMask) -> BoolMask:
    """Segment the breast on an image whose margins are not padded.

    Args:
        grey: (h, w).
        padding: (h, w), the pixels that do not belong to the image, at the edges of a rotated film.

    Returns:
        Breast mask (h, w); all True outside the padding if there is no bright component.
    """
    excluded = find_frame(grey) | padding
    if excluded.all():
        return ~padding
    bright = ((grey > background_level(grey[~excluded])) & ~excluded).astype(np.uint8)
    radius = max(round(OPENING_DIAMETER * max(grey.shape) / 2), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Zero padding: the opening removes thin borders; the breast only loses its corners, which are restored below.
    opened = cv2.morphologyEx(np.pad(bright, radius), cv2.MORPH_OPEN, disc)[radius:-radius, radius:-radius]
    if not opened.any():
        return ~padding
    # Dilation restricted to bright pixels restores corners, nipple and skin line, but no label or tape.
    core = largest_component(np.asarray(opened, np.uint8))
    return fill_holes(largest_component(np.asarray(cv2.dilate(core, disc), np.uint8) & bright))


def largest_component(region: UInt8Array) -> UInt8Array:
    """Return the largest connected component of a non-empty mask.

    Args:
        region: (h, w) in {0, 1}.

    Returns:
        (h, w) in {0, 1}; pixels are connected to their four neighbours.

    Example:
        >>> largest_component(np.array([[1, 1, 0, 1]], np.uint8))
        array([[1, 1, 0, 0]], dtype=uint8)
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(region, connectivity=4)
    return np.asarray(labels == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax(), np.uint8)


def fill_holes(breast: UInt8Array) -> BoolMask:
    """Fill the holes of a mask.

    Args:
        breast: (h, w) in {0, 1}.

    Returns:
        (h, w); True for mask pixels and for background pixels that are not connected to the border of the image.

    Example:
        >>> fill_holes(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)).all()
        np.True_
    """
    padded = np.pad(breast, 1)
    cv2.floodFill(padded, None, (0, 0), 2)
    return np.asarray(padded[1:-1, 1:-1] != 2)


def find_frame(grey: UInt8Array) -> BoolMask:
    """Detect the white borders of a scanned film: thin, uniformly bright and with a sharp inner edge.

    Borders may be slanted and differ in width, so the width is measured on each line; a median filter across lines
    removes single-line outliers (a label, a calcification).

    Args:
        grey: (h, w).

    Returns:
        Frame mask (h, w).
    """
    frame = np.zeros(grey.shape, bool)
    for k in range(4):
        lines, rotated_frame = np.rot90(grey, k), np.rot90(frame, k)  # views: writing modifies `frame`
        n_lines, length = lines.shape
        max_width = max(round(MAX_FRAME_WIDTH * length), 2)
        if length < 3 * max_width:
            continue
        width = frame_width_per_line(np.asarray(lines[:, : 2 * max_width] / 255, np.float32), max_width)
        width = ndimage.median_filter(width, 2 * (n_lines // 24) + 1, mode="nearest")
        width = np.where(keep_long_runs(width > 0, FRAME_MIN_LENGTH * n_lines), width, 0)
        width = np.where(width > 0, width + 2, 0)  # the blurred edge
        rotated_frame |= np.arange(length)[None, :] < width[:, None]
    return frame


def frame_width_per_line(lines: NDArray[np.float32], max_width: int) -> NDArray[np.int64]:
    """Measure the width of the frame on each line.

    Args:
        lines: (N, 2 * max_width) grey values in [0, 1], from the edge inwards.
        max_width: Maximum width in pixels.

    Returns:
        Widths (N,) in pixels, 0 for no frame.
    """
    white = lines >= FRAME_MIN_INTENSITY
    strip = white[:, :max_width]
    width = np.where(strip.any(axis=1), max_width - strip[:, ::-1].argmax(axis=1), 0)
    width[white[:, max_width - 1] | white[:, max_width]] = 0  # wider than a frame can be
    index = np.arange(len(lines))
    edge = lines[index, np.maximum(width - 2, 0)] - lines[index, np.minimum(width + 2, lines.shape[1] - 1)]
    return np.where((width > 0) & (edge >= FRAME_MIN_EDGE), width, 0)


def keep_long_runs(values: BoolMask, length: float) -> BoolMask:
    """Set runs of fewer than `length` True values to False.

    Args:
        values: (N,).
        length: Minimum length of a run.

    Returns:
        (N,).

    Example:
        >>> keep_long_runs(np.array([True, False, True, True]), length=2)
        array([False, False,  True,  True])
    """
    runs, n_runs = ndimage.label(values)
    if n_runs == 0:
        return values
    lengths = np.bincount(runs)
    return np.asarray(values & (lengths[runs] >= length))


def background_level(grey: UInt8Array) -> float:
    """Compute the grey value that separates background from tissue.

    In a bright breast, Otsu's threshold separates dense from fatty tissue, so it is applied again to the darker pixels.
    The background is a narrow histogram peak; if its upper tail ends below the threshold, the end of the tail is used,
    which keeps the faint skin line.
    """
    first, _ = cv2.threshold(grey.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    darker = grey[grey <= first]
    second, _ = cv2.threshold(darker.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    upper_bound = min(second, 0.5 * first)
    counts = np.convolve(np.bincount(darker, minlength=256), [0.25, 0.5, 0.25], "same")
    peak = int(counts[: int(upper_bound) + 1].argmax())
    tail_end = peak
    while tail_end < upper_bound and counts[tail_end] > BACKGROUND_TAIL * counts[peak]:
        tail_end += 1
    return float(min(upper_bound, tail_end + max(3, 2 * (tail_end - peak))))


def background_brightness(grey: UInt8Array, breast: BoolMask) -> float | None:
    """Return a high percentile of the grey values outside the breast, as a fraction of the grey range.

    Args:
        grey: (h, w) uint8, see `downsample_uint8`.
        breast: (h, w) breast mask.

    Returns:
        The value in [0, 1], about 0 for a mammogram; None if there are no pixels outside the breast, except for those
        next to its outline, which are blurred.

    Example:
        >>> grey, breast = np.full((9, 9), 51, np.uint8), np.zeros((9, 9), bool)
        >>> background_brightness(grey, breast)
        0.2
    """
    outside = cv2.erode((~breast).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return float(np.percentile(grey[outside], BACKGROUND_PERCENTILE)) / 255 if outside.any() else None
