"""Files in the output folder of mammoseg.predict."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mammoseg.csv_cells import unescape_row
from mammoseg.errors import UserError

PROVENANCE_FILE = "predictions.json"  # everything that affects the predictions
TABLE_FILE = "predictions.csv"  # one row per mass, or one for an image without any
SKIPPED_FILE = "skipped.csv"
JOURNAL_FILE = ".journal.jsonl"  # completed images, to resume an interrupted prediction
LOCK_FILE = ".lock"

Kind = Literal["masks", "probabilities", "overlays", "heatmaps", "uncertainty", "segmentations"]


def image_file(kind: Kind, name: str) -> str:
    """Return the path of an output of one image, relative to the folder.

    Args:
        kind: Kind of the output.
        name: Name of the image.

    Example:
        >>> image_file("masks", "film1")
        'masks/film1.png'
    """
    return f"{kind}/{name}.{'dcm' if kind == 'segmentations' else 'png'}"


@dataclass(frozen=True)
class PredictionResults:
    """Tables of a prediction folder.

    Attributes:
        threshold: Probability above which a pixel is predicted as mass.
        rows: Rows of predictions.csv by name of the image, at least one per image.
    """

    threshold: float
    rows: Mapping[str, Sequence[Mapping[str, str]]]


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
                rows.setdefault(row["name"], []).append(row)
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise UserError(f"{folder}: has no {missing}; give the output folder of mammoseg.predict") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{folder}: its tables are damaged ({error}); predict again") from error
    if not rows:
        raise UserError(f"{folder}: contains no predictions; predict again")
    return PredictionResults(threshold, rows)
