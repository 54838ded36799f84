"""Synthetic mammograms: anatomy and image formation, seeded, with lengths in millimetres.

A left breast is drawn with its chest wall at the left edge; right breasts are mirrored. The simplified model contains
the structures that are relevant for segmentation: outline, pectoral muscle, skin, parenchyma with the power-law
spectrum of real breasts, glandular tissue by ACR category, and masses, whose contrast is lower in dense breasts.

Source:
    Power law: Burgess et al., Medical Physics 28(4), 2001.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mammoseg.phantom.appearance import get_appearance
from mammoseg.phantom.masses import add_masses
from mammoseg.phantom.pixel_grid import Field, PixelGrid

HEIGHT_MM = 233.0  # the small detector of INbreast: 3328 x 2560 pixels of 0.07 mm
POWER_LAW_EXPONENT = 3.0  # of the power spectrum of parenchyma, P ~ 1/f^3
# Grey values; 0 is air, 1 is the saturation level of the detector.
FAT_LEVEL, GLAND_LEVEL, MUSCLE_LEVEL = 0.34, 0.66, 0.70
MAX_VALUE = 4095  # of 12 bits


@dataclass(frozen=True)
class Phantom:
    """A synthetic mammogram.

    Attributes:
        pixels: (H, W) uint16 in 0..4095.
        outlines: Outlines of the masses, each (N, 2) of (x, y) in pixels.
        breast: (H, W) breast mask.
        glandular_fraction: Fraction of the breast that is glandular tissue.
    """

    pixels: NDArray[np.uint16]
    outlines: tuple[NDArray[np.float64], ...]
    breast: NDArray[np.bool_]
    glandular_fraction: float


def draw_phantom(
    rng: np.random.Generator,
    *,
    density: int,
    view: str,
    side: str,
    height: int,
    width: int,
    masses: int = 1,
    appearance: str = "realistic",
) -> Phantom:
    """Draw a mammogram.

    Args:
        rng: Source of randomness.
        density: ACR category, 1 to 4.
        view: View position, CC or MLO.
        side: Laterality, L or R.
        height: Height of the image in pixels; the pixel spacing is `HEIGHT_MM` / height.
        width: Width of the image in pixels.
        masses: Number of masses.
        appearance: Density of the breast, and size and contrast of masses: "realistic" or "simple".

    Raises:
        UserError: If the appearance is unknown.

    Example:
        >>> draw_phantom(np.random.default_rng(0), density=2, view="CC", side="L", height=128, width=96).pixels.shape
        (128, 96)
    """
    grid, parameters = PixelGrid((height, width), HEIGHT_MM / height), get_appearance(appearance)
    breast, skin_distance_mm, nipple = draw_breast(rng, grid, view)
    tissue, glandular_fraction = draw_parenchyma(rng, grid, breast, nipple, parameters.glandular_fraction[density])
    muscle = draw_pectoral_muscle(rng, grid) if view == "MLO" else np.zeros(grid.shape, np.float32)
    tissue = tissue * (1 - muscle) + (MUSCLE_LEVEL + 0.3 * (tissue - tissue.mean())) * muscle
    tissue, outlines = add_masses(rng, grid, tissue, masses, skin_distance_mm, muscle, density, parameters)
    pixels = quantise(rng, simulate_exposure(tissue, skin_distance_mm) * breast)
    phantom = Phantom(pixels, outlines, breast, glandular_fraction)
    phantom = mirror(phantom) if side == "R" else phantom
    return replace(phantom, pixels=add_view_marker(phantom.pixels, f"{side} {view}", side))


def mirror(phantom: Phantom) -> Phantom:
    """Return the mirror image of a phantom, with the chest wall at the other side."""
    width = phantom.pixels.shape[1]
    return Phantom(
        np.ascontiguousarray(phantom.pixels[:, ::-1]),
        tuple(np.column_stack([width - 1 - outline[:, 0], outline[:, 1]]) for outline in phantom.outlines),
        np.ascontiguousarray(phantom.breast[:, ::-1]),
        phantom.glandular_fraction,
    )


def draw_breast(
    rng: np.random.Generator, grid: PixelGrid, view: str
) -> tuple[NDArray[np.bool_], Field, tuple[float, float]]:
    """Draw the shape of the breast.

    Args:
        rng: Source of randomness.
        grid: Pixel grid of the image.
        view: View position, CC or MLO.

    Returns:
        The breast mask (H, W), the distance to the skin (H, W) in mm, and the nipple (x, y) in mm.
    """
    nipple, breast_width_mm = draw_breast_profile(rng, grid, view)
    breast = grid.x < breast_width_mm[:, None]
    skin_distance_mm = ndimage.distance_transform_edt(np.pad(breast, ((0, 0), (1, 0)), mode="edge"))[:, 1:] * grid.mm
    return breast, skin_distance_mm, nipple


def draw_breast_profile(rng: np.random.Generator, grid: PixelGrid, view: str) -> tuple[tuple[float, float], Field]:
    """Draw the outline of the breast.

    Args:
        rng: Source of randomness.
        grid: Pixel grid of the image.
        view: View position, CC or MLO.

    Returns:
        The nipple (x, y), and the distance of the skin from the chest wall in each row (H,), in mm.
    """
    height = grid.shape[0] * grid.mm
    depth = rng.uniform(75, 125)
    if view == "CC":
        middle = height * rng.uniform(0.45, 0.55)
        above = below = rng.uniform(0.30, 0.42) * height
        power_above = power_below = rng.uniform(1.9, 2.4)
    else:  # MLO: round below the nipple, extending into the axilla above it
        middle = height * rng.uniform(0.55, 0.66)
        above, below = middle * rng.uniform(1.15, 1.45), rng.uniform(0.24, 0.31) * height
        power_above, power_below = rng.uniform(1.5, 1.9), rng.uniform(2.0, 2.6)
    rows = grid.y[:, 0]
    up, down = np.clip((middle - rows) / above, 0, 1), np.clip((rows - middle) / below, 0, 1)
    shape = np.where(
        rows < middle, (1 - up**power_above) ** (1 / power_above), (1 - down**power_below) ** (1 / power_below)
    )
    noise = ndimage.gaussian_filter1d(rng.normal(size=len(rows)), 15 / grid.mm)
    noise *= 0.015 / max(noise.std(), 1e-9)
    nipple_bump = rng.uniform(3, 7) * np.exp(-(((rows - middle) / 4.0) ** 2))
    return (depth, middle), (depth * shape * (1 + noise) + nipple_bump * (shape > 0)).astype(np.float32)


def power_law(rng: np.random.Generator, shape: tuple[int, int], exponent: float = POWER_LAW_EXPONENT) -> Field:
    """Draw a random field with zero mean and unit standard deviation, and a power spectrum ~ 1/f^exponent.

    Args:
        rng: Source of randomness.
        shape: (H, W).
        exponent: Exponent of the power spectrum.

    Returns:
        (H, W).

    Example:
        >>> field = power_law(np.random.default_rng(0), (64, 32))
        >>> field.shape, bool(abs(field.mean()) < 1e-4), round(float(field.std()), 3)
        ((64, 32), True, 1.0)
    """
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    frequency[0, 0] = np.inf  # zero mean
    spectrum = np.fft.rfft2(rng.standard_normal(shape, np.float32)) * frequency ** (-exponent / 2)
    field = np.fft.irfft2(spectrum, s=shape)
    return np.asarray(field / field.std(), np.float32)


def draw_parenchyma(
    rng: np.random.Generator,
    grid: PixelGrid,
    breast: NDArray[np.bool_],
    nipple: tuple[float, float],
    fraction_range: tuple[float, float],
) -> tuple[Field, float]:
    """Draw fat and glandular tissue.

    Args:
        rng: Source of randomness.
        grid: Pixel grid of the image.
        breast: (H, W) breast mask.
        nipple: (x, y) in mm.
        fraction_range: Smallest and largest glandular fraction of the breast.

    Returns:
        Grey values (H, W), and the glandular fraction of the breast.
    """
    depth, middle = nipple
    fraction = rng.uniform(*fraction_range)
    # Glandular tissue is concentrated in a cone behind the nipple and surrounded by fat.
    cone = np.exp(-(((grid.x - 0.55 * depth) / (0.55 * depth)) ** 2) - ((grid.y - middle) / (0.55 * depth)) ** 2)
    score = 0.5 * power_law(rng, grid.shape, exponent=3.6) + 0.1 * power_law(rng, grid.shape) + 2.2 * cone
    threshold = np.quantile(score[breast], 1 - fraction)
    gland = 1 / (1 + np.exp(-(score - threshold) / 0.16))
    texture = 0.055 * power_law(rng, grid.shape) + draw_ligaments(rng, grid, nipple)
    grey = FAT_LEVEL + (GLAND_LEVEL - FAT_LEVEL) * gland + texture * (0.7 + 0.6 * gland)
    return grey.astype(np.float32), fraction


def draw_ligaments(rng: np.random.Generator, grid: PixelGrid, nipple: tuple[float, float]) -> Field:
    """Draw Cooper's ligaments: bright strands towards the nipple, from noise that is smooth along the radius.

    Args:
        rng: Source of randomness.
        grid: Pixel grid of the image.
        nipple: (x, y) in mm.

    Returns:
        Grey values (H, W) to add to the tissue.
    """
    angle = np.arctan2(grid.y - nipple[1], grid.x - nipple[0] - 8)
    distance = np.hypot(grid.y - nipple[1], grid.x - nipple[0] - 8)
    strands = ndimage.gaussian_filter(rng.standard_normal((24, 720), np.float32), (2.0, 1.2), mode="wrap")
    strands = np.clip(strands / strands.std() - 0.8, 0, None)
    polar = [distance / 10 % 24, (angle + np.pi) / (2 * np.pi) * 720 % 720]
    field: Field = 0.035 * ndimage.map_coordinates(strands, polar, order=1, mode="grid-wrap").astype(np.float32)
    return field


def draw_pectoral_muscle(rng: np.random.Generator, grid: PixelGrid) -> Field:
    """Draw the pectoral muscle: a triangle with a convex edge, in the upper corner at the chest wall.

    Args:
        rng: Source of randomness.
        grid: Pixel grid of the image.

    Returns:
        Fraction of muscle (H, W), in [0, 1].
    """
    width, height = rng.uniform(45, 70), rng.uniform(105, 150)
    bow = 6 * np.sin(np.pi * np.clip(grid.y / height, 0, 1))
    border = width * (1 - grid.y / height) + bow
    return np.asarray(1 / (1 + np.exp(np.clip((grid.x - border) / 1.2, -50, 50))), np.float32)


def simulate_exposure(tissue: Field, skin_distance_mm: Field) -> Field:
    """Simulate the exposure of the compressed breast.

    Args:
        tissue: (H, W) grey values.
        skin_distance_mm: (H, W) distance to the skin in mm. The breast has constant thickness except for a rounded
            margin of 14 mm; the skin is about 1.5 mm thick.

    Returns:
        (H, W) grey values.
    """
    depth = np.clip(skin_distance_mm / 14, 0, 1)
    thickness = np.sqrt(1 - (1 - depth) ** 2)
    skin = 0.10 * np.exp(-(((skin_distance_mm - 0.9) / 0.8) ** 2))
    # In images for presentation, the thickness is only partly equalised towards the skin.
    return np.asarray(tissue * (0.30 + 0.70 * thickness) + skin)


def quantise(rng: np.random.Generator, image: Field) -> NDArray[np.uint16]:
    """Add photon noise and quantise to 12 bits.

    Args:
        rng: Source of randomness.
        image: (H, W) grey values; air is 0.

    Returns:
        (H, W) in 0..4095; air remains close to 0.
    """
    values = image * 0.92 * MAX_VALUE
    values += rng.standard_normal(values.shape, np.float32) * (0.45 * np.sqrt(np.clip(values, 0, None)) + 1)
    return np.asarray(np.clip(np.rint(values), 0, MAX_VALUE), np.uint16)


def add_view_marker(pixels: NDArray[np.uint16], text: str, side: str) -> NDArray[np.uint16]:
    """Draw the view marker `text` in the upper corner opposite the chest wall.

    Args:
        pixels: (H, W) in 0..4095.
        text: Laterality and view position.
        side: Laterality, L or R.

    Returns:
        A copy of the image with the marker.
    """
    height, width = pixels.shape
    scale, line_width = height / 832, max(round(height / 416), 1)
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, line_width)
    left = width - text_width - round(0.04 * width) if side == "L" else round(0.04 * width)
    origin = (left, round(0.03 * height) + text_height)
    canvas = np.zeros(pixels.shape, np.uint8)
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 255, line_width, cv2.LINE_AA)
    return np.maximum(pixels, (canvas.astype(np.float32) / 255 * MAX_VALUE * 0.9).astype(np.uint16))
