"""Simulation of digitised film: fog, labels, tape, dust, white frame and dark border of the scan."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mammoseg.phantom.anatomy import MAX_VALUE, Phantom

MAX_UINT16 = 65535  # white
FOG = 0.03  # grey value of unexposed film, as a fraction of the range
GRAIN = 0.006  # standard deviation of the film grain, as a fraction of the range
MAX_DUST_SPECKS = 12


@dataclass(frozen=True)
class Film:
    """A digitised film.

    Attributes:
        pixels: (H, W) uint16 over the full range.
        outlines: Outlines of the masses, each (N, 2) of (x, y) in pixels.
        breast: (H, W) breast mask.
    """

    pixels: NDArray[np.uint16]
    outlines: tuple[NDArray[np.float64], ...]
    breast: NDArray[np.bool_]


def digitise_film(rng: np.random.Generator, phantom: Phantom, side: str) -> Film:
    """Simulate the exposure of a film and its digitisation.

    Args:
        rng: Source of randomness.
        phantom: The mammogram.
        side: Laterality, L or R.

    Returns:
        The digitised film, which has borders of up to 3 % of the height on each side of the mammogram.
    """
    height, width = phantom.pixels.shape
    grey = phantom.pixels.astype(np.float32) / MAX_VALUE
    gradient = rng.uniform(0, 0.02) * np.linspace(0, 1, height, dtype=np.float32)[:, None]
    grey = np.maximum(FOG + gradient, FOG + (1 - FOG) * 0.93 * grey)
    free_side = "right" if side == "L" else "left"  # opposite the chest wall
    add_label(rng, grey, free_side)
    if rng.random() < 0.4:
        add_tape(rng, grey, free_side)
    for _ in range(int(rng.integers(MAX_DUST_SPECKS))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(grey, centre, max(height // 600, 1), float(rng.uniform(0.3, 1)), -1)
    grey += rng.standard_normal(grey.shape, np.float32) * GRAIN
    top, bottom, left, right = (int(fraction * height) for fraction in rng.uniform(0.004, 0.03, 4))
    padded = np.pad(grey, ((top, bottom), (left, right)), constant_values=0.01)
    add_frame(rng, padded, (top, bottom, left, right))
    pixels = np.clip(np.rint(padded * MAX_UINT16), 0, MAX_UINT16).astype(np.uint16)
    outlines = tuple(outline + np.array([left, top]) for outline in phantom.outlines)
    return Film(pixels, outlines, np.pad(phantom.breast, ((top, bottom), (left, right))))


def add_label(rng: np.random.Generator, grey: NDArray[np.float32], free_side: str) -> None:
    """Draw a bright label, slightly rotated and with dark text.

    Args:
        rng: Source of randomness.
        grey: (H, W) in [0, 1], modified in place.
        free_side: "left" or "right", the side on which the label is drawn.
    """
    height, width = grey.shape
    label_height, label_width = round(rng.uniform(0.05, 0.08) * height), round(rng.uniform(0.12, 0.2) * width)
    label = np.full((label_height, label_width), 242, np.uint8)
    text = f"{'DDSM'[: int(rng.integers(2, 5))]} {int(rng.integers(1000, 9999))}"
    origin = (label_width // 12, round(0.65 * label_height))
    line_width = max(label_height // 25, 1)
    cv2.putText(label, text, origin, cv2.FONT_HERSHEY_SIMPLEX, label_width / 190, 64, line_width)
    rotated = ndimage.rotate(label.astype(np.float32) / 255, rng.uniform(-6, 6), order=1, cval=0)
    label_height, label_width = rotated.shape
    margin = round(0.03 * width)
    left = width - label_width - margin if free_side == "right" else margin
    corner = grey[round(0.02 * height) :, left:][:label_height, :label_width]
    np.maximum(corner, rotated[: corner.shape[0], : corner.shape[1]], out=corner)


def add_tape(rng: np.random.Generator, grey: NDArray[np.float32], free_side: str) -> None:
    """Draw a horizontal strip of tape near the bottom.

    Args:
        rng: Source of randomness.
        grey: (H, W) in [0, 1], modified in place.
        free_side: "left" or "right", the edge at which the strip starts.
    """
    height, width = grey.shape
    top = round(rng.uniform(0.86, 0.93) * height)
    tape_height, tape_width = round(rng.uniform(0.015, 0.03) * height), round(rng.uniform(0.1, 0.25) * width)
    rows = grey[top : top + tape_height]
    strip = rows[:, width - tape_width :] if free_side == "right" else rows[:, :tape_width]
    np.maximum(strip, np.float32(rng.uniform(0.35, 0.6)), out=strip)


def add_frame(rng: np.random.Generator, grey: NDArray[np.float32], borders: tuple[int, int, int, int]) -> None:
    """Draw slanted white borders on some sides, as in scans where the film does not cover the whole illuminated area.

    Args:
        rng: Source of randomness.
        grey: (H, W) in [0, 1], modified in place.
        borders: Width of the border at the top, bottom, left and right, in pixels.
    """
    top, bottom, left, right = borders
    for k, border in ((0, left), (1, bottom), (2, right), (3, top)):
        if rng.random() < 0.3:
            continue
        lines = np.rot90(grey, -k)  # a view whose left edge is the side to draw on
        first, last = rng.uniform(0.3, 1.3, 2)
        width = border * np.linspace(first, last, lines.shape[0])
        lines[np.arange(lines.shape[1])[None, :] < width[:, None]] = 1.0
