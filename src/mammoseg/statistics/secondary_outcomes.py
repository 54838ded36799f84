"""Outcomes beside the segmentation metrics: signed area difference, detection and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mammoseg.metrics import N_CALIBRATION_BINS, expected_calibration_error
from mammoseg.runs.discovery import RunResults
from mammoseg.runs.predictions import read_calibration, read_detections
from mammoseg.statistics.alignment import AlignedRuns

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SecondaryOutcomes:
    """Outcomes of one run, or their means or standard deviations over runs. An unknown outcome is NaN.

    Attributes:
        signed_area_difference: (predicted area - true area) / true area, pooled over the test set.
        images_missed: Fraction of the images with a mass in which no mass pixel is predicted, that is DSC = 0.
        masses_found: Fraction of the masses that contain the centroid of a predicted region.
        false_positives: Number of predicted regions per image whose centroid lies outside all masses.
        calibration_error: Expected calibration error over all pixels.
        breast_calibration_error: Expected calibration error over the pixels within the breast.
    """

    signed_area_difference: float
    images_missed: float
    masses_found: float
    false_positives: float
    calibration_error: float
    breast_calibration_error: float

    @classmethod
    def of_run(cls, run: RunResults) -> SecondaryOutcomes:
        """Compute the outcomes of a run from its results.csv, detection.csv and calibration.csv.

        Raises:
            UserError: If a file is damaged.
        """
        tp, fp, fn, _ = run.counts.T
        has_mass = tp + fn > 0
        n_masses, masses_found, false_positives = np.nan, np.nan, np.nan
        if run.folder.detection.is_file():
            rows = read_detections(run.folder.detection)
            n_masses, masses_found = sum(row.masses for row in rows), sum(row.found for row in rows)
            false_positives = sum(row.false_positives for row in rows) / max(len(rows), 1)
        errors = [np.nan, np.nan]
        if run.folder.calibration.is_file():
            sums = read_calibration(run.folder.calibration)
            errors = [np.nan if part is None else expected_calibration_error(part) for part in sums]
        return cls(
            _ratio(fp.sum() - fn.sum(), tp.sum() + fn.sum()),
            _ratio((tp[has_mass] == 0).sum(), has_mass.sum()),
            _ratio(masses_found, n_masses),
            false_positives,
            *errors,
        )

    @classmethod
    def of_runs(cls, runs: Sequence[RunResults]) -> tuple[SecondaryOutcomes, SecondaryOutcomes]:
        """Return the means over runs and the sample standard deviations, which are NaN for a single run.

        Raises:
            UserError: If a file is damaged.
        """
        outcomes = [cls.of_run(run) for run in runs]
        values = np.array([[getattr(run, field.name) for field in fields(cls)] for run in outcomes])
        stds = values.std(axis=0, ddof=1) if len(runs) > 1 else np.full(values.shape[1], np.nan)
        return cls(*values.mean(axis=0).tolist()), cls(*stds.tolist())


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else float("nan")


def reliability_by_method(data: AlignedRuns) -> dict[str, Floats]:
    """Sum the bins of the reliability diagram over all runs of each method.

    Args:
        data: Aligned runs.

    Returns:
        Sums of `metrics.reliability_sums` over all pixels, shape (10, 3), by method. Methods are omitted if
        calibration.csv is missing for any of their runs.
    """
    tables = {}
    for method, runs in data.runs.items():
        files = [run.folder.calibration for run in runs.values()]
        if all(path.is_file() for path in files):
            tables[method] = sum((read_calibration(path)[0] for path in files), np.zeros((N_CALIBRATION_BINS, 3)))
    return tables
