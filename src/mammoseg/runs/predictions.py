"""predictions.npz and calibration.csv of a tested run."""

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


@dataclass(frozen=True)
class Predictions:
    """Predictions of a run for its test images.

    Attributes:
        cases: Names of the N images.
        masks: (N, H, W) bool: probability above `threshold`, exactly.
        quantised_probs: (N, H, W) uint8 as `metrics.quantise_probs` returns; None, as is `threshold`, in files of
            early versions, which stored masks only.
        threshold: Of the masks.
    """

    cases: list[str]
    masks: NDArray[np.bool_]
    quantised_probs: NDArray[np.uint8] | None
    threshold: float | None

    @property
    def by_case(self) -> dict[str, NDArray[np.bool_]]:
        """Predicted mask (H, W) by case."""
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
        path: The file.
        cases: N names.
        packed_masks: N times (H, W / 8), eight pixels per byte.
        quantised_probs: N times (H, W).
        threshold: Of the masks.
    """
    with atomic_write(path, "wb") as file:
        np.savez_compressed(
            file,
            cases=np.array(cases),
            masks=np.stack(packed_masks),
            levels=np.stack(quantised_probs),  # the name in the file since version 0.1
            threshold=threshold,
        )


def read_predictions(path: Path) -> Predictions:
    """Read predictions.npz.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:  # numpy would leave a damaged file open
            masks = np.unpackbits(stored["masks"], axis=2).astype(bool)
            has_probs = "levels" in stored
            return Predictions(
                stored["cases"].tolist(),
                masks,
                stored["levels"] if has_probs else None,
                float(stored["threshold"]) if has_probs else None,
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged ({error}); test the run again with mammoseg.evaluate") from error


def write_calibration(path: Path, sums: NDArray[np.float64]) -> None:
    """Write calibration.csv atomically, one row per bin of the probability.

    Args:
        path: The file.
        sums: (10, 3) as `metrics.reliability_sums` returns.
    """
    with atomic_write(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("pixels", "probability", "mass"))
        table.writerows([int(pixels), total, int(mass)] for pixels, total, mass in sums.tolist())


def read_calibration(path: Path) -> NDArray[np.float64]:
    """(10, 3) as `metrics.reliability_sums` returns."""
    return np.loadtxt(path, delimiter=",", skiprows=1)
