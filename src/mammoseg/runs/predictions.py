"""predictions.npz, calibration.csv and detection.csv of a run."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.csv_cells import escape_cell, unescape_row
from mammoseg.errors import UserError
from mammoseg.files import atomic_write
from mammoseg.metrics import N_CALIBRATION_BINS

PREDICTIONS_FILE = "predictions.npz"
CALIBRATION_FILE = "calibration.csv"
CALIBRATION_COLUMNS = ("pixels", "probability", "mass")
DETECTION_FILE = "detection.csv"
DETECTION_COLUMNS = ("case", "masses", "found", "false_positives")
MAX_SIZE = 8192  # largest value of dataset.size
MAX_HEADER = 65536  # bytes of the header of an array
# Kind and largest item size in bytes of each array of predictions.npz.
ITEM_TYPES = {"cases.npy": ("U", 4096), "masks.npy": ("u", 1), "levels.npy": ("u", 1), "threshold.npy": ("f", 8)}


@dataclass(frozen=True)
class Predictions:
    """Predictions of a run for its N test images.

    Attributes:
        cases: Names of the images.
        masks: Predicted masks, shape (N, H, W), bool: whether the unquantised probability exceeds `threshold`.
        quantised_probs: Probabilities quantised by `metrics.quantise_probs`, shape (N, H, W), uint8; None for masks of
            another program, and in files of early versions, which stored only masks.
        threshold: Threshold of the masks; None if `quantised_probs` is None.
    """

    cases: list[str]
    masks: NDArray[np.bool_]
    quantised_probs: NDArray[np.uint8] | None
    threshold: float | None

    @property
    def by_case(self) -> dict[str, NDArray[np.bool_]]:
        """Predicted masks of shape (H, W) by case."""
        return dict(zip(self.cases, self.masks, strict=True))


@dataclass(frozen=True)
class Detections:
    """Masses of a test image and the regions of its predicted mask.

    Attributes:
        case: Name of the image.
        masses: Number of masses.
        found: Number of masses that contain the centroid of a predicted region.
        false_positives: Number of predicted regions whose centroid lies outside all masses.
    """

    case: str
    masses: int
    found: int
    false_positives: int


def write_predictions(
    path: Path,
    cases: Sequence[str],
    packed_masks: Sequence[NDArray[np.uint8]],
    quantised_probs: Sequence[NDArray[np.uint8]] | None,
    threshold: float | None,
) -> None:
    """Write predictions.npz atomically.

    Args:
        path: Output file.
        cases: Names of the N images.
        packed_masks: Predicted mask of each image, shape (H, W / 8), packed by `numpy.packbits`.
        quantised_probs: Quantised probabilities of each image, shape (H, W); None if they are unknown.
        threshold: Threshold of the masks; None if the probabilities are unknown.
    """
    arrays: dict[str, Any] = {"cases": np.array(cases), "masks": np.stack(packed_masks)}
    if quantised_probs is not None:
        arrays["levels"] = np.stack(quantised_probs)  # name in the file since version 0.1
        arrays["threshold"] = threshold
    with atomic_write(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_predictions(path: Path, cases: Collection[str] | None = None) -> Predictions:
    """Read predictions.npz.

    Args:
        path: Input file.
        cases: Names of the test images in results.csv, which the file must contain; None if they are not known.

    Raises:
        UserError: If the file is damaged, or does not contain the test images.
    """
    try:
        check_size(path)
        with path.open("rb") as file, np.load(file) as stored:  # np.load(path) does not close a damaged file
            names = stored["cases"].tolist()
            check_cases(path, names, cases)
            masks = np.unpackbits(stored["masks"], axis=2).astype(bool)
            has_probs = "levels" in stored
            return Predictions(
                names,
                masks,
                stored["levels"] if has_probs else None,
                float(stored["threshold"]) if has_probs else None,
            )
    except MemoryError as error:
        raise UserError(
            f"{path}: too large for the memory of this machine; if it is not damaged, use a machine with more memory"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged ({error}); test the run again with mammoseg.evaluate") from error


def check_cases(path: Path, stored: Collection[str], expected: Collection[str] | None) -> None:
    """Check that predictions.npz contains the test images of results.csv and no others.

    Args:
        path: The file, for error messages.
        stored: Names of the images in the file.
        expected: Names of the images in results.csv; None if they are not known.

    Raises:
        UserError: If it does not.
    """
    if expected is None:
        return
    if missing := set(expected) - set(stored):
        raise UserError(
            f"{path}: must contain every image of results.csv; {len(missing)} missing, such as {min(missing)}; test "
            "the run again with mammoseg.evaluate"
        )
    if len(stored) > len(expected):
        raise UserError(
            f"{path}: must contain the {len(expected)} images of results.csv, got {len(stored)}; test the run again "
            "with mammoseg.evaluate"
        )


def check_size(path: Path) -> None:
    """Check types and sizes of the arrays in the headers of predictions.npz before memory is allocated for them.

    Raises:
        ValueError: If the arrays do not belong together, or an image is larger than any prepared one.
    """
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shapes[name], _, dtype = read_header[np.lib.format.read_magic(file)](file)
            kind, itemsize = ITEM_TYPES.get(name, ("", 0))
            if dtype.kind != kind or dtype.itemsize > itemsize:
                raise ValueError(f"{name} has the type {dtype}")
            if archive.getinfo(name).file_size > int(np.prod(shapes[name])) * dtype.itemsize + MAX_HEADER:
                raise ValueError(f"{name} contains more than its array")
    (n_cases,) = shapes["cases.npy"]
    n_masks, height, packed_width = shapes["masks.npy"]
    expected = (n_cases, height, 8 * packed_width)
    if (
        (n_masks != n_cases or height > MAX_SIZE or 8 * packed_width > MAX_SIZE)
        or shapes.get("levels.npy", expected) != expected
        or shapes.get("threshold.npy", ()) != ()
    ):
        raise ValueError(f"arrays with the shapes {shapes} do not belong together")


def write_calibration(path: Path, sums: NDArray[np.float64]) -> None:
    """Write calibration.csv atomically, one row per probability bin.

    Args:
        path: Output file.
        sums: Results of `metrics.reliability_sums` for all pixels and for those within the breast, shape (2, 10, 3).
    """
    with atomic_write(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*CALIBRATION_COLUMNS, *(f"breast_{name}" for name in CALIBRATION_COLUMNS)))
        for row in np.concatenate(sums, axis=1).tolist():
            table.writerow([value if i % 3 == 1 else int(value) for i, value in enumerate(row)])


def read_calibration(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Read calibration.csv.

    Args:
        path: Input file.

    Returns:
        Sums of `metrics.reliability_sums` for all pixels and for those within the breast, each of shape (10, 3). The
        latter are None in files of versions up to 0.2.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        sums = np.loadtxt(path, delimiter=",", skiprows=1)
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); test the run again with mammoseg.evaluate") from error
    n_columns = sums.shape[-1]
    if sums.shape != (N_CALIBRATION_BINS, n_columns) or n_columns not in (3, 6):
        raise UserError(f"{path}: damaged (got shape {sums.shape}); test the run again with mammoseg.evaluate")
    return sums[:, :3], sums[:, 3:] if n_columns == 6 else None


def write_detections(path: Path, detections: Sequence[Detections]) -> None:
    """Write detection.csv atomically, one row per test image.

    Args:
        path: Output file.
        detections: Detections in each image.
    """
    with atomic_write(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(DETECTION_COLUMNS)
        table.writerows((escape_cell(row.case), row.masses, row.found, row.false_positives) for row in detections)


def read_detections(path: Path) -> list[Detections]:
    """Read detection.csv.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = [unescape_row(row) for row in csv.DictReader(lines)]
        return [Detections(row["case"], *(int(row[name]) for name in DETECTION_COLUMNS[1:])) for row in rows]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}); test the run again with mammoseg.evaluate") from error
