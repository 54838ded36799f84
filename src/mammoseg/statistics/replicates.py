"""Replicates: values of a metric over the seeds or the folds of a method, with their bootstrap distributions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mammoseg.metrics import PIXEL_METRICS, metrics_from_counts
from mammoseg.runs.discovery import RunResults
from mammoseg.statistics.alignment import AlignedRuns
from mammoseg.statistics.bootstrap import patient_bootstrap_weights, sum_by_patient

Floats = NDArray[np.float64]
Subset = NDArray[np.bool_]  # boolean mask of images, shape (images,)


@dataclass(frozen=True)
class Replicates:
    """Values of a metric in the replicates of a method: its seeds or, in cross-validation, its folds.

    Attributes:
        values: Value of each replicate, shape (replicates,).
        distribution: Values in each bootstrap resample of the test patients, shape (replicates, n_resamples).
    """

    values: Floats
    distribution: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over the replicates."""
        return float(self.values.mean())

    @property
    def mean_distribution(self) -> Floats:
        """Mean over the replicates in each resample, shape (n_resamples,)."""
        means: Floats = self.distribution.mean(axis=0)
        return means


@dataclass(frozen=True)
class Resampler:
    """Bootstrap of the test patients within each fold, with the same resamples for all methods.

    Attributes:
        data: Aligned runs.
        n_resamples: Number of resamples.
        seed: Random seed.
    """

    data: AlignedRuns
    n_resamples: int
    seed: int

    @property
    def folds(self) -> list[str]:
        """Labels of the folds."""
        return list(self.data.cases)

    def replicates(self, method: str) -> dict[str, Replicates]:
        """Compute the replicates of a method over all images, by key of the metric.

        The replicates are seeds if there is a single fold, and otherwise folds, with means over the seeds of each fold.
        """
        values, distributions = [], []
        for fold in self.folds:
            counts, resampled = self._counts(method, fold, None)
            values.append(metrics_from_counts(counts))
            distributions.append(metrics_from_counts(resampled))
        if len(self.folds) == 1:
            return {key: Replicates(values[0][key], distributions[0][key]) for key in PIXEL_METRICS}
        return {
            key: Replicates(
                np.array([by_key[key].mean() for by_key in values]),
                np.stack([by_key[key].mean(axis=0) for by_key in distributions]),
            )
            for key in PIXEL_METRICS
        }

    def pooled_replicates(self, method: str, subset: Subset) -> dict[str, Replicates]:
        """Compute the replicates of a method over a subset of the images, which is pooled over the folds.

        A fold may have few images of the subset or none, so the metric is not computed in each fold. Its replicates are
        the jackknife pseudo-values of the folds, shifted so that their mean is the pooled value.

        Args:
            method: Name of the method.
            subset: Images to include.

        Returns:
            Replicates by key of the metric: folds that contain images of the subset, or seeds if there is only one.

        Source: Tukey, Annals of Mathematical Statistics 29(2), 1958 (pseudo-values).
        """
        folds = [fold for fold in self.folds if subset[self.data.fold_slice(fold)].any()]
        counts, resampled = zip(*(self._counts(method, fold, subset) for fold in folds), strict=True)
        if len(folds) == 1:
            values, distribution = metrics_from_counts(counts[0]), metrics_from_counts(resampled[0])
        else:
            values = pseudo_values(np.stack([by_seed.mean(axis=0) for by_seed in counts]))
            distribution = pseudo_values(np.stack([by_seed.mean(axis=0) for by_seed in resampled]))
        return {key: Replicates(values[key], distribution[key]) for key in PIXEL_METRICS}

    def _counts(self, method: str, fold: str, subset: Subset | None) -> tuple[Floats, Floats]:
        """Return the pixel counts of the seeds, shape (seeds, 4), and of the resamples, (seeds, n_resamples, 4)."""
        counts = np.stack([self.patient_counts(run, subset) for run in self.data.runs_of(method, fold)])
        weights = _weights(self.seed, self.folds.index(fold), counts.shape[1], self.n_resamples)
        if subset is not None and counts.shape[1] == 1 and self.n_patients(subset) > 1:
            weights = np.ones_like(weights)  # the only patient of this fold
        return counts.sum(axis=1), weights @ counts

    def patient_counts(self, run: RunResults, subset: Subset | None = None) -> Floats:
        """Return the pixel counts of a run, summed over the images of each patient, shape (patients, 4)."""
        included = slice(None) if subset is None else subset[self.data.fold_slice(run.fold)]
        return sum_by_patient(run.counts[included], np.array([row["patient"] for row in run.rows])[included])

    def n_patients(self, subset: Subset | None = None) -> int:
        """Return the number of patients with images in the subset."""
        patients = np.array([row["patient"] for rows in self.data.cases.values() for row in rows])
        return len(np.unique(patients if subset is None else patients[subset]))

    def effective_patients(self, subset: Subset | None = None) -> float:
        """Return the effective number of patients, (sum of w)^2 / sum of w^2 with the mass area w of each patient.

        Pooled metrics depend mainly on the patients with large masses, so the effective number is smaller than
        `n_patients`. One patient is subtracted for each fold but the first, since patients are resampled within folds.

        Args:
            subset: Images to include; None includes all.

        Returns:
            Effective number of patients, at least 2.

        Source: Kish, Survey Sampling, Wiley 1965 (effective sample size).
        """
        rows = self.data.rows
        included = range(len(rows)) if subset is None else np.flatnonzero(subset).tolist()
        areas = np.array([rows[i]["tp"] + rows[i]["fn"] for i in included], dtype=np.float64)
        by_patient = sum_by_patient(areas, [rows[i]["patient"] for i in included])
        squares = float((by_patient**2).sum())
        effective = float(by_patient.sum()) ** 2 / squares if squares else float(len(by_patient))
        return max(effective - len(self.folds) + 1, 2.0)


def pseudo_values(counts: Floats) -> dict[str, Floats]:
    """Compute the jackknife pseudo-values of metrics that are pooled over folds.

    Args:
        counts: Pixel counts of the folds, shape (folds, ..., 4), with at least two folds.

    Returns:
        Pseudo-values of shape (folds, ...) by key of the metric, shifted so that their mean is the pooled value.

    Example:
        >>> counts = np.array([[8.0, 0, 2, 90], [4.0, 0, 6, 90]])
        >>> round(float(pseudo_values(counts)["sensitivity"].mean()), 6)  # 12 of 20 mass pixels
        0.6
    """
    total = counts.sum(axis=0)
    pooled, without_fold = metrics_from_counts(total), metrics_from_counts(total - counts)
    n = len(counts)
    return {key: pooled[key] + (n - 1) * (without_fold[key].mean(axis=0) - without_fold[key]) for key in PIXEL_METRICS}


@lru_cache(maxsize=16)  # all methods share the weights of a fold and a subset of its images
def _weights(seed: int, fold_index: int, n_patients: int, n_resamples: int) -> Floats:
    return patient_bootstrap_weights(n_patients, n_resamples, np.random.default_rng([seed, fold_index, n_patients]))
