"""From full-size pixels to the network's input: keep the breast, crop, resize, normalise, flip.

Pure functions on arrays; no file is opened here. The full-size image is only read by `cv2.resize`, so that a
digitised film costs little more than its decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.breast import outline, reduced
from mammoseg.errors import UserError

MARGIN = 0.015  # of the breast box, kept around it so that neither the skin line nor the chest wall is cut
SAMPLED = 16  # every 16th pixel each way tells how much of its type an image uses
PREVIEW = 160  # side in pixels of the thumbnail of the film as it was

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

    def holds(self, other: Box) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def within(self, outer: Box) -> Box:
        """This box in the rows and columns of what `outer` cuts out."""
        return Box(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


@dataclass(frozen=True)
class Cleaned:
    """image (size, size) float32, mask (size, size) uint8 in {0, 1}, and what it took to get there."""

    image: Pixels
    mask: Mask
    breast: NDArray[np.bool_]  # (size, size)
    preview: Mask  # (PREVIEW, PREVIEW) in 0..255: the uncropped film, padded to a square, never flipped
    box: Box
    whole: bool  # the crop would have cut a mass, so the whole image was kept
    flipped: bool  # left and right are exchanged
    breast_share: float  # of the full-size image


def clean(
    pixels: NDArray,
    mask: Mask,
    *,
    size: int,
    crop: bool = True,
    aspect: str = "stretch",
    normalise: str = "minmax",
    flip: str = "none",
) -> Cleaned:
    """One prepared image.

    Shapes: pixels (H, W) of any real type, mask (H, W) in {0, 1}.
    `crop`: keep the breast's box only, and darkness outside the breast; False leaves the image as it is.
    `aspect`: "stretch" fills the square, as the paper's resizing does (its accuracies imply masses of
    2.5 % of the pixels on INbreast, which only a crop filled to the square gives); "pad" keeps shapes.
    `normalise`: "minmax" to [0, 1], "percentile" the same between the 0.5th and 99.5th percentile of the
    breast, "zscore" to mean 0 and deviation 1 over the breast; each over the prepared pixels of the breast.
    `flip`: "left" or "right" mirrors images so that all chest walls are on that side; "none" leaves them.
    No mass pixel is lost: a mass that the crop would cut brings the whole image back, `whole` says so,
    and a mass too small for the new size keeps at least one pixel.
    """
    height, width = pixels.shape
    grey = reduced(pixels)
    breast = outline(grey) if crop or flip != "none" else np.ones(grey.shape, bool)
    flipped = wants_flip(breast, flip)
    share = float(breast.mean())
    box, whole = Box(0, height, 0, width), False
    masses = extent(mask)
    if crop:
        found = bounding_box(breast, height, width)
        whole = masses is not None and not found.holds(masses)
        box = box if whole else found
    if whole or not crop:
        breast = np.ones(grey.shape, bool)
    image = resized(precise(box.of(pixels)), size, aspect)
    small_mask = np.zeros((size, size), np.uint8)
    if masses is not None:
        small_mask = resized_mask(box.of(mask), masses.within(box), size, aspect)
    # Half a pixel of the finder is all that the outline can be wrong by.
    kept = resized(scaled(box, breast.shape, (height, width)).of(breast.astype(np.float32)), size, aspect) >= 0.5
    # Pixels of a mass outside the breast's outline (a nipple, a skin fold) stay as they are.
    image = normalised(image, kept | (small_mask > 0), normalise)
    turn = (lambda array: np.ascontiguousarray(array[:, ::-1])) if flipped else (lambda array: array)
    return Cleaned(turn(image), turn(small_mask), turn(kept), preview(grey), box, whole, flipped, share)


def extent(mask: Mask) -> Box | None:
    """The box around all mass pixels; None if there are none."""
    left, top, width, height = cv2.boundingRect(mask)
    return Box(top, top + height, left, left + width) if width else None


def wants_flip(breast: NDArray[np.bool_], flip: str) -> bool:
    """Whether the breast lies on the other side than `flip` asks for."""
    if flip not in ("none", "left", "right"):
        raise UserError(f"dataset.flip={flip}, but the choices are none, left and right")
    columns = breast.sum(axis=0)
    centre = (columns * (np.arange(len(columns)) + 0.5)).sum() / columns.sum()
    side = "left" if centre <= len(columns) / 2 else "right"
    return flip not in ("none", side)


def bounding_box(breast: NDArray[np.bool_], height: int, width: int) -> Box:
    """The box, with its margin, in an image of (height, width) of which `breast` (h, w) is a reduced view."""
    rows, columns = np.flatnonzero(breast.any(axis=1)), np.flatnonzero(breast.any(axis=0))
    tall, wide = height / breast.shape[0], width / breast.shape[1]
    top, bottom, left, right = rows[0] * tall, (rows[-1] + 1) * tall, columns[0] * wide, (columns[-1] + 1) * wide
    down, across = MARGIN * (bottom - top), MARGIN * (right - left)
    return Box(
        top=max(int(top - down), 0),
        bottom=min(int(np.ceil(bottom + down)), height),
        left=max(int(left - across), 0),
        right=min(int(np.ceil(right + across)), width),
    )


def scaled(box: Box, small: tuple[int, ...], full: tuple[int, int]) -> Box:
    """The box of a full-size image on its reduced view; at least one pixel."""
    tall, wide = small[0] / full[0], small[1] / full[1]
    top, left = min(round(box.top * tall), small[0] - 1), min(round(box.left * wide), small[1] - 1)
    return Box(top, max(round(box.bottom * tall), top + 1), left, max(round(box.right * wide), left + 1))


def normalised(pixels: Pixels, kept: NDArray[np.bool_], how: str) -> Pixels:
    """Grey values scaled by those of the kept pixels; pixels that are not kept get the lowest value."""
    inside = pixels[kept] if kept.any() else pixels.ravel()
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
    lowest = (inside.min() - low) / max(float(high - low), 1e-6) if how == "zscore" else 0
    return np.where(kept, scaled, lowest).astype(np.float32)


def fitted(height: int, width: int, size: int, aspect: str) -> Box:
    """Where in a square of `size` an image of (height, width) lies: all of it, or with its shape kept in the middle."""
    if aspect not in ("stretch", "pad"):
        raise UserError(f"dataset.aspect={aspect}, but the choices are stretch and pad")
    tall = wide = size
    if aspect == "pad":
        longer = max(height, width)
        tall, wide = max(round(size * height / longer), 1), max(round(size * width / longer), 1)
    top, left = (size - tall) // 2, (size - wide) // 2
    return Box(top, top + tall, left, left + wide)


def resized(image: NDArray, size: int, aspect: str) -> Pixels:
    """(H, W) -> (size, size): areas averaged where it shrinks, bilinear where it grows; rounded to the type given."""
    height, width = image.shape
    inside = fitted(height, width, size, aspect)
    tall, wide = inside.bottom - inside.top, inside.right - inside.left
    how = cv2.INTER_AREA if height >= tall and width >= wide else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, (wide, tall), interpolation=how), np.float32)
    if small.shape == (size, size):
        return small
    around = ((inside.top, size - inside.bottom), (inside.left, size - inside.right))
    return np.pad(small, around, constant_values=float(small.min()))


def precise(image: NDArray) -> NDArray:
    """A type in which OpenCV's rounding does not matter: 16 bits that are used may stay, the rest becomes float32."""
    if image.dtype == np.uint16 and image[::SAMPLED, ::SAMPLED].max() >= 2**14:
        return image
    return image.astype(np.float32)


