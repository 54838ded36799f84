"""Synthetic mammograms in the layout of dataset=folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.phantom.anatomy import draw_phantom

HEADINGS = ("case", "image", "mask", "patient", "density", "side", "view", "split")


def write_phantom_folder(root: Path, parts: Sequence[str], height: int = 128, seed: int = 1) -> None:
    """Write a dataset with two images of each patient.

    Args:
        root: Folder to create.
        parts: Part in the official split of each patient, or empty.
        height: Height of the images in pixels.
        seed: Seed of the images.
    """
    root.mkdir(parents=True)
    rows = []
    for patient, part in enumerate(parts):
        for view in ("CC", "MLO"):
            rng = np.random.default_rng([seed, patient, len(view)])
            density = 1 + patient % 4
            phantom = draw_phantom(rng, density=density, view=view, side="L", height=height, width=height * 3 // 4)
            mask = np.zeros(phantom.pixels.shape, np.uint8)
            cv2.fillPoly(mask, [np.rint(outline).astype(np.int32) for outline in phantom.outlines], (255,))
            case = f"{patient}-{view}"
            cv2.imwrite(str(root / f"{case}.png"), phantom.pixels)
            cv2.imwrite(str(root / f"{case}-mask.png"), mask)
            rows.append((case, f"{case}.png", f"{case}-mask.png", f"P{patient}", density, "L", view, part))
    with (root / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADINGS, *rows])


def add_image(root: Path, case: str, patient: str, pixels: NDArray[np.uint16]) -> None:
    """Add an image (H, W) with a mass of 9 x 9 pixels in its brightest region to a dataset."""
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.blur(pixels, (9, 9)))
    mask = np.zeros(pixels.shape, np.uint8)
    mask[y - 4 : y + 5, x - 4 : x + 5] = 255
    cv2.imwrite(str(root / f"{case}.png"), pixels)
    cv2.imwrite(str(root / f"{case}-mask.png"), mask)
    with (root / "cases.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow((case, f"{case}.png", f"{case}-mask.png", patient, 2, "L", "CC", "test"))
