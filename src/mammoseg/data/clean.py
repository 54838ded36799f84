"""From full-size pixels to the network's input: find the breast, drop what is not breast, crop, resize.

Pure functions on arrays; no file is opened here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mammoseg.errors import UserError

FINDER_SIDE = 512  # the breast is found on a copy of at most this many pixels a side: shape needs no more
OPENING = 0.02  # of the longer side: cuts the thin bridges by which labels and tape hang on to the breast
MARGIN = 0.01  # of the breast box, kept around it so that the skin line is not cut

Pixels = NDArray[np.float32]
Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """Rows [top, bottom) and columns [left, right) of the full-size image."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, array: NDArray) -> NDArray:
        return array[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Cleaned:
    """image (size, size) float32, mask (size, size) uint8 in {0, 1}, and what it took to get there."""

    image: Pixels
    mask: Mask
    box: Box
    whole: bool  # the crop would have cut a mass, so the whole image was kept


def clean(
    pixels: NDArray,
    mask: Mask,
    *,
    size: int,
    crop: bool = True,
    aspect: str = "stretch",
    normalise: str = "minmax",
) -> Cleaned:
    """One prepared image.

    Shapes: pixels (H, W) of any real type, mask (H, W) in {0, 1}.
    `crop`: keep the breast's box only, and zero outside the breast; False leaves the image as it is.
    `aspect`: "stretch" fills the square, as the paper's resizing does (its accuracies imply masses of
    2.5 % of the pixels on INbreast, which only a crop filled to the square gives); "pad" keeps shapes.
    `normalise`: "minmax" to [0, 1], "percentile" the same between the 0.5th and 99.5th percentile of the
    breast, "zscore" to mean 0 and deviation 1 over the breast.
    No mass pixel is lost: a mass that the crop would cut brings the whole image back, `whole` says so,
    and a mass too small for the new size keeps at least one pixel.
    """
    height, width = pixels.shape
    everything = np.ones((height, width), bool)
    frame = Box(0, height, 0, width)
    breast, box, whole = everything, frame, False
    if crop:
        breast = find_breast(pixels)
        box = bounding_box(breast)
        whole = bool(box.of(mask).sum() < mask.sum())
        if whole:
            breast, box = everything, frame
    # Pixels of a mass outside the breast's outline (a nipple, a skin fold) stay as they are.
    kept = breast | (mask > 0)
    image = normalised(pixels.astype(np.float32), kept, normalise)
    return Cleaned(
        image=resized(box.of(image), size, aspect),
        mask=resized_mask(box.of(mask), size, aspect),
        box=box,
        whole=whole,
    )


def find_breast(pixels: NDArray) -> NDArray[np.bool_]:
    """(H, W) -> where the breast is: the largest bright blob after labels have been cut loose.

    A picture without such a blob (constant, empty) counts as breast everywhere.
    """
    height, width = pixels.shape
    scale = min(1.0, FINDER_SIDE / max(height, width))
    small = cv2.resize(
        pixels.astype(np.float32),
        (max(round(width * scale), 1), max(round(height * scale), 1)),
        interpolation=cv2.INTER_AREA,
    )
    bright = small > background_level(np.asarray(small, np.float32))
    radius = max(round(OPENING * max(small.shape) / 2), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Replicated edges: the breast runs into the chest-wall edge and must not be eroded from there.
    padded = np.pad(bright.astype(np.uint8), radius, mode="edge")
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc)[radius:-radius, radius:-radius]
    labels, blobs = ndimage.label(opened)
    if blobs == 0:
        return np.ones(pixels.shape, bool)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    breast = ndimage.binary_fill_holes(labels == areas.argmax())
    return cv2.resize(breast.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def background_level(pixels: Pixels) -> float:
    """The grey value that parts film or detector background from tissue.

    Otsu's threshold parts dense from fatty tissue in a bright breast, so it is taken again among the
    darker half, until what lies below is background: a narrow peak of the histogram.
    """
    low, high = np.percentile(pixels, [0.1, 99.9])
    if high <= low:
        return float(high)
    grey = np.clip((pixels - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    first, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    darker = grey[grey <= first]
    second, _ = cv2.threshold(darker, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(low + (min(second, 0.5 * first) + 0.5) / 255 * (high - low))


def bounding_box(breast: NDArray[np.bool_]) -> Box:
    height, width = breast.shape
    rows, columns = np.flatnonzero(breast.any(axis=1)), np.flatnonzero(breast.any(axis=0))
    down = round(MARGIN * (rows[-1] - rows[0] + 1))
    across = round(MARGIN * (columns[-1] - columns[0] + 1))
    return Box(
        top=max(int(rows[0]) - down, 0),
        bottom=min(int(rows[-1]) + 1 + down, height),
        left=max(int(columns[0]) - across, 0),
        right=min(int(columns[-1]) + 1 + across, width),
    )


def normalised(pixels: Pixels, kept: NDArray[np.bool_], how: str) -> Pixels:
    """Grey values scaled by those of the kept pixels; pixels that are not kept get the lowest value."""
    inside = pixels[kept]
    if how == "minmax":
        low, high = inside.min(), inside.max()
    elif how == "percentile":
        low, high = np.percentile(inside, [0.5, 99.5])
    elif how == "zscore":
        low, high = inside.mean(), inside.mean() + inside.std()
    else:
        raise UserError(f"dataset.normalise={how}, but the choices are minmax, percentile and zscore")
    scaled = (pixels - low) / max(float(high - low), 1e-6)
    if how != "zscore":
        scaled = np.clip(scaled, 0, 1)
    return np.where(kept, scaled, scaled[kept].min()).astype(np.float32)


def resized(image: Pixels, size: int, aspect: str) -> Pixels:
    """(H, W) -> (size, size): areas averaged where it shrinks, bilinear where it grows."""
    image = padded_to_aspect(image, aspect, fill=float(image.min()))
    shrinks = min(image.shape) > size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.float32)


def resized_mask(mask: Mask, size: int, aspect: str) -> Mask:
    """(H, W) in {0, 1} -> (size, size) in {0, 1}: a pixel is mass if at least half of it was."""
    mask = padded_to_aspect(mask, aspect, fill=0)
    share = resized(mask.astype(np.float32), size, "stretch")
    small = (share >= 0.5).astype(np.uint8)
    # A mass narrower than a pixel would vanish: each blob that left no trace keeps its fullest pixel.
    labels, blobs = ndimage.label(mask)
    for blob in range(1, blobs + 1):
        trace = resized((labels == blob).astype(np.float32), size, "stretch")
        if not (small[trace > 0]).any():
            small[np.unravel_index(trace.argmax(), trace.shape)] = 1
    return small


def padded_to_aspect(array: NDArray, aspect: str, fill: float) -> NDArray:
    if aspect == "stretch":
        return array
    if aspect != "pad":
        raise UserError(f"dataset.aspect={aspect}, but the choices are stretch and pad")
    height, width = array.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(array, ((top, side - height - top), (left, side - width - left)), constant_values=fill)


def rasterise(outlines: Sequence[NDArray], height: int, width: int) -> Mask:
    """Polygons (N, 2) of (x, y) -> (height, width) mask in {0, 1}; what lies outside the image is cut off.

    Raises ValueError for an outline that has no pixel in the image, naming its number from 1.
    """
    mask = np.zeros((height, width), np.uint8)
    for number, outline in enumerate(outlines, start=1):
        alone = np.zeros_like(mask)
        # 1/16 pixel: fillPoly takes fixed-point coordinates. The bound, far outside, keeps them from overflowing.
        cv2.fillPoly(alone, [np.rint(np.clip(outline, -1e5, 1e5) * 16).astype(np.int32)], 1, shift=4)
        if not alone.any():
            raise ValueError(f"outline {number} lies outside the image of {width}x{height} pixels")
        mask |= alone
    return mask
