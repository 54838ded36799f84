"""Files in the output folder of mammoseg.predict."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from mammoseg.csv_cells import unescape_row
from mammoseg.errors import UserError

PROVENANCE_FILE = "predictions.json"  # everything that affects the predictions
TABLE_FILE = "predictions.csv"  # one row per mass, or one for an image without any
EXAMS_FILE = "exams.csv"  # one row per breast and per examination
COCO_FILE = "coco.json"  # bounding boxes and contours of all masses
SKIPPED_FILE = "skipped.csv"
JOURNAL_FILE = ".journal.jsonl"  # completed images, to resume an interrupted prediction
LOCK_FILE = ".lock"

Kind = Literal[
    "masks",
    "probabilities",
    "probabilities_float",
    "overlays",
    "heatmaps",
    "uncertainty",
    "contours",
    "segmentations",
    "reports",
]
# Suffixes of the kinds that are not PNG images.
SUFFIXES: Mapping[Kind, str] = {
    "probabilities_float": "tif",
    "contours": "json",
    "segmentations": "dcm",
    "reports": "dcm",
}


def image_file(kind: Kind, name: str) -> str:
    """Return the path of an output of one image, relative to the folder.

    Args:
        kind: Kind of the output.
        name: Name of the image.

    Example:
        >>> image_file("masks", "film1")
        'masks/film1.png'
    """
    return f"{kind}/{name}.{SUFFIXES.get(kind, 'png')}"


@dataclass(frozen=True)
class PredictionResults:
    """Tables of a prediction folder.

    Attributes:
        threshold: Probability above which a pixel is predicted as mass.
        rows: Rows of predictions.csv by name of the image, at least one per image.
    """

    threshold: float
    rows: Mapping[str, Sequence[Mapping[str, str]]]


def is_valid(row: Mapping[str, str]) -> bool:
    """Return whether the paths in a row of predictions.csv are relative to the folder, and its numbers are valid.

    Raises:
        ValueError: If a number cannot be parsed.
    """
    paths = [PurePath(row[name]) for name in ("name", "file")]
    inside = not any(path.is_absolute() or ".." in path.parts for path in paths) and row["name"] != ""
    return inside and math.isfinite(float(row["area_mm2"] or 0)) and int(row["masses"]) >= 0


def read_prediction_tables(folder: Path) -> PredictionResults:
    """Read the tables of a prediction folder.

    Args:
        folder: Output folder of mammoseg.predict.

    Raises:
        UserError: If the folder was not written by mammoseg.predict, or its tables are damaged or empty.
    """
    try:
        threshold = float(json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))["made_of"]["threshold"])
        rows: dict[str, list[dict[str, str]]] = {}
        with (folder / TABLE_FILE).open(encoding="utf-8", newline="") as file:
            for row in map(unescape_row, csv.DictReader(file)):
                if not is_valid(row):
                    raise ValueError(f"invalid row {row['name']}")
                rows.setdefault(row["name"], []).append(row)
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise UserError(f"{folder}: has no {missing}; give the output folder of mammoseg.predict") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        raise UserError(f"{folder}: its tables are damaged ({error}); predict again") from error
    if not rows:
        raise UserError(f"{folder}: contains no predictions; predict again")
    return PredictionResults(threshold, rows)
