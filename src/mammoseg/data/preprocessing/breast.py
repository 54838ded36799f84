"""Breast segmentation on digitised film and digital mammograms; excludes frame, labels, tape and background.

Pure functions on arrays; no file is opened here.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WORKING_SIDE = 512  # pixels; the shape of the breast needs no higher resolution
OPENING_DIAMETER = 0.04  # of the longer side: removes frames, and bridges from labels and tape to the breast
MAX_FRAME_WIDTH = 0.06  # of a side: wider white borders may be muscle
FRAME_MIN_INTENSITY = 0.85  # of the grey range
FRAME_MIN_EDGE = 0.15  # of the grey range, within three pixels: a frame ends in a step, muscle fades
FRAME_MIN_LENGTH = 0.2  # of a side: a shorter stretch is a bright structure of the breast
BACKGROUND_TAIL = 0.02  # of the peak of the background's histogram, which ends where it falls below

Grey = NDArray[np.uint8]
Region = NDArray[np.bool_]


def segment_breast(pixels: NDArray) -> Region:
    """Segment the breast at full size.

    Args:
        pixels: (H, W) of any real type.

    Returns:
        (H, W); see `segment_downsampled`.
    """
    height, width = pixels.shape
    breast = segment_downsampled(downsample_uint8(pixels))
    return cv2.resize(breast.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def downsample_uint8(pixels: NDArray) -> Grey:
    """Resize (H, W) so that the longer side is at most `WORKING_SIDE`, and stretch the grey range to 0..255."""
    height, width = pixels.shape
    scale = min(1.0, WORKING_SIDE / max(height, width))
    shape = (max(round(width * scale), 1), max(round(height * scale), 1))
    # Subsample to twice the target size before averaging: a tenth of the time, the same shape.
    step = max(int(0.5 / scale), 1)
    small = cv2.resize(pixels[::step, ::step].astype(np.float32), shape, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, [0.1, 99.9])
    if high <= low:
        return np.zeros(small.shape, np.uint8)
    return np.clip((small - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def segment_downsampled(grey: Grey) -> Region:
    """Segment the breast on the output of `downsample_uint8`.

    It is the largest bright component after white frames are removed and thinly connected structures (labels, tape)
    are opened away.

    Args:
        grey: (h, w).

    Returns:
        (h, w); True everywhere for an image without such a component (constant, empty).
    """
    everything = np.ones(grey.shape, bool)
    if grey.max() == grey.min():
        return everything
    frame = find_frame(grey)
    bright = ((grey > background_level(grey[~frame])) & ~frame).astype(np.uint8)
    radius = max(round(OPENING_DIAMETER * max(grey.shape) / 2), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Zero padding: borders are eroded away; the breast only loses its corners, which the next step restores.
    opened = cv2.morphologyEx(np.pad(bright, radius), cv2.MORPH_OPEN, disc)[radius:-radius, radius:-radius]
    if not opened.any():
        return everything
    # Dilation limited to bright pixels: restores corners, nipple and skin line, not the structures behind them.
    core = largest_component(np.asarray(opened, np.uint8))
    return fill_holes(largest_component(np.asarray(cv2.dilate(core, disc), np.uint8) & bright))


def largest_component(region: Grey) -> Grey:
    """The largest connected component of (h, w) in {0, 1}."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(region, connectivity=4)
    return (labels == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)


def fill_holes(breast: Grey) -> Region:
    """Add the background that the breast surrounds."""
    padded = np.pad(breast, 1)
    cv2.floodFill(padded, None, (0, 0), 2)
    return padded[1:-1, 1:-1] != 2


def find_frame(grey: Grey) -> Region:
    """Find the white borders of a scanned film (h, w): thin, uniformly bright, and ended by a step.

    They may be slanted and differ in width, so each line is measured separately, and single-line outliers (a label, a
    calcification) are removed by a median filter across lines.
    """
    frame = np.zeros(grey.shape, bool)
    for k in range(4):
        lines, rotated_frame = np.rot90(grey, k), np.rot90(frame, k)  # views: writes reach `frame`
        n_lines, length = lines.shape
        max_width = max(round(MAX_FRAME_WIDTH * length), 2)
        if length < 3 * max_width:
            continue
        width = frame_width_per_line(np.asarray(lines[:, : 2 * max_width] / 255, np.float32), max_width)
        width = ndimage.median_filter(width, 2 * (n_lines // 24) + 1, mode="nearest")
        width = np.where(keep_long_runs(width > 0, FRAME_MIN_LENGTH * n_lines), width, 0)
        width = np.where(width > 0, width + 2, 0)  # the blur of its edge
        rotated_frame |= np.arange(length)[None, :] < width[:, None]
    return frame


def frame_width_per_line(lines: NDArray[np.float32], max_width: int) -> NDArray[np.int64]:
    """Width of the frame on each line.

    Args:
        lines: (N, 2 * max_width) grey values in [0, 1], from the edge inwards.
        max_width: In pixels.

    Returns:
        (N,) in pixels, 0 for no frame.
    """
    white = lines >= FRAME_MIN_INTENSITY
    strip = white[:, :max_width]
    width = np.where(strip.any(axis=1), max_width - strip[:, ::-1].argmax(axis=1), 0)
    width[white[:, max_width - 1] | white[:, max_width]] = 0  # wider than a frame can be
    index = np.arange(len(lines))
    edge = lines[index, np.maximum(width - 2, 0)] - lines[index, np.minimum(width + 2, lines.shape[1] - 1)]
    return np.where((width > 0) & (edge >= FRAME_MIN_EDGE), width, 0)


def keep_long_runs(values: Region, length: float) -> Region:
    """(N,) -> (N,), keeping only runs of at least `length` True values."""
    runs, n_runs = ndimage.label(values)
    if n_runs == 0:
        return values
    lengths = np.bincount(runs)
    return values & (lengths[runs] >= length)


def background_level(grey: Grey) -> float:
    """The grey value that separates film or detector background from tissue.

    Otsu's threshold separates dense from fatty tissue in a bright breast, so it is applied again to the darker half.
    The background is a narrow histogram peak; if its upper tail ends below that threshold, the tail's end is used,
    which keeps the faint skin line.
    """
    first, _ = cv2.threshold(grey.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    darker = grey[grey <= first]
    second, _ = cv2.threshold(darker.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    upper_bound = min(second, 0.5 * first)
    counts = np.convolve(np.bincount(darker, minlength=256), [0.25, 0.5, 0.25], "same")
    peak = int(counts[: int(upper_bound) + 1].argmax())
    foot = peak
    while foot < upper_bound and counts[foot] > BACKGROUND_TAIL * counts[peak]:
        foot += 1
    return float(min(upper_bound, foot + max(3, 2 * (foot - peak))))
