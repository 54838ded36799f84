"""Draws mammograms: pure, seeded, in millimetres.

A left breast is drawn, its chest wall at the left edge, and mirrored for a right one. What is drawn is a caricature
that keeps what matters to a segmenter: outline, pectoral muscle, skin, parenchyma with the power law of real breasts
(Burgess et al., Med. Phys. 28(4), 2001), glandular tissue by ACR category, and masses that dense tissue hides.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]

HEIGHT_MM = 233.0  # the small detector of INbreast: 3328 x 2560 pixels of 0.07 mm
EXPONENT = 3.0  # of the power spectrum of parenchyma, P ~ 1/f^3
# Share of fibroglandular tissue in the breast, by ACR category: the middle of each quarter, less at the ends.
GLANDULAR = {1: (0.08, 0.20), 2: (0.27, 0.45), 3: (0.53, 0.70), 4: (0.78, 0.90)}
FAT, GLAND, MUSCLE = 0.34, 0.66, 0.70  # grey values between air (0) and the detector's limit (1)
# How much brighter than fat or gland a mass is, by ACR category: dense breasts hide it.
CONTRAST = {1: 0.30, 2: 0.27, 3: 0.22, 4: 0.18}
SHAPES = ("round", "lobulated", "spiculated")
TOP = 4095  # 12 bits


@dataclass(frozen=True)
class Phantom:
    """pixels (H, W) uint16 in 0..4095; outlines of the masses, each (N, 2) of (x, y) in pixels; breast (H, W)."""

    pixels: NDArray[np.uint16]
    outlines: tuple[NDArray[np.float64], ...]
    breast: NDArray[np.bool_]
    gland_share: float


@dataclass(frozen=True)
class Frame:
    """The image's grid: `mm` per pixel, and the coordinates x (1, W), y (H, 1) of pixel centres in millimetres."""

    shape: tuple[int, int]
    mm: float

    @property
    def x(self) -> Field:
        return (np.arange(self.shape[1], dtype=np.float32) * self.mm)[None, :]

    @property
    def y(self) -> Field:
        return (np.arange(self.shape[0], dtype=np.float32) * self.mm)[:, None]


def draw(
    rng: np.random.Generator, *, density: int, view: str, side: str, height: int, width: int, masses: int = 1
) -> Phantom:
    """One mammogram. `density`: ACR 1-4; `view`: CC or MLO; `side`: L or R; `height`, `width` in pixels."""
    frame = Frame((height, width), HEIGHT_MM / height)
    nipple, edge = profile(rng, frame, view)
    breast = frame.x < edge[:, None]
    inside_mm = ndimage.distance_transform_edt(np.pad(breast, ((0, 0), (1, 0)), mode="edge"))[:, 1:] * frame.mm
    tissue, gland_share = parenchyma(rng, frame, breast, nipple, density)
    muscle = pectoral(rng, frame) if view == "MLO" else np.zeros(frame.shape, np.float32)
    tissue = tissue * (1 - muscle) + (MUSCLE + 0.3 * (tissue - tissue.mean())) * muscle
    outlines: list[NDArray[np.float64]] = []
    for _ in range(masses):
        outline, added = mass(rng, frame, inside_mm, muscle, density, outlines)
        outlines.append(outline)
        tissue = tissue + added
    image = expose(tissue, inside_mm)
    pixels = digitise(rng, image * breast)
    if side == "R":
        pixels, breast = pixels[:, ::-1], breast[:, ::-1]
        outlines = [np.column_stack([width - 1 - outline[:, 0], outline[:, 1]]) for outline in outlines]
    pixels = marker(np.ascontiguousarray(pixels), f"{side} {view}", side)
    return Phantom(pixels, tuple(outlines), np.ascontiguousarray(breast), gland_share)


