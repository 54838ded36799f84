"""A drawn mammogram -> a scan of a film of it: fog, labels, tape, dust, a white frame and the scanner's dark border."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mammoseg.phantom.anatomy import TOP, Phantom

WHITE = 65535
FOG = 0.03  # of the range: unexposed film is not quite black
GRAIN = 0.006  # of the range
DUST = 12  # specks on a film


@dataclass(frozen=True)
class Film:
    """pixels (H, W) uint16 over its whole range; outlines (N, 2) of (x, y); what of it is the breast (H, W)."""

    pixels: NDArray[np.uint16]
    outlines: tuple[NDArray[np.float64], ...]
    breast: NDArray[np.bool_]


def scan(rng: np.random.Generator, phantom: Phantom, side: str) -> Film:
    """The scan is larger than the film by its borders, a few per cent on each side."""
    height, width = phantom.pixels.shape
    grey = phantom.pixels.astype(np.float32) / TOP
    slope = rng.uniform(0, 0.02) * np.linspace(0, 1, height, dtype=np.float32)[:, None]
    grey = np.maximum(FOG + slope, FOG + (1 - FOG) * 0.93 * grey)
    away = "right" if side == "L" else "left"  # of the chest wall
    label(rng, grey, away)
    if rng.random() < 0.4:
        tape(rng, grey, away)
    for _ in range(int(rng.integers(DUST))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(grey, centre, max(height // 600, 1), float(rng.uniform(0.3, 1)), -1)
    grey += rng.standard_normal(grey.shape, np.float32) * GRAIN
    top, bottom, left, right = (int(part * height) for part in rng.uniform(0.004, 0.03, 4))
    whole = np.pad(grey, ((top, bottom), (left, right)), constant_values=0.01)
    frame(rng, whole, (top, bottom, left, right))
    pixels = np.clip(np.rint(whole * WHITE), 0, WHITE).astype(np.uint16)
    outlines = tuple(outline + np.array([left, top]) for outline in phantom.outlines)
    return Film(pixels, outlines, np.pad(phantom.breast, ((top, bottom), (left, right))))


def label(rng: np.random.Generator, grey: NDArray[np.float32], away: str) -> None:
    """A bright name plate with dark letters in an upper corner, not quite straight."""
    height, width = grey.shape
    tall, wide = round(rng.uniform(0.05, 0.08) * height), round(rng.uniform(0.12, 0.2) * width)
    plate = np.full((tall, wide), 242, np.uint8)
    text = f"{'DDSM'[: int(rng.integers(2, 5))]} {int(rng.integers(1000, 9999))}"
    cv2.putText(
        plate, text, (wide // 12, round(0.65 * tall)), cv2.FONT_HERSHEY_SIMPLEX, wide / 190, 64, max(tall // 25, 1)
    )
    turned = ndimage.rotate(plate.astype(np.float32) / 255, rng.uniform(-6, 6), order=1, cval=0)
    tall, wide = turned.shape
    across = round(0.03 * width)
    left = width - wide - across if away == "right" else across
    corner = grey[round(0.02 * height) :, left:][:tall, :wide]
    np.maximum(corner, turned[: corner.shape[0], : corner.shape[1]], out=corner)


def tape(rng: np.random.Generator, grey: NDArray[np.float32], away: str) -> None:
    """A grey strip that runs in from the edge, low on the side of the label."""
    height, width = grey.shape
    top = round(rng.uniform(0.86, 0.93) * height)
    thick, reach = round(rng.uniform(0.015, 0.03) * height), round(rng.uniform(0.1, 0.25) * width)
    strip = grey[top : top + thick, width - reach :] if away == "right" else grey[top : top + thick, :reach]
    np.maximum(strip, np.float32(rng.uniform(0.35, 0.6)), out=strip)


def frame(rng: np.random.Generator, whole: NDArray[np.float32], borders: tuple[int, int, int, int]) -> None:
    """White where light went past the film: slanted edges of any thickness on some sides."""
    top, bottom, left, right = borders
    for turns, border in ((0, left), (1, bottom), (2, right), (3, top)):
        if rng.random() < 0.3:
            continue
        lines = np.rot90(whole, -turns)  # a view: its left edge is the side meant
        first, last = rng.uniform(0.3, 1.3, 2)
        thick = border * np.linspace(first, last, lines.shape[0])
        lines[np.arange(lines.shape[1])[None, :] < thick[:, None]] = 1.0
