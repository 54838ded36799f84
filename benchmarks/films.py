"""The cleaner on scans of real films: figures, and each before and after on contact sheets.

python benchmarks/films.py FOLDER [--sheets OUT]

FOLDER holds the films and boxes.csv with the masses (columns file,x,y,width,height in pixels).
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.box import Box, breast_bounding_box
from mammoseg.data.preprocessing.breast import FRAME_MIN_INTENSITY, segment_breast

EDGE = 0.02  # of a side: where frames are
TILE, ACROSS, DOWN = 200, 5, 6
Boxes = list[tuple[float, float, float, float]]


def read_boxes(folder: Path) -> dict[str, Boxes]:
    boxes: dict[str, Boxes] = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
            boxes[row["file"]].append((x, y, x + width, y + height))
    return dict(boxes)


def white_edges(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Bright pixels near the film's edges: frames, and the ends of labels."""
    height, width = pixels.shape
    inner = np.zeros(pixels.shape, bool)
    inner[round(EDGE * height) : -round(EDGE * height), round(EDGE * width) : -round(EDGE * width)] = True
    return (pixels >= FRAME_MIN_INTENSITY * 255) & ~inner


def tile(pixels: NDArray[np.uint8], breast: NDArray[np.bool_], kept: Box, boxes: Boxes, name: str) -> NDArray[np.uint8]:
    before = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    after = before.copy()
    after[~breast] = after[~breast] // 4 + np.array([90, 0, 0], np.uint8)
    for left, top, right, bottom in boxes:
        cv2.rectangle(after, (round(left), round(top)), (round(right), round(bottom)), (0, 255, 0), 4)
    cv2.rectangle(after, (kept.left, kept.top), (kept.right - 1, kept.bottom - 1), (0, 220, 255), 4)
    pair = [cv2.resize(view, (TILE, TILE), interpolation=cv2.INTER_AREA) for view in (before, after)]
    joined = np.hstack(pair)
    cv2.putText(joined, name, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 200, 255), 1)
    return np.asarray(joined, np.uint8)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--sheets", type=Path, default=Path("outputs/films"))
    options = arguments.parse_args()
    options.sheets.mkdir(parents=True, exist_ok=True)
    boxes = read_boxes(options.folder)
    tiles, shares, held, uncut = [], [], 0, 0
    white_before = white_after = 0
    for file, masses in sorted(boxes.items()):
        pixels = np.asarray(cv2.imread(str(options.folder / file), cv2.IMREAD_GRAYSCALE), np.uint8)
        breast = segment_breast(pixels)
        kept = breast_bounding_box(breast, *pixels.shape)
        shares.append(float(breast.mean()))
        uncut += (kept.top, kept.left, kept.bottom, kept.right) == (0, 0, *pixels.shape)
        held += sum(kept.contains(Box(int(t), int(np.ceil(b)), int(le), int(np.ceil(r)))) for le, t, r, b in masses)
        white = white_edges(pixels)
        white_before += int(white.sum())
        white_after += int((white & breast).sum())
        tiles.append(tile(pixels, breast, kept, masses, file))
    blank = np.zeros_like(tiles[0])
    for first in range(0, len(tiles), ACROSS * DOWN):
        some = tiles[first : first + ACROSS * DOWN]
        some += [blank] * (-len(some) % ACROSS)
        rows = [np.hstack(some[place : place + ACROSS]) for place in range(0, len(some), ACROSS)]
        cv2.imwrite(str(options.sheets / f"films_{first // (ACROSS * DOWN) + 1}.png"), np.vstack(rows))
    print("| what | measured |\n|---|---|")
    print(f"| masses wholly within the kept box | {held} of {sum(map(len, boxes.values()))} |")
    print(f"| films of which nothing is cut off | {uncut} of {len(boxes)} |")
    print(f"| breast, share of the film, mean | {100 * np.mean(shares):.1f} % |")
    stays = 100 * white_after / white_before
    print(f"| white pixels within {100 * EDGE:.0f} % of a film's edges that stay | {stays:.1f} % |")
    print(f"\nContact sheets: {options.sheets}/films_1.png and following")


if __name__ == "__main__":
    main()