def profile(rng: np.random.Generator, frame: Frame, view: str) -> tuple[tuple[float, float], Field]:
    """The nipple (x, y) and the breast's extent from the chest wall by row, in mm."""
    height = frame.shape[0] * frame.mm
    depth = rng.uniform(75, 125)
    if view == "CC":
        middle = height * rng.uniform(0.45, 0.55)
        above = below = rng.uniform(0.30, 0.42) * height
        power_above = power_below = rng.uniform(1.9, 2.4)
    else:  # it droops: round below the nipple, and runs into the axilla above
        middle = height * rng.uniform(0.55, 0.66)
        above, below = middle * rng.uniform(1.15, 1.45), rng.uniform(0.24, 0.31) * height
        power_above, power_below = rng.uniform(1.5, 1.9), rng.uniform(2.0, 2.6)
    rows = frame.y[:, 0]
    up, down = np.clip((middle - rows) / above, 0, 1), np.clip((rows - middle) / below, 0, 1)
    shape = np.where(
        rows < middle, (1 - up**power_above) ** (1 / power_above), (1 - down**power_below) ** (1 / power_below)
    )
    wobble = ndimage.gaussian_filter1d(rng.normal(size=len(rows)), 15 / frame.mm)
    wobble *= 0.015 / max(wobble.std(), 1e-9)
    bump = rng.uniform(3, 7) * np.exp(-(((rows - middle) / 4.0) ** 2))
    return (depth, middle), (depth * shape * (1 + wobble) + bump * (shape > 0)).astype(np.float32)


def power_law(rng: np.random.Generator, shape: tuple[int, int], exponent: float = EXPONENT) -> Field:
    """A random field of mean 0 and deviation 1 whose power spectrum falls as 1/f^exponent."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    frequency[0, 0] = np.inf  # no mean
    spectrum = np.fft.rfft2(rng.standard_normal(shape, np.float32)) * frequency ** (-exponent / 2)
    field = np.fft.irfft2(spectrum, s=shape)
    return (field / field.std()).astype(np.float32)


def parenchyma(
    rng: np.random.Generator, frame: Frame, breast: NDArray[np.bool_], nipple: tuple[float, float], density: int
) -> tuple[Field, float]:
    """Grey values of fat and gland, and the share of gland in the breast."""
    depth, middle = nipple
    share = rng.uniform(*GLANDULAR[density])
    # Gland gathers in a cone behind the nipple; fat surrounds it.
    cone = np.exp(-(((frame.x - 0.55 * depth) / (0.55 * depth)) ** 2) - ((frame.y - middle) / (0.55 * depth)) ** 2)
    likely = 0.5 * power_law(rng, frame.shape, exponent=3.6) + 0.1 * power_law(rng, frame.shape) + 2.2 * cone
    cut = np.quantile(likely[breast], 1 - share)
    gland = 1 / (1 + np.exp(-(likely - cut) / 0.16))
    texture = 0.055 * power_law(rng, frame.shape) + ligaments(rng, frame, nipple)
    return (FAT + (GLAND - FAT) * gland + texture * (0.7 + 0.6 * gland)).astype(np.float32), share


def ligaments(rng: np.random.Generator, frame: Frame, nipple: tuple[float, float]) -> Field:
    """Fine bright strands that converge on the nipple: noise that is smooth along its rays."""
    angle = np.arctan2(frame.y - nipple[1], frame.x - nipple[0] - 8)
    distance = np.hypot(frame.y - nipple[1], frame.x - nipple[0] - 8)
    strands = ndimage.gaussian_filter(rng.standard_normal((24, 720), np.float32), (2.0, 1.2), mode="wrap")
    strands = np.clip(strands / strands.std() - 0.8, 0, None)
    where = [distance / 10 % 24, (angle + np.pi) / (2 * np.pi) * 720 % 720]
    return 0.035 * ndimage.map_coordinates(strands, where, order=1, mode="grid-wrap").astype(np.float32)


def pectoral(rng: np.random.Generator, frame: Frame) -> Field:
    """The muscle's share (0 to 1) of each pixel: a triangle in the upper corner at the chest wall, slightly bowed."""
    across, down = rng.uniform(45, 70), rng.uniform(105, 150)
    bow = 6 * np.sin(np.pi * np.clip(frame.y / down, 0, 1))
    border = across * (1 - frame.y / down) + bow
    return (1 / (1 + np.exp(np.clip((frame.x - border) / 1.2, -50, 50)))).astype(np.float32)


