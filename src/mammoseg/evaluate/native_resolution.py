"""Evaluation at the native resolution of the images: native.csv and candidates.csv.

Predictions are resampled to the original pixels and compared with the original outlines or masks. results.csv, in
contrast, refers to the network's square input.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.csv_cells import unescape_row
from mammoseg.data.dataset import DatasetSpec
from mammoseg.data.images.metadata import spacing_columns
from mammoseg.data.images.read import read_metadata
from mammoseg.data.preprocessing.cache import mass_mask
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.errors import ImageReadError, UserError
from mammoseg.evaluate.full_resolution import FullResolutionCallback
from mammoseg.metrics.detection import Candidate, MatchingRule, detect
from mammoseg.metrics.surface import surface_distances
from mammoseg.runs import results
from mammoseg.runs.results import ResultRow

CANDIDATES_FILE = "candidates.csv"
DISTANCE_COLUMNS = ("hd95", "asd")
GEOMETRY_COLUMNS = ("height", "width", "spacing_down_mm", "spacing_across_mm", "spacing_from", "unit")
NATIVE_COLUMNS = (*GEOMETRY_COLUMNS, *DISTANCE_COLUMNS, "masses")  # of native.csv, in addition to those of results.csv
CANDIDATE_COLUMNS = ("case", "score", "mean", "x", "y", "area", "hits")


class NativeResolutionWriter(FullResolutionCallback):
    """Evaluates each test image at native resolution, and writes native.csv and candidates.csv.

    Args:
        folder: Output folder.
        run_info: Identity of the run, the first columns of native.csv.
        dataset: See `FullResolutionCallback`.
        rule: Definition of candidates and of their match with a mass.

    Raises:
        UserError: If a file of the dataset no longer exists or cannot be read.
    """

    def __init__(self, folder: Path, run_info: Mapping[str, Any], dataset: DatasetSpec, rule: MatchingRule) -> None:
        super().__init__(dataset, "evaluating at native resolution")
        self.folder = folder
        self.run_info = dict(run_info)
        self.rule = rule
        self.rows: dict[int, ResultRow] = {}
        self.candidates: dict[int, list[Candidate]] = {}

    def evaluate_image(self, index: int, prob_map: NDArray[np.float32], threshold: float) -> None:
        """Evaluate one image.

        Args:
            index: Index of the image in the store.
            prob_map: Probabilities at the resolution of the network, shape (size, size).
            threshold: Probability above which a pixel is predicted as mass.

        Raises:
            UserError: If the image is no longer in the dataset or cannot be read.
        """
        case, mammogram = self.store.cases[index], self.mammogram(index)
        mask = full_resolution_mask(case.case, mammogram, (case.height, case.width))
        prob = self.original_probabilities(index, prob_map)
        mask_pred = prob > np.float32(threshold)
        try:
            spacing = read_metadata(mammogram.image_file).spacing
        except ImageReadError as error:
            raise UserError(f"{case.case}: the image can no longer be read: {error}") from error
        pixel_spacing = (spacing.row, spacing.column) if spacing else (1.0, 1.0)
        self.candidates[index], n_masses = detect(prob, mask, self.rule, threshold)
        self.rows[index] = {
            **results.make_row(self.run_info, case, array_confusion_counts(mask_pred, mask)),
            "height": case.height,
            "width": case.width,
            **spacing_columns(spacing),
            "unit": "mm" if spacing else "pixels",
            **dict(zip(DISTANCE_COLUMNS, surface_distances(mask_pred, mask, pixel_spacing), strict=True)),
            "masses": n_masses,
        }

    def on_test_end(self, *_: Any, **__: Any) -> None:
        """Stop the progress display and write both files, in the order of the store."""
        self.stop()
        indices = sorted(self.rows)
        write_candidates(self.folder, {self.rows[index]["case"]: self.candidates[index] for index in indices})
        results.write_results(
            self.folder / results.NATIVE_FILE, [self.rows[index] for index in indices], NATIVE_COLUMNS
        )


def full_resolution_mask(case: str, mammogram: Mammogram, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read the ground truth of an image.

    Args:
        case: Name of the image, for error messages.
        mammogram: Describes its files and outlines.
        shape: Height and width of the image in pixels.

    Returns:
        (height, width), True inside masses.

    Raises:
        UserError: If a mask file no longer exists or cannot be read.
    """
    try:
        return mass_mask(mammogram, shape).mask > 0
    except (ImageReadError, ValueError) as error:
        raise UserError(f"{case}: the masses can no longer be read: {error}") from error


def array_confusion_counts(mask_pred: NDArray[np.bool_], mask: NDArray[np.bool_]) -> list[int]:
    """Count true positive, false positive, false negative and true negative pixels of one image.

    Example:
        >>> array_confusion_counts(np.array([[True, True, False, False]]), np.array([[True, False, True, False]]))
        [1, 1, 1, 1]
    """
    tp = int(np.count_nonzero(mask_pred & mask))
    fp, fn = int(np.count_nonzero(mask_pred)) - tp, int(np.count_nonzero(mask)) - tp
    return [tp, fp, fn, mask.size - tp - fp - fn]


def write_candidates(folder: Path, candidates: Mapping[str, Sequence[Candidate]]) -> None:
    """Write candidates.csv.

    Args:
        folder: Output folder.
        candidates: Candidates by case.
    """
    results.write_table(folder / CANDIDATES_FILE, candidate_rows(candidates), CANDIDATE_COLUMNS)


def candidate_rows(candidates: Mapping[str, Sequence[Candidate]]) -> Iterator[dict[str, Any]]:
    """Convert candidates by case to rows of candidates.csv."""
    for case, case_candidates in candidates.items():
        for candidate in case_candidates:
            yield {"case": case, **asdict(candidate), "hits": " ".join(map(str, candidate.hits))}


def read_native_results(folder: Path) -> tuple[list[ResultRow], dict[str, list[Candidate]]]:
    """Read native.csv and candidates.csv.

    Args:
        folder: Output folder of `mammoseg.evaluate`.

    Returns:
        Rows as from `read_results`, with distances and number of masses as numbers; candidates by case.
    """
    rows = [
        {**row, **{name: float(row[name]) for name in DISTANCE_COLUMNS}, "masses": int(row["masses"])}
        for row in results.read_results(folder / results.NATIVE_FILE)
    ]
    return rows, read_candidates(folder, [row["case"] for row in rows])


def read_candidates(folder: Path, cases: Iterable[str]) -> dict[str, list[Candidate]]:
    """Read candidates.csv.

    Args:
        folder: Output folder of `mammoseg.evaluate`.
        cases: The tested images; those without a candidate are not in the file.

    Returns:
        Candidates by case.
    """
    candidates: dict[str, list[Candidate]] = {case: [] for case in cases}
    with (folder / CANDIDATES_FILE).open(encoding="utf-8", newline="") as file:
        for row in map(unescape_row, csv.DictReader(file)):
            values = {name: float(row[name]) for name in ("score", "mean", "x", "y")}
            hits = tuple(map(int, row["hits"].split()))
            candidates[row["case"]].append(Candidate(**values, area=int(row["area"]), hits=hits))
    return candidates
