"""Detection of masses on raw films, compared with the same images at 256x256.

python benchmarks/film_detection.py FILMS PREPARED [--model NAME] [--output outputs/film_detection]

FILMS contains scans of films and boxes.csv with the bounding boxes of the masses (columns file, case, x, y, width and
height, in pixels); PREPARED is a dataset in the layout of dataset=folder with the same cases. The model prepares both
itself. A box is hit if the centroid of a predicted region lies within it. For images of PREPARED, the boxes are those
of the connected regions of the masks. The output folder contains the counts of each image (films.csv), and contact
sheets of the images with boxes and predictions.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import mammoseg
from films import TILE_SIDE, Image, read_boxes, write_contact_sheets
from mammoseg.data.preprocessing.box import Box
from mammoseg.metrics.detection import MatchingRule, detect_marked
from mammoseg.predictor import Prediction, Predictor

BOX_COLOUR, PREDICTION_COLOUR = (255, 200, 0), (0, 140, 255)  # BGR: cyan, orange


def mask_boxes(mask: Image) -> list[Box]:
    """Return the bounding boxes of the connected regions of a mask."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    return [Box(int(y), int(y + height), int(x), int(x + width)) for x, y, width, height, _ in statistics[1:]]


def count_hits(prediction: Prediction, boxes: Sequence[Box]) -> tuple[int, int]:
    """Return the number of boxes that are hit, and the number of predicted regions outside all boxes."""
    areas = []
    for box in boxes:
        area = np.zeros(prediction.mask.shape, bool)
        area[box.top : box.bottom, box.left : box.right] = True
        areas.append(area)
    candidates = detect_marked(prediction.mask.astype(np.float32), areas, MatchingRule(), threshold=0.5)
    hits = {index for candidate in candidates for index in candidate.hits}
    return len(hits), sum(not candidate.hits for candidate in candidates)


def read_grey(path: Path) -> Image:
    """Read an image file as grey values."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def draw_tile(path: Path, prediction: Prediction, boxes: Sequence[Box]) -> Image:
    """Draw the boxes and the predicted outlines on a film."""
    tile = cv2.cvtColor(read_grey(path), cv2.COLOR_GRAY2BGR)
    thickness = max(tile.shape) // TILE_SIDE + 1
    for box in boxes:
        cv2.rectangle(tile, (box.left, box.top), (box.right - 1, box.bottom - 1), BOX_COLOUR, thickness)
    outlines, _ = cv2.findContours(prediction.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, outlines, -1, PREDICTION_COLOUR, thickness)
    return np.asarray(cv2.resize(tile, (TILE_SIDE, TILE_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def read_cases(folder: Path, key: str) -> dict[str, dict[str, str]]:
    """Read the table of a folder; returns its rows by the column `key`."""
    name = "boxes.csv" if key == "file" else "cases.csv"
    with (folder / name).open(encoding="utf-8", newline="") as lines:
        return {row[key]: row for row in csv.DictReader(lines)}


def evaluate(predictor: Predictor, images: Sequence[tuple[Path, list[Box]]]) -> tuple[NDArray[np.int64], list[Image]]:
    """Predict images with boxes.

    Returns:
        Number of boxes, hits, false positives and warnings of each image, (N, 4); and a tile for each image.
    """
    counts, tiles = [], []
    for path, boxes in images:
        prediction = predictor(path)
        counts.append((len(boxes), *count_hits(prediction, boxes), bool(prediction.warning)))
        tiles.append(draw_tile(path, prediction, boxes))
    return np.array(counts, np.int64), tiles


def write_counts(path: Path, cases: Sequence[str], counts: Mapping[str, NDArray[np.int64]]) -> None:
    """Write the counts of each image, by the name of the images."""
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("images", "case", "boxes", "hits", "false_positives", "warning"))
        for name, table in counts.items():
            writer.writerows((name, case, *row) for case, row in zip(cases, table.tolist(), strict=True))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--model", help="pretrained model, run folder or checkpoint; default: the default model")
    parser.add_argument("--output", type=Path, default=Path("outputs/film_detection"))
    args = parser.parse_args()
    predictor = mammoseg.load(args.model) if args.model else mammoseg.load()
    boxes, cases = read_boxes(args.films), read_cases(args.prepared, "case")
    rows = [cases[row["case"]] for row in read_cases(args.films, "file").values()]
    prepared = [(args.prepared / row["image"], mask_boxes(read_grey(args.prepared / row["mask"]))) for row in rows]
    sources = {"raw films": [(args.films / name, boxes[name]) for name in boxes], "prepared": prepared}
    columns = ("images", "number", "boxes", "boxes hit", "false positives per image", "images with a warning")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    table: dict[str, NDArray[np.int64]] = {}
    for name, images in sources.items():
        counts, tiles = evaluate(predictor, images)
        table[name] = counts
        n_boxes, n_hits, n_false, n_warnings = counts.sum(axis=0)
        shares = f"{n_hits} ({100 * n_hits / n_boxes:.1f} %) | {n_false / len(counts):.2f} | {n_warnings}"
        print(f"| {name} | {len(counts)} | {n_boxes} | {shares} |")
        write_contact_sheets(tiles, args.output, name.replace(" ", "_"))
    write_counts(args.output / "films.csv", [row["case"] for row in rows], table)


if __name__ == "__main__":
    main()
