"""Comparison of methods on the same images: estimates with intervals, paired tests, ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from mammoseg.density import ACRDensity
from mammoseg.metrics import N_BINS, PIXEL_METRICS, metrics_from_counts
from mammoseg.runs.discovery import FoldSeed
from mammoseg.runs.predictions import read_calibration
from mammoseg.runs.results import ResultRow
from mammoseg.statistics.alignment import AlignedRuns
from mammoseg.statistics.bootstrap import (
    Bootstrap,
    Floats,
    patient_bootstrap_weights,
    percentile_interval,
    sum_by_patient,
)
from mammoseg.statistics.significance import PairedTest, holm, wilcoxon

N_SIZE_GROUPS = 5  # quantile groups by mass size

Subset = NDArray[np.bool_]  # (images,), True for the images to include


@dataclass(frozen=True)
class Estimate:
    """A pooled metric of one method.

    Attributes:
        value: Mean over folds and seeds.
        std: Sample standard deviation over folds and seeds; NaN for a single run.
        low: Lower end of the bootstrap interval over patients.
        high: Upper end of the interval.
    """

    value: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Difference between two methods in one metric, `first` minus `second`.

    Attributes:
        metric: Key of the metric.
        first: Name of the first method.
        second: Name of the second method.
        mean: Difference of the pooled values.
        low: Lower end of its paired bootstrap interval over patients.
        high: Upper end of the interval.
        test: Paired test over images or patients.
        p_holm: p-value of the test, corrected over all pairs of methods within the metric.
    """

    metric: str
    first: str
    second: str
    mean: float
    low: float
    high: float
    test: PairedTest
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """Statistics of a comparison, computed on first use; all methods share the resamples, so differences are paired.

    Attributes:
        data: The aligned runs.
        n_resamples: Number of bootstrap resamples.
        confidence_level: Of the intervals, such as 0.95.
        seed: Seed of the bootstrap.
        unit: Unit of the paired tests, "image" or "patient".
    """

    data: AlignedRuns
    n_resamples: int
    confidence_level: float
    seed: int
    unit: str = "image"

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return self.data.methods

    @property
    def rows(self) -> list[ResultRow]:
        """Test images of all folds, in the order of all (images,) arrays of this class."""
        return [row for rows in self.data.cases.values() for row in rows]

    @cached_property
    def density(self) -> NDArray[np.int64]:
        """(images,), ACR category 1 to 4."""
        return np.array([row["density"] for row in self.rows])

    @cached_property
    def mass_size(self) -> NDArray[np.int64]:
        """(images,), number of mass pixels."""
        return np.array([row["tp"] + row["fn"] for row in self.rows])

    def bootstrap(self, method: str, subset: Subset | None = None) -> Bootstrap:
        """Compute the pooled metrics of each run and of each resample of patients.

        Args:
            method: Name of the method.
            subset: (images,), the images to include; None includes all.

        Returns:
            Values and bootstrap distributions by key of the metric.
        """
        values, distributions = [], []
        for (fold, _), run in self.data.runs[method].items():
            included = slice(None) if subset is None else subset[self.fold_slice(fold)]
            counts = run.counts[included]
            patient_counts = sum_by_patient(counts, np.array([row["patient"] for row in run.rows])[included])
            values.append(metrics_from_counts(counts.sum(axis=0)))
            distributions.append(metrics_from_counts(self.weights(fold, len(patient_counts)) @ patient_counts))
        return Bootstrap(
            {key: np.stack([metrics[key] for metrics in values]) for key in PIXEL_METRICS},
            {key: np.mean([metrics[key] for metrics in distributions], axis=0) for key in PIXEL_METRICS},
        )

    def weights(self, fold: str, n_patients: int) -> Floats:
        """Bootstrap weights (n_resamples, n_patients) of a fold, equal for all methods."""
        return _bootstrap_weights(self.seed, list(self.data.cases).index(fold), n_patients, self.n_resamples)

    def fold_slice(self, fold: str) -> slice:
        """Slice of the images of `fold` in (images,) arrays."""
        start = 0
        for name, rows in self.data.cases.items():
            if name == fold:
                return slice(start, start + len(rows))
            start += len(rows)
        raise KeyError(fold)

    def estimates(self, method: str, subset: Subset | None = None) -> dict[str, Estimate]:
        """Estimate each metric of a method, with its interval.

        Args:
            method: Name of the method.
            subset: (images,), the images to include; None includes all.

        Returns:
            Estimates by key of the metric.
        """
        bootstrap = self.bootstraps[method] if subset is None else self.bootstrap(method, subset)
        return {
            key: Estimate(
                float(values.mean()),
                float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
                *percentile_interval(bootstrap.distribution[key], self.confidence_level),
            )
            for key, values in bootstrap.values.items()
        }

    @cached_property
    def bootstraps(self) -> dict[str, Bootstrap]:
        """Bootstrap over all images, by method."""
        return {method: self.bootstrap(method) for method in self.methods}

    @cached_property
    def overall(self) -> dict[str, dict[str, Estimate]]:
        """Estimates over all images, by method and metric."""
        return {method: self.estimates(method) for method in self.methods}

    @cached_property
    def by_density(self) -> dict[int, dict[str, dict[str, Estimate]]]:
        """Estimates by ACR category, method and metric, for the categories with test images in every fold."""
        estimates: dict[int, dict[str, dict[str, Estimate]]] = {}
        for category in ACRDensity:
            subset = self.density == category
            if all(subset[self.fold_slice(fold)].any() for fold in self.data.cases):
                estimates[category] = {method: self.estimates(method, subset) for method in self.methods}
        return estimates

    @cached_property
    def by_image(self) -> dict[str, dict[str, Floats]]:
        """Values (images,) by method and metric, each the mean over the seeds of the image's fold."""
        by_method: dict[str, dict[str, Floats]] = {}
        for method, runs in self.data.runs.items():
            folds = [
                [metrics_from_counts(run.counts) for (run_fold, _), run in runs.items() if run_fold == fold]
                for fold in self.data.cases
            ]
            by_method[method] = {
                key: np.concatenate([np.mean([values[key] for values in seeds], axis=0) for seeds in folds])
                for key in PIXEL_METRICS
            }
        return by_method

    @cached_property
    def by_unit(self) -> dict[str, dict[str, Floats]]:
        """Values (units,) by method and metric: `by_image`, or its mean over each patient's images."""
        if self.unit == "image":
            return self.by_image
        patients = [row["patient"] for row in self.rows]
        n_images = sum_by_patient(np.ones(len(patients)), patients)
        return {
            method: {key: sum_by_patient(column, patients) / n_images for key, column in values.items()}
            for method, values in self.by_image.items()
        }

    @cached_property
    def differences(self) -> list[Difference]:
        """Differences between all pairs of methods in all metrics."""
        differences = []
        pairs = list(combinations(self.methods, 2))
        for metric in PIXEL_METRICS:
            tests = [wilcoxon(self.by_unit[a][metric], self.by_unit[b][metric]) for a, b in pairs]
            corrected = holm([test.p for test in tests]) if tests else []
            for (first, second), test, p_holm in zip(pairs, tests, corrected, strict=True):
                mean = self.overall[first][metric].value - self.overall[second][metric].value
                minuend, subtrahend = (self.bootstraps[name].distribution[metric] for name in (first, second))
                low, high = percentile_interval(minuend - subtrahend, self.confidence_level)
                differences.append(Difference(metric, first, second, mean, low, high, test, p_holm))
        return differences

    @cached_property
    def fold_seed_scores(self) -> tuple[list[FoldSeed], Floats]:
        """The (fold, seed) pairs that all methods have in common, and the pooled DSC (pairs, methods)."""
        fold_seeds = self.data.common_fold_seeds
        scores = [
            [
                float(metrics_from_counts(self.data.runs[method][fold_seed].counts.sum(axis=0))["dsc"])
                for method in self.methods
            ]
            for fold_seed in fold_seeds
        ]
        return fold_seeds, np.array(scores, dtype=np.float64).reshape(len(fold_seeds), len(self.methods))

    @cached_property
    def win_rate(self) -> dict[str, float]:
        """Fraction of bootstrap resamples in which each method has the highest pooled DSC."""
        dsc = np.stack([self.bootstraps[method].distribution["dsc"] for method in self.methods], axis=1)
        wins = np.bincount(dsc.argmax(axis=1), minlength=len(self.methods)) / len(dsc)
        return dict(zip(self.methods, wins.tolist(), strict=True))

    @cached_property
    def size_groups(self) -> list[tuple[str, Subset]]:
        """Label and images of each quantile group by mass size in pixels, smallest masses first."""
        edges = np.unique(np.quantile(self.mass_size, np.linspace(0, 1, N_SIZE_GROUPS + 1)))
        groups = []
        for i, (low, high) in enumerate(pairwise(edges)):
            is_last = i == len(edges) - 2
            subset = (self.mass_size >= low) & ((self.mass_size <= high) if is_last else (self.mass_size < high))
            if subset.any():
                groups.append((f"{self.mass_size[subset].min()}–{self.mass_size[subset].max()}", subset))
        return groups

    @cached_property
    def reliability(self) -> dict[str, Floats]:
        """Calibration tables (10, 3) summed over runs, by method; only methods whose runs all have one."""
        tables = {}
        for method, runs in self.data.runs.items():
            files = [run.folder.calibration for run in runs.values()]
            if all(path.is_file() for path in files):
                tables[method] = sum((read_calibration(path) for path in files), np.zeros((N_BINS, 3)))
        return tables


@lru_cache(maxsize=16)  # the folds of one subset of the images, shared by all methods
def _bootstrap_weights(seed: int, fold_index: int, n_patients: int, n_resamples: int) -> Floats:
    return patient_bootstrap_weights(n_patients, n_resamples, np.random.default_rng([seed, fold_index, n_patients]))


def argbest(values: Sequence[float], metric: str) -> set[int]:
    """Find the best values of a metric.

    Args:
        values: One value per method; NaN is ignored.
        metric: Key of the metric, which determines the direction.

    Returns:
        Indices of the best values. Several if they are equal at the displayed precision of two decimals; empty if all
        values are NaN.

    Example:
        >>> argbest([0.50001, 0.50002, 0.4], "dsc") == {0, 1}
        True
    """
    decimals = 4 if PIXEL_METRICS[metric].unit == "%" else 2
    array = np.round(np.asarray(values, dtype=np.float64), decimals)
    if np.isnan(array).all():
        return set()
    best = np.nanmax(array) if PIXEL_METRICS[metric].higher_is_better else np.nanmin(array)
    return set(np.flatnonzero(array == best).tolist())
