"""Where the breast is on a film or a detector image, and what is frame, label, tape or background.

Pure functions on arrays; no file is opened here.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FINDER_SIDE = 512  # the breast is found on a copy of at most this many pixels a side: shape needs no more
OPENING = 0.04  # of the longer side: cuts frames, and the bands by which labels and tape hang on to the breast
FRAME = 0.06  # of a side: white edges of a scan are at most this thick; what is thicker may be muscle
WHITE = 0.85  # of the grey range: a scan's frame is brighter
STEP = 0.15  # of the grey range: by which a frame ends, within three pixels; muscle fades instead
RUN = 0.2  # of a side: a shorter stretch is no frame but something bright in the breast
SPECK = 0.02  # of the background's peak: where its histogram has fallen to this, the background ends

Grey = NDArray[np.uint8]
Region = NDArray[np.bool_]


def find_breast(pixels: NDArray) -> Region:
    """(H, W) of any real type -> (H, W), true where the breast is.

    It is the largest bright blob once white frames are taken off and what hangs on by a thin bridge is cut
    loose. A picture without such a blob (constant, empty) counts as breast everywhere.
    """
    height, width = pixels.shape
    breast = outline(reduced(pixels))
    return cv2.resize(breast.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def reduced(pixels: NDArray) -> Grey:
    """The picture with its longer side at FINDER_SIDE or less, its grey range stretched to 0..255."""
    height, width = pixels.shape
    scale = min(1.0, FINDER_SIDE / max(height, width))
    shape = (max(round(width * scale), 1), max(round(height * scale), 1))
    # Every k-th pixel, so that twice the side is left to average over: a tenth of the time, the same shape.
    every = max(int(0.5 / scale), 1)
    small = cv2.resize(pixels[::every, ::every].astype(np.float32), shape, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, [0.1, 99.9])
    if high <= low:
        return np.zeros(small.shape, np.uint8)
    return np.clip((small - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def outline(grey: Grey) -> Region:
    """`find_breast` on a reduced picture (h, w)."""
    everything = np.ones(grey.shape, bool)
    if grey.max() == grey.min():
        return everything
    frame = find_frame(grey)
    bright = ((grey > background_level(grey[~frame])) & ~frame).astype(np.uint8)
    radius = max(round(OPENING * max(grey.shape) / 2), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Beyond the edge counts as dark: so frames vanish, and the breast loses no more than its corners there.
    opened = cv2.morphologyEx(np.pad(bright, radius), cv2.MORPH_OPEN, disc)[radius:-radius, radius:-radius]
    if not opened.any():
        return everything
    # The corners, the nipple and the skin line come back; what they lead to does not.
    breast = largest(np.asarray(cv2.dilate(largest(np.asarray(opened, np.uint8)), disc), np.uint8) & bright)
    return with_holes(breast)


def largest(region: Grey) -> Grey:
    """The largest of the connected parts."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(region, connectivity=4)
    return (labels == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)


def with_holes(breast: Grey) -> Region:
    """What the breast surrounds belongs to it."""
    around = np.pad(breast, 1)
    cv2.floodFill(around, None, (0, 0), 2)
    return around[1:-1, 1:-1] != 2


def find_frame(grey: Grey) -> Region:
    """The white edges of a scanned film: thin, bright to their end, and ended by a step.

    They may be slanted and of different thickness on each side, so each line is measured by itself, and
    what single lines say (a label, a calcification) is outvoted by their neighbours.
    """
    frame = np.zeros(grey.shape, bool)
    for turns in range(4):
        lines, found = np.rot90(grey, turns), np.rot90(frame, turns)  # a view: writing turns back by itself
        count, length = lines.shape
        deep = max(round(FRAME * length), 2)
        if length < 3 * deep:
            continue
        thick = line_frames(np.asarray(lines[:, : 2 * deep] / 255, np.float32), deep)
        thick = ndimage.median_filter(thick, 2 * (count // 24) + 1, mode="nearest")
        thick = np.where(in_long_runs(thick > 0, RUN * count), thick, 0)
        thick = np.where(thick > 0, thick + 2, 0)  # the blur of its edge
        found |= np.arange(length)[None, :] < thick[:, None]
    return frame


def line_frames(lines: NDArray[np.float32], deep: int) -> NDArray[np.int64]:
    """(N, 2 deep) grey values in 0..1 from the edge inwards -> (N,) pixels of frame on each line, 0 for none."""
    white = lines >= WHITE
    strip = white[:, :deep]
    thick = np.where(strip.any(axis=1), deep - strip[:, ::-1].argmax(axis=1), 0)
    thick[white[:, deep - 1] | white[:, deep]] = 0  # no end in sight
    each = np.arange(len(lines))
    step = lines[each, np.maximum(thick - 2, 0)] - lines[each, np.minimum(thick + 2, lines.shape[1] - 1)]
    return np.where((thick > 0) & (step >= STEP), thick, 0)


def in_long_runs(found: Region, length: float) -> Region:
    """(N,) -> (N,), true only where at least `length` in a row are."""
    runs, number = ndimage.label(found)
    if number == 0:
        return found
    lengths = np.bincount(runs)
    return found & (lengths[runs] >= length)


def background_level(grey: Grey) -> float:
    """The grey value that parts film or detector background from tissue.

    Otsu's threshold parts dense from fatty tissue in a bright breast, so it is taken again among the darker
    half. Background is a narrow peak; where its foot lies lower than that, the faint skin line is won.
    """
    first, _ = cv2.threshold(grey.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    darker = grey[grey <= first]
    second, _ = cv2.threshold(darker.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    most = min(second, 0.5 * first)
    counts = np.convolve(np.bincount(darker, minlength=256), [0.25, 0.5, 0.25], "same")
    peak = int(counts[: int(most) + 1].argmax())
    foot = peak
    while foot < most and counts[foot] > SPECK * counts[peak]:
        foot += 1
    return float(min(most, foot + max(3, 2 * (foot - peak))))
