"""Detection of constant padding around a digitised film, which is not the background of the breast."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_DEVIATION = 1  # grey levels of padding, which is constant up to resampling
MIN_CONSTANT = 0.98  # of the pixels of an edge in the padding
# Fraction of a side; narrower margins are frames of scanned films, or too small to be taken for the background.
MIN_MARGIN = 0.065
MIN_RECTANGULARITY = 0.93  # of the film, as a fraction of its rotated bounding box; a breast fills at most 0.9
# Mean of the film's background above the padding, as a fraction of that of the tissue. Without film background, as in
# spot compression views whose collimator is black, fat would be taken for background.
MAX_BACKGROUND = 0.5
MIN_FILM_BACKGROUND = 0.05  # fraction of the film

UInt8Image = NDArray[np.uint8]


def find_padding(grey: UInt8Image) -> NDArray[np.bool_] | None:
    """Detect padding: constant margins around a rectangular film that has a background of its own.

    A digital mammogram, whose background is constant too, is not padded: the part of it that differs from the
    background is the breast, which is not a rectangle.

    Args:
        grey: (h, w) in 0..255, with a stretched grey range.

    Returns:
        (h, w), True for padding; None if the image is not padded.

    Example:
        >>> film = np.full((40, 30), 20, np.uint8)
        >>> film[10:30, :15] = 200
        >>> padding = find_padding(np.pad(film, ((0, 0), (0, 10))))
        >>> bool(padding[:, 30:].all()), bool(padding[:, :30].any())
        (True, False)
    """
    for value in edge_values(grey):
        padding = padding_of_value(grey, value)
        if padding is not None:
            return padding
    return None


def padding_of_value(grey: UInt8Image, value: int) -> NDArray[np.bool_] | None:
    """Return the padding with a grey value (h, w); None if the image is not padded with this value."""
    constant = np.asarray(cv2.inRange(grey, value - MAX_DEVIATION, value + MAX_DEVIATION) > 0, np.uint8)
    film = ~touching_border(constant)
    if not film.any():
        return None
    rows, columns = np.asarray(film.any(axis=1)), np.asarray(film.any(axis=0))
    if max(margin_fraction(rows), margin_fraction(columns)) <= MIN_MARGIN:
        return None
    # Tissue at the border of the film may have the grey value of the padding.
    rectangle = rotated_bounding_box(film)
    is_rectangle = film.sum() >= MIN_RECTANGULARITY * rectangle.sum()
    return ~rectangle if is_rectangle and has_background(grey, rectangle, value) else None


def margin_fraction(lines: NDArray[np.bool_]) -> float:
    """Return the width of the wider of the two margins of a film, as a fraction of the side.

    Args:
        lines: (N,), whether the row or column contains pixels of the film.

    Example:
        >>> margin_fraction(np.array([False, True, True, False, False]))
        0.4
    """
    return float(max(lines.argmax(), lines[::-1].argmax()) / len(lines))


def edge_values(grey: UInt8Image) -> list[int]:
    """Return the different grey values of the edges that are constant."""
    values = set()
    for edge in (grey[0], grey[-1], grey[:, 0], grey[:, -1]):
        value = int(np.bincount(edge, minlength=256).argmax())
        if (np.abs(edge.astype(np.int16) - value) <= MAX_DEVIATION).mean() >= MIN_CONSTANT:
            values.add(value)
    return sorted(values)


def touching_border(region: UInt8Image) -> NDArray[np.bool_]:
    """Return the components of a mask (h, w) in {0, 1} that touch the border of the image."""
    n_labels, labels = cv2.connectedComponents(region, connectivity=4)
    touches = np.zeros(n_labels, bool)
    touches[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    touches[0] = False  # pixels outside the mask
    return np.asarray(touches[labels])


def rotated_bounding_box(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the smallest rotated rectangle that contains a region (h, w), as a mask (h, w)."""
    points = cv2.findNonZero(region.astype(np.uint8))
    corners = np.rint(cv2.boxPoints(cv2.minAreaRect(points))).astype(np.int32)
    return np.asarray(cv2.fillConvexPoly(np.zeros(region.shape, np.uint8), corners, 1) > 0)


def has_background(grey: UInt8Image, film: NDArray[np.bool_], padding_value: int) -> bool:
    """Return whether a film consists of tissue and of a much darker background.

    Args:
        grey: (h, w).
        film: (h, w), the pixels that are not padding.
        padding_value: Grey value of the padding; for bright padding, the darkest pixel of the film takes its part.
    """
    values = grey[film]
    level, _ = cv2.threshold(values.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    background, tissue = values[values <= level], values[values > level]
    if len(tissue) == 0 or len(background) < MIN_FILM_BACKGROUND * len(values):
        return False
    black = min(padding_value, int(values.min()))
    return bool(np.median(background) - black <= MAX_BACKGROUND * (np.median(tissue) - black))
