"""Masses of synthetic mammograms: outlines, contrast and spicules."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mammoseg.phantom.appearance import Appearance
from mammoseg.phantom.pixel_grid import Field, PixelGrid

MASS_SHAPES = ("round", "lobulated", "spiculated")
BLUR_MM = 20.0  # range of the Gaussian filters of a mass, of 1 and 4 mm, truncated at 4 standard deviations


def add_masses(
    rng: np.random.Generator,
    grid: PixelGrid,
    tissue: Field,
    masses: int,
    skin_distance_mm: Field,
    muscle: Field,
    density: int,
    appearance: Appearance,
) -> tuple[Field, tuple[NDArray[np.float64], ...]]:
    """Add masses to the tissue.

    Args:
        rng: Source of randomness.
        grid: Pixel grid of the image.
        tissue: (H, W) grey values.
        masses: Number of masses.
        skin_distance_mm: (H, W) distance to the skin in mm.
        muscle: (H, W) fraction of pectoral muscle, in [0, 1].
        density: ACR category, 1 to 4, which determines the contrast.
        appearance: Size and contrast of masses.

    Returns:
        Grey values (H, W) with the masses, and their outlines, each (N, 2) in pixels.
    """
    outlines: list[NDArray[np.float64]] = []
    for _ in range(masses):
        outline, contrast = draw_mass(rng, grid, skin_distance_mm, muscle, density, outlines, appearance)
        outlines.append(outline)
        tissue = tissue + contrast
    return tissue, tuple(outlines)


def draw_mass(
    rng: np.random.Generator,
    grid: PixelGrid,
    skin_distance_mm: Field,
    muscle: Field,
    density: int,
    previous_outlines: list[NDArray[np.float64]],
    appearance: Appearance,
) -> tuple[NDArray[np.float64], Field]:
    """Draw a mass.

    Args:
        rng: Source of randomness.
        grid: Pixel grid of the image.
        skin_distance_mm: (H, W) distance to the skin in mm.
        muscle: (H, W) fraction of pectoral muscle, in [0, 1].
        density: ACR category, 1 to 4, which determines the contrast.
        previous_outlines: Outlines of the masses to keep a distance from, each (N, 2) in pixels.
        appearance: Size and contrast of masses.

    Returns:
        The outline (N, 2) in pixels, and the grey values (H, W) to add to the tissue.
    """
    size = rng.lognormal(np.log(appearance.mass_radius_mm), appearance.mass_radius_sigma)
    radius = float(np.clip(size, *appearance.mass_radius_range_mm))
    row, column = rng.choice(allowed_positions(grid, skin_distance_mm, muscle, radius, previous_outlines))
    shape = MASS_SHAPES[rng.integers(len(MASS_SHAPES))]
    points = draw_mass_outline(rng, shape, radius) / grid.mm + [column, row]
    points = np.clip(points, 0, [grid.shape[1] - 1, grid.shape[0] - 1])
    window = grid.window(row, column, 2 * radius + BLUR_MM)  # zero outside; blurring the whole image would take long
    canvas = np.zeros(grid.shape, np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * 16).astype(np.int32)], 255, shift=4)
    blurred = ndimage.gaussian_filter(canvas[window].astype(np.float32) / 255, 1.0 / grid.mm)
    core = 0.85 + 0.15 * ndimage.gaussian_filter(blurred, 4 / grid.mm)
    contrast = np.zeros(grid.shape, np.float32)
    contrast[window] = appearance.mass_contrast[density] * rng.uniform(0.85, 1.15) * blurred * core
    if shape == "spiculated":
        spicules = ndimage.gaussian_filter(draw_spicules(rng, grid, (column, row), radius)[window], 0.35 / grid.mm)
        contrast[window] += 0.5 * appearance.mass_contrast[density] * spicules * (1 - blurred)
    return points, contrast


def allowed_positions(
    grid: PixelGrid,
    skin_distance_mm: Field,
    muscle: Field,
    radius: float,
    previous_outlines: list[NDArray[np.float64]],
) -> NDArray[np.int64]:
    """Find the pixels at which the centre of a mass may be.

    Args:
        grid: Pixel grid of the image.
        skin_distance_mm: (H, W) distance to the skin in mm.
        muscle: (H, W) fraction of pectoral muscle, in [0, 1].
        radius: Radius of the mass in mm.
        previous_outlines: Outlines of the masses to keep a distance from, each (N, 2) in pixels.

    Returns:
        (row, column) of each pixel, (N, 2), N >= 1.
    """
    allowed = (skin_distance_mm > radius * 0.9 + 3) & (muscle < 0.2)
    for outline in previous_outlines:
        distance = np.hypot(grid.x - outline[:, 0].mean() * grid.mm, grid.y - outline[:, 1].mean() * grid.mm)
        allowed &= distance > 2 * radius + 15
    if not allowed.any():  # a large mass in a small breast: use the positions farthest from the skin
        allowed = skin_distance_mm >= skin_distance_mm.max() * 0.95
    return np.argwhere(allowed)


def draw_mass_outline(rng: np.random.Generator, shape: str, radius: float) -> NDArray[np.float64]:
    """Draw the outline of a mass.

    Args:
        rng: Source of randomness.
        shape: One of `MASS_SHAPES`.
        radius: Radius in mm.

    Returns:
        Outline (96, 2) of (x, y) in mm, relative to the centre of the mass.
    """
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    harmonics, strength = {
        "round": ((2, 3), 0.04),
        "lobulated": ((2, 3, 4, 5), 0.09),
        "spiculated": ((3, 5, 7, 9), 0.035),
    }[shape]
    modulation = sum(rng.normal(0, strength) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in harmonics)
    distance = radius * np.clip(1 + modulation, 0.6, 1.5)
    elongation = rng.uniform(0.8, 1.25)
    return np.column_stack([distance * np.cos(angle) * elongation, distance * np.sin(angle) / elongation])


def draw_spicules(rng: np.random.Generator, grid: PixelGrid, centre: tuple[int, int], radius: float) -> Field:
    """Draw the spicules of a mass (H, W): thin radial lines of value 1, which are not part of its outline.

    Args:
        rng: Source of randomness.
        grid: Pixel grid of the image.
        centre: (x, y) of the mass in pixels.
        radius: Radius of the mass in mm.
    """
    canvas = np.zeros(grid.shape, np.float32)
    for angle in rng.uniform(0, 2 * np.pi, rng.integers(10, 18)):
        length = radius * rng.uniform(1.3, 1.9) / grid.mm
        end = (round(centre[0] + length * np.cos(angle)), round(centre[1] + length * np.sin(angle)))
        cv2.line(canvas, (int(centre[0]), int(centre[1])), end, 1.0, max(round(0.7 / grid.mm), 1))
    return canvas
