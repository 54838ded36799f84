"""Breast segmentation on scans of real films: masses inside the crop, their size, and contact sheets for inspection.

python benchmarks/films.py FOLDER [--output outputs/films]

FOLDER contains the scans and boxes.csv with the bounding boxes of the masses (columns file, x, y, width, height, in
pixels). There is no reference segmentation; the contact sheets show each film before and after.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.box import Box, breast_bounding_box
from mammoseg.data.preprocessing.breast import FRAME_MIN_INTENSITY, segment_breast

MARGIN = 0.02  # width of the border in which frames are expected, as a fraction of the side
TILE_SIDE, N_COLUMNS, N_ROWS = 200, 5, 6
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class FilmResult:
    """Result for one film.

    Attributes:
        n_masses: Number of masses.
        n_contained: Number of masses inside the crop box.
        uncropped: Whether the crop box is the full film.
        breast_fraction: Breast area as a fraction of the film.
        mass_fractions: Area of the boxes of the masses as a fraction of the network input, by (crop, aspect).
        white_before: Bright pixels near the edges of the film.
        white_after: Those of them that are segmented as breast.
        tile: The film before and after, side by side.
    """

    n_masses: int
    n_contained: int
    uncropped: bool
    breast_fraction: float
    mass_fractions: dict[tuple[str, str], float]
    white_before: int
    white_after: int
    tile: Image


def read_boxes(folder: Path) -> dict[str, list[Box]]:
    """Read boxes.csv; returns the bounding boxes of the masses by file name."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
            box = Box(int(y), int(np.ceil(y + height)), int(x), int(np.ceil(x + width)))
            boxes[row["file"]].append(box)
    return dict(boxes)


def bright_border_pixels(pixels: Image) -> NDArray[np.bool_]:
    """Return the bright pixels near the edges of the film: frames and the ends of labels."""
    height, width = pixels.shape
    inner = np.zeros(pixels.shape, bool)
    inner[round(MARGIN * height) : -round(MARGIN * height), round(MARGIN * width) : -round(MARGIN * width)] = True
    return (pixels >= FRAME_MIN_INTENSITY * 255) & ~inner


def draw_tile(pixels: Image, breast: NDArray[np.bool_], crop: Box, masses: Sequence[Box], name: str) -> Image:
    """Draw a film next to its segmentation: background in blue, masses in green, crop box in yellow."""
    before = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    after = before.copy()
    after[~breast] = after[~breast] // 4 + np.array([90, 0, 0], np.uint8)
    for box, colour in [*((mass, (0, 255, 0)) for mass in masses), (crop, (0, 220, 255))]:
        cv2.rectangle(after, (box.left, box.top), (box.right - 1, box.bottom - 1), colour, 4)
    resized = [cv2.resize(image, (TILE_SIDE, TILE_SIDE), interpolation=cv2.INTER_AREA) for image in (before, after)]
    tile = np.hstack(resized)
    cv2.putText(tile, name, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 200, 255), 1)
    return np.asarray(tile, np.uint8)


def evaluate_film(path: Path, masses: Sequence[Box]) -> FilmResult:
    """Segment the breast on a film and compare the crop box with the boxes of the masses."""
    pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
    breast = segment_breast(pixels)
    crop = breast_bounding_box(breast, *pixels.shape)
    bright = bright_border_pixels(pixels)
    return FilmResult(
        n_masses=len(masses),
        n_contained=sum(crop.contains(mass) for mass in masses),
        uncropped=(crop.top, crop.left, crop.bottom, crop.right) == (0, 0, *pixels.shape),
        breast_fraction=float(breast.mean()),
        mass_fractions=mass_fractions(pixels.shape, crop, masses),
        white_before=int(bright.sum()),
        white_after=int((bright & breast).sum()),
        tile=draw_tile(pixels, breast, crop, masses, path.name),
    )


def mass_fractions(shape: tuple[int, ...], crop: Box, masses: Sequence[Box]) -> dict[tuple[str, str], float]:
    """Return the area of the boxes as a fraction of the network input, by (dataset.crop, dataset.aspect)."""
    area = sum((mass.bottom - mass.top) * (mass.right - mass.left) for mass in masses)
    fractions = {}
    for name, box in (("breast", crop), ("film", Box(0, shape[0], 0, shape[1]))):
        height, width = box.bottom - box.top, box.right - box.left
        fractions[name, "stretch"] = area / (height * width)
        fractions[name, "pad"] = area / max(height, width) ** 2
    return fractions


def write_contact_sheets(tiles: Sequence[Image], output: Path, name: str = "films") -> None:
    """Write NAME_1.png and so on, with N_COLUMNS x N_ROWS tiles each."""
    output.mkdir(parents=True, exist_ok=True)
    per_sheet = N_COLUMNS * N_ROWS
    for start in range(0, len(tiles), per_sheet):
        sheet = list(tiles[start : start + per_sheet])
        sheet += [np.zeros_like(tiles[0])] * (-len(sheet) % N_COLUMNS)
        rows = [np.hstack(sheet[column : column + N_COLUMNS]) for column in range(0, len(sheet), N_COLUMNS)]
        cv2.imwrite(str(output / f"{name}_{start // per_sheet + 1}.png"), np.vstack(rows))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("outputs/films"), help="folder of the contact sheets")
    args = parser.parse_args()
    films = [evaluate_film(args.folder / file, masses) for file, masses in sorted(read_boxes(args.folder).items())]
    write_contact_sheets([film.tile for film in films], args.output)
    n_masses, n_contained = sum(film.n_masses for film in films), sum(film.n_contained for film in films)
    white_fraction = sum(film.white_after for film in films) / sum(film.white_before for film in films)
    print("| quantity | value |\n|---|---|")
    print(f"| masses completely inside the crop | {n_contained} of {n_masses} |")
    print(f"| films that are not cropped | {sum(film.uncropped for film in films)} of {len(films)} |")
    breast_fraction = np.mean([film.breast_fraction for film in films])
    print(f"| mean breast area, fraction of the film | {100 * breast_fraction:.1f} % |")
    print(
        f"| bright pixels within {100 * MARGIN:.0f} % of the edges that are segmented as breast "
        f"| {100 * white_fraction:.1f} % |"
    )
    for crop, aspect in films[0].mass_fractions:
        mean = np.mean([film.mass_fractions[crop, aspect] for film in films])
        print(
            f"| boxes of the masses, fraction of the input, dataset.crop={crop} aspect={aspect} | {100 * mean:.3f} % |"
        )
    print(f"\nContact sheets: {args.output}/films_1.png and following")


if __name__ == "__main__":
    main()