def mass(
    rng: np.random.Generator,
    frame: Frame,
    inside_mm: Field,
    muscle: Field,
    density: int,
    others: list[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], Field]:
    """An outline (N, 2) in pixels, and what the mass adds to the tissue's grey values."""
    radius = float(np.clip(rng.lognormal(np.log(10.5), 0.35), 5, 19))
    where = (inside_mm > radius * 0.9 + 3) & (muscle < 0.2)
    for outline in others:
        apart = np.hypot(frame.x - outline[:, 0].mean() * frame.mm, frame.y - outline[:, 1].mean() * frame.mm)
        where &= apart > 2 * radius + 15
    if not where.any():  # a small breast with a large mass: as deep inside as there is room
        where = inside_mm >= inside_mm.max() * 0.95
    row, column = rng.choice(np.argwhere(where))
    kind = SHAPES[rng.integers(len(SHAPES))]
    points = contour(rng, kind, radius) / frame.mm + [column, row]
    points = np.clip(points, 0, [frame.shape[1] - 1, frame.shape[0] - 1])
    layer = np.zeros(frame.shape, np.uint8)
    cv2.fillPoly(layer, [np.rint(points * 16).astype(np.int32)], 255, shift=4)
    soft = ndimage.gaussian_filter(layer.astype(np.float32) / 255, 1.0 / frame.mm)
    added = (
        CONTRAST[density] * rng.uniform(0.85, 1.15) * soft * (0.85 + 0.15 * ndimage.gaussian_filter(soft, 4 / frame.mm))
    )
    if kind == "spiculated":
        added += 0.5 * CONTRAST[density] * spicules(rng, frame, (column, row), radius) * (1 - soft)
    return points, added.astype(np.float32)


def contour(rng: np.random.Generator, kind: str, radius: float) -> NDArray[np.float64]:
    """The mass's border around its centre, (96, 2) in mm."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    waves, strength = {"round": ((2, 3), 0.04), "lobulated": ((2, 3, 4, 5), 0.09), "spiculated": ((3, 5, 7, 9), 0.035)}[
        kind
    ]
    bend = sum(rng.normal(0, strength) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi)) for wave in waves)
    distance = radius * np.clip(1 + bend, 0.6, 1.5)
    squeeze = rng.uniform(0.8, 1.25)
    return np.column_stack([distance * np.cos(angle) * squeeze, distance * np.sin(angle) / squeeze])


def spicules(rng: np.random.Generator, frame: Frame, centre: tuple[int, int], radius: float) -> Field:
    """Thin strands that run out from the mass; they are not part of its outline."""
    layer = np.zeros(frame.shape, np.float32)
    for angle in rng.uniform(0, 2 * np.pi, rng.integers(10, 18)):
        reach = radius * rng.uniform(1.3, 1.9) / frame.mm
        end = (round(centre[0] + reach * np.cos(angle)), round(centre[1] + reach * np.sin(angle)))
        cv2.line(layer, (int(centre[0]), int(centre[1])), end, 1.0, max(round(0.7 / frame.mm), 1))
    return ndimage.gaussian_filter(layer, 0.35 / frame.mm)


def expose(tissue: Field, inside_mm: Field) -> Field:
    """Compressed breast of even thickness that rounds off within 14 mm of its edge, under a skin of 1.5 mm."""
    rounded = np.clip(inside_mm / 14, 0, 1)
    thickness = np.sqrt(1 - (1 - rounded) ** 2)
    skin = 0.10 * np.exp(-(((inside_mm - 0.9) / 0.8) ** 2))
    # Presentation images are equalised towards the edge, not wholly.
    return tissue * (0.30 + 0.70 * thickness) + skin


def digitise(rng: np.random.Generator, image: Field) -> NDArray[np.uint16]:
    """12-bit values with the noise of counting photons; air stays nearly 0."""
    values = image * 0.92 * TOP
    values += rng.standard_normal(values.shape, np.float32) * (0.45 * np.sqrt(np.clip(values, 0, None)) + 1)
    return np.clip(np.rint(values), 0, TOP).astype(np.uint16)


def marker(pixels: NDArray[np.uint16], text: str, side: str) -> NDArray[np.uint16]:
    """The view marker, in the upper corner away from the chest wall."""
    height, width = pixels.shape
    scale, thick = height / 832, max(round(height / 416), 1)
    (across, down), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
    left = width - across - round(0.04 * width) if side == "L" else round(0.04 * width)
    ink = np.zeros(pixels.shape, np.uint8)
    cv2.putText(ink, text, (left, round(0.03 * height) + down), cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)
    return np.maximum(pixels, (ink.astype(np.float32) / 255 * TOP * 0.9).astype(np.uint16))
