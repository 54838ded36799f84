"""Comparison of methods on the same test images: confidence intervals, paired tests and ranking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mammoseg.density import ACRDensity
from mammoseg.metrics import N_CALIBRATION_BINS, PIXEL_METRICS, metrics_from_counts
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
from mammoseg.statistics.ranking import win_rates
from mammoseg.statistics.significance import PairedTest, holm, wilcoxon

N_SIZE_GROUPS = 5  # number of quantile groups by mass size

Subset = NDArray[np.bool_]  # boolean mask of images, shape (images,)


@dataclass(frozen=True)
class Estimate:
    """Estimate of a pooled metric of a method.

    Attributes:
        value: Mean over folds and seeds.
        std: Sample standard deviation over folds and seeds; NaN for a single run.
        low: Lower limit of the bootstrap confidence interval (over patients).
        high: Upper limit of the interval.
    """

    value: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Difference between two methods in a metric, `first` minus `second`.

    Attributes:
        metric: Key of the metric.
        first: Name of the first method.
        second: Name of the second method.
        value: Difference of the pooled values.
        low: Lower limit of the paired bootstrap confidence interval (over patients).
        high: Upper limit of the interval.
        test: Paired test over images or patients.
        p_holm: p-value of the test, Holm-corrected over all pairs of methods.
    """

    metric: str
    first: str
    second: str
    value: float
    low: float
    high: float
    test: PairedTest
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """Statistics of a comparison of methods, computed when first accessed.

    All methods are evaluated on the same bootstrap resamples, so that intervals of differences are paired.

    Attributes:
        data: Aligned runs.
        n_resamples: Number of bootstrap resamples.
        confidence_level: Confidence level of the intervals in (0, 1), such as 0.95.
        seed: Random seed of the bootstrap.
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
        """Test images of all folds; arrays of shape (images,) have this order."""
        return [row for rows in self.data.cases.values() for row in rows]

    @cached_property
    def density(self) -> NDArray[np.int64]:
        """ACR category of each image, 1 to 4, shape (images,)."""
        return np.array([row["density"] for row in self.rows])

    @cached_property
    def mass_size(self) -> NDArray[np.int64]:
        """Number of mass pixels of each image, shape (images,)."""
        return np.array([row["tp"] + row["fn"] for row in self.rows])

    def bootstrap(self, method: str, subset: Subset | None = None) -> Bootstrap:
        """Compute the pooled metrics of all runs of a method, and their bootstrap distributions over patients.

        Args:
            method: Name of the method.
            subset: Images to include; None includes all.

        Returns:
            Values and bootstrap distributions.
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
        """Return the bootstrap weights of a fold, shape (n_resamples, n_patients), which are equal for all methods."""
        return _bootstrap_weights(self.seed, list(self.data.cases).index(fold), n_patients, self.n_resamples)

    def fold_slice(self, fold: str) -> slice:
        """Return the slice of the images of a fold in arrays of shape (images,)."""
        index = list(self.data.cases).index(fold)
        ends = np.cumsum([0, *map(len, self.data.cases.values())]).tolist()
        return slice(*ends[index : index + 2])

    def estimates(self, method: str, subset: Subset | None = None) -> dict[str, Estimate]:
        """Estimate all metrics of a method, with confidence intervals.

        Args:
            method: Name of the method.
            subset: Images to include; None includes all.

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
        """Bootstrap distributions over all images, by method."""
        return {method: self.bootstrap(method) for method in self.methods}

    @cached_property
    def overall(self) -> dict[str, dict[str, Estimate]]:
        """Estimates over all images, by method and metric."""
        return {method: self.estimates(method) for method in self.methods}

    @cached_property
    def by_density(self) -> dict[int, dict[str, dict[str, Estimate]]]:
        """Estimates by ACR category, method and metric; only categories with test images in every fold."""
        estimates: dict[int, dict[str, dict[str, Estimate]]] = {}
        for category in ACRDensity:
            subset = self.density == category
            if all(subset[self.fold_slice(fold)].any() for fold in self.data.cases):
                estimates[category] = {method: self.estimates(method, subset) for method in self.methods}
        return estimates

    @cached_property
    def by_image(self) -> dict[str, dict[str, Floats]]:
        """Values of shape (images,), averaged over seeds, by method and metric."""
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
        """Samples of the paired tests by method and metric: `by_image`, or its means over the images of patients."""
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
        """Differences of all metrics between all pairs of methods."""
        differences = []
        pairs = list(combinations(self.methods, 2))
        for metric in PIXEL_METRICS:
            tests = [wilcoxon(self.by_unit[a][metric], self.by_unit[b][metric]) for a, b in pairs]
            corrected = holm([test.p for test in tests]) if tests else []
            for (first, second), test, p_holm in zip(pairs, tests, corrected, strict=True):
                value = self.overall[first][metric].value - self.overall[second][metric].value
                minuend, subtrahend = (self.bootstraps[name].distribution[metric] for name in (first, second))
                low, high = percentile_interval(minuend - subtrahend, self.confidence_level)
                differences.append(Difference(metric, first, second, value, low, high, test, p_holm))
        return differences

    @cached_property
    def fold_seed_scores(self) -> tuple[list[FoldSeed], Floats]:
        """(fold, seed) pairs for which all methods have a run, and their pooled DSC, shape (pairs, methods)."""
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
        """Fraction of bootstrap resamples in which each method has the highest pooled DSC; see `win_rates`."""
        dsc = np.stack([self.bootstraps[method].distribution["dsc"] for method in self.methods], axis=1)
        return dict(zip(self.methods, win_rates(dsc).tolist(), strict=True))

    @cached_property
    def size_groups(self) -> list[tuple[str, Subset]]:
        """Label (range in pixels) and images of each quantile group by mass size, in increasing order."""
        edges = np.unique(np.quantile(self.mass_size, np.linspace(0, 1, N_SIZE_GROUPS + 1)))
        group = np.searchsorted(edges[1:-1], self.mass_size, side="right")
        groups = []
        for subset in (group == i for i in np.unique(group)):
            low, high = self.mass_size[subset].min(), self.mass_size[subset].max()
            groups.append((f"{low}–{high}" if low < high else f"{low}", subset))
        return groups

    @cached_property
    def reliability(self) -> dict[str, Floats]:
        """Sums of the reliability diagram over all runs, shape (10, 3), by method.

        Methods are omitted if calibration.csv is missing for any of their runs.
        """
        tables = {}
        for method, runs in self.data.runs.items():
            files = [run.folder.calibration for run in runs.values()]
            if all(path.is_file() for path in files):
                tables[method] = sum((read_calibration(path) for path in files), np.zeros((N_CALIBRATION_BINS, 3)))
        return tables


@lru_cache(maxsize=16)  # all methods share the weights of a fold and a subset of its images
def _bootstrap_weights(seed: int, fold_index: int, n_patients: int, n_resamples: int) -> Floats:
    return patient_bootstrap_weights(n_patients, n_resamples, np.random.default_rng([seed, fold_index, n_patients]))