def resized_mask(mask: Mask, masses: Box, size: int, aspect: str) -> Mask:
    """(H, W) in {0, 1} -> (size, size) in {0, 1}: a pixel is mass if at least half of it was.

    `masses`: the box around all mass pixels.
    """
    # 255, for OpenCV rounds to whole numbers; not floats, which take twice as long.
    small = (resized(mask * np.uint8(255), size, aspect) >= 127.5).astype(np.uint8)
    # A mass narrower than a pixel would vanish: each blob that left no trace keeps its fullest pixel.
    blobs, labels = cv2.connectedComponents(masses.of(mask))
    if blobs == 2 and small.any():
        return small
    for blob in range(1, blobs):
        alone = np.zeros(mask.shape, np.float32)
        masses.of(alone)[:] = labels == blob
        trace = resized(alone, size, aspect)
        if not small[trace > 0].any():
            small[np.unravel_index(trace.argmax(), trace.shape)] = 1
    return small


def preview(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(resized(grey, PREVIEW, "pad"), np.uint8)


def rasterise(outlines: Sequence[NDArray], height: int, width: int) -> Mask:
    """Polygons (N, 2) of (x, y) -> (height, width) mask in {0, 1}; what lies outside the image is cut off.

    Raises ValueError for an outline that has no pixel in the image, naming its number from 1.
    """
    mask = np.zeros((height, width), np.uint8)
    for number, points in enumerate(outlines, start=1):
        # 1/16 pixel: fillPoly takes fixed-point coordinates. The bound, far outside, keeps them from overflowing.
        polygon = np.rint(np.clip(points, -1e5, 1e5) * 16).astype(np.int32)
        alone = mask if number == 1 else np.zeros_like(mask)
        cv2.fillPoly(alone, [polygon], 1, shift=4)
        if not alone.any():
            raise ValueError(f"outline {number} lies outside the image of {width}x{height} pixels")
        mask |= alone
    return mask
