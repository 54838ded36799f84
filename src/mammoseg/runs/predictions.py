"""predictions.npz and calibration.csv of a run."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import UserError
from mammoseg.files import atomic_write

PREDICTIONS_FILE = "predictions.npz"
CALIBRATION_FILE = "calibration.csv"
MAX_SIZE = 8192  # largest value of dataset.size
MAX_HEADER = 65536  # bytes of the header of an array


@dataclass(frozen=True)
class Predictions:
    """Predictions of a run for its N test images.

    Attributes:
        cases: Names of the images.
        masks: Predicted masks, shape (N, H, W), bool: whether the unquantised probability exceeds `threshold`.
        quantised_probs: Probabilities quantised by `metrics.quantise_probs`, shape (N, H, W), uint8; None in files of
            early versions, which stored only masks.
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


def write_predictions(
    path: Path,
    cases: Sequence[str],
    packed_masks: Sequence[NDArray[np.uint8]],
    quantised_probs: Sequence[NDArray[np.uint8]],
    threshold: float,
) -> None:
    """Write predictions.npz atomically.

    Args:
        path: Output file.
        cases: Names of the N images.
        packed_masks: Predicted mask of each image, shape (H, W / 8), packed by `numpy.packbits`.
        quantised_probs: Quantised probabilities of each image, shape (H, W).
        threshold: Threshold of the masks.
    """
    with atomic_write(path, "wb") as file:
        np.savez_compressed(
            file,
            cases=np.array(cases),
            masks=np.stack(packed_masks),
            levels=np.stack(quantised_probs),  # name in the file since version 0.1
            threshold=threshold,
        )


def read_predictions(path: Path) -> Predictions:
    """Read predictions.npz.

    Args:
        path: Input file.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        check_size(path)
        with path.open("rb") as file, np.load(file) as stored:  # np.load(path) does not close a damaged file
            masks = np.unpackbits(stored["masks"], axis=2).astype(bool)
            has_probs = "levels" in stored
            return Predictions(
                stored["cases"].tolist(),
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


def check_size(path: Path) -> None:
    """Check the sizes of the arrays in the headers of predictions.npz before memory is allocated for them.

    Raises:
        ValueError: If the arrays do not belong together, or an image is larger than any prepared one.
    """
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shapes[name], _, dtype = read_header[np.lib.format.read_magic(file)](file)
            if archive.getinfo(name).file_size > int(np.prod(shapes[name])) * dtype.itemsize + MAX_HEADER:
                raise ValueError(f"{name} contains more than its array")
    (n_cases,) = shapes["cases.npy"]
    n_masks, height, packed_width = shapes["masks.npy"]
    expected = (n_cases, height, 8 * packed_width)
    if n_masks != n_cases or height > MAX_SIZE or shapes.get("levels.npy", expected) != expected:
        raise ValueError(f"arrays with the shapes {shapes} do not belong together")


def write_calibration(path: Path, sums: NDArray[np.float64]) -> None:
    """Write calibration.csv atomically, one row per probability bin.

    Args:
        path: Output file.
        sums: Result of `metrics.reliability_sums`, shape (10, 3).
    """
    with atomic_write(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("pixels", "probability", "mass"))
        table.writerows([int(pixels), total, int(mass)] for pixels, total, mass in sums.tolist())


def read_calibration(path: Path) -> NDArray[np.float64]:
    """Read calibration.csv; returns the sums of `metrics.reliability_sums`, shape (10, 3)."""
    return np.loadtxt(path, delimiter=",", skiprows=1)
