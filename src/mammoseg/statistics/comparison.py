"""Comparison of methods on the same test images: confidence intervals and tests.

See docs/methods.md for the statistical methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mammoseg.density import ACRDensity
from mammoseg.metrics import PIXEL_METRICS, metrics_from_counts
from mammoseg.runs.discovery import FoldSeed
from mammoseg.runs.results import ResultRow
from mammoseg.statistics.alignment import AlignedRuns
from mammoseg.statistics.bootstrap import sum_by_patient
from mammoseg.statistics.inference import Inference, infer
from mammoseg.statistics.replicates import Floats, Replicates, Resampler, Subset
from mammoseg.statistics.significance import holm, rank_biserial
from mammoseg.statistics.training_variance import (
    TrainingVariance,
    variance_between_folds,
    variance_between_seeds,
    variance_within_methods,
)

N_SIZE_GROUPS = 5  # number of quantile groups by mass size


@dataclass(frozen=True)
class Estimate:
    """Estimate of a pooled metric of a method.

    Attributes:
        value: Mean over folds and seeds.
        std: Sample standard deviation over folds and seeds; NaN for a single run.
        low: Lower limit of the confidence interval.
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
        inference: Confidence interval and test.
        p_holm: p-value with Holm's correction for the number of differences in the same family.
        median: Median over patients of the difference between the patients' means.
        effect_size: Matched-pairs rank-biserial correlation over patients, in [-1, 1].
    """

    metric: str
    first: str
    second: str
    value: float
    inference: Inference
    p_holm: float
    median: float
    effect_size: float


@dataclass(frozen=True)
class Comparison:
    """Statistics of a comparison of methods, computed when first accessed.

    Test patients are resampled with the same bootstrap resamples for all methods, so that differences are paired. For
    methods with several seeds or folds, intervals and tests include the variance between trainings and are about
    methods. Intervals of a method with a single run are about the trained network, and it is not tested.

    Attributes:
        data: Aligned runs.
        n_resamples: Number of bootstrap resamples.
        confidence_level: Confidence level of the intervals in (0, 1), such as 0.95.
        seed: Random seed of the bootstrap.
    """

    data: AlignedRuns
    n_resamples: int
    confidence_level: float
    seed: int

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return self.data.methods

    @property
    def rows(self) -> list[ResultRow]:
        """Test images of all folds; arrays of shape (images,) have this order."""
        return self.data.rows

    @property
    def is_cross_validation(self) -> bool:
        """Whether there are several folds."""
        return len(self.data.cases) > 1

    @cached_property
    def density(self) -> NDArray[np.int64]:
        """ACR category of each image, 1 to 4, shape (images,)."""
        return np.array([row["density"] for row in self.rows])

    @cached_property
    def mass_size(self) -> NDArray[np.int64]:
        """Number of mass pixels of each image, shape (images,)."""
        return np.array([row["tp"] + row["fn"] for row in self.rows])

    @cached_property
    def has_mass(self) -> Subset:
        """Whether each image contains a mass, shape (images,)."""
        return self.mass_size > 0

    @cached_property
    def is_about_methods(self) -> bool:
        """Whether the variance between trainings is known for at least one method."""
        return self.training_variance(next(iter(PIXEL_METRICS))) is not None

    @cached_property
    def resampler(self) -> Resampler:
        """Bootstrap of the test patients."""
        return Resampler(self.data, self.n_resamples, self.seed)

    @cached_property
    def run_values(self) -> dict[str, dict[str, Floats]]:
        """Pooled values of the runs, shape (runs,), by method and metric."""
        return self._run_values(None)

    def _run_values(self, subset: Subset | None) -> dict[str, dict[str, Floats]]:
        """Return the pooled values of the runs over a subset of the images; NaN for runs without such images."""
        return {
            method: metrics_from_counts(
                np.stack([self.resampler.patient_counts(run, subset).sum(axis=0) for run in runs.values()])
            )
            for method, runs in self.data.runs.items()
        }

    @cached_property
    def replicates(self) -> dict[str, dict[str, Replicates]]:
        """Replicates over all images by metric and method: seeds or, in cross-validation, folds."""
        return _by_metric({method: self.resampler.replicates(method) for method in self.methods})

    @cached_property
    def overall(self) -> dict[str, dict[str, Estimate]]:
        """Estimates over all images, by method and metric."""
        return self._estimates(self.replicates, self.is_cross_validation)

    @cached_property
    def by_density(self) -> dict[int, dict[str, dict[str, Estimate]]]:
        """Estimates by ACR category, method and metric, for the categories that occur; pooled over the folds."""
        subsets = {category: self.density == category for category in ACRDensity}
        return {category: self.estimates_of(subset) for category, subset in subsets.items() if subset.any()}

    def estimates_of(self, subset: Subset) -> dict[str, dict[str, Estimate]]:
        """Return the estimates over a subset of the images, which is not empty, by method and metric.

        Counts are pooled over the folds.
        """
        pooled = {method: self.resampler.pooled_replicates(method, subset) for method in self.methods}
        n_folds = sum(bool(subset[self.data.fold_slice(fold)].any()) for fold in self.data.cases)
        return self._estimates(_by_metric(pooled), n_folds > 1, subset)

    def _estimates(
        self, replicates: Mapping[str, Mapping[str, Replicates]], are_folds: bool, subset: Subset | None = None
    ) -> dict[str, dict[str, Estimate]]:
        """Return the estimates by method and metric from replicates by metric and method."""
        estimates: dict[str, dict[str, Estimate]] = {method: {} for method in self.methods}
        run_values = self.run_values if subset is None else self._run_values(subset)
        for key, by_method in replicates.items():
            variance = variance_within_methods if are_folds else variance_between_seeds
            training = variance(list(by_method.values()))
            for method, own in by_method.items():
                inference = self._infer(own.mean, own.mean_distribution, training, [len(own)], subset)
                runs = run_values[method][key]
                std = float(runs.std(ddof=1)) if len(runs) > 1 else float("nan")
                limits = np.clip([inference.low, inference.high], *PIXEL_METRICS[key].value_range).tolist()
                estimates[method][key] = Estimate(own.mean, std, *limits)
        return estimates

    def _infer(
        self,
        value: float,
        distribution: Floats,
        training: TrainingVariance | None,
        n_replicates: Sequence[int],
        subset: Subset | None = None,
    ) -> Inference:
        """Compute an interval and a test."""
        n_patients = self.resampler.effective_patients(subset)
        return infer(value, distribution, n_patients, training, n_replicates, self.confidence_level)

    def training_variance(self, metric: str) -> TrainingVariance | None:
        """Return the variance between trainings in differences of a metric; None if it cannot be estimated.

        It requires several folds, or several seeds of at least one method.
        """
        replicates = list(self.replicates[metric].values())
        return (variance_between_folds if self.is_cross_validation else variance_between_seeds)(replicates)

    def differences(self, metric: str, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
        """Compare pairs of methods, with Holm's correction for the number of pairs that are tested.

        Args:
            metric: Key of the metric.
            pairs: Names of the methods; the difference is the first minus the second.

        Returns:
            One difference per pair.
        """
        training = self.training_variance(metric)
        differences = []
        for first, second in pairs:
            a, b = self.replicates[metric][first], self.replicates[metric][second]
            value = a.mean - b.mean
            # In cross-validation, the residual variance is that of the difference in one fold, divided by two.
            inference = self._infer(value, a.mean_distribution - b.mean_distribution, training, [len(a), len(b)])
            x, y = self.by_patient[first][metric], self.by_patient[second][metric]
            median = float(np.nanmedian(x - y)) if (x == x).any() else float("nan")
            differences.append(
                Difference(metric, first, second, value, inference, inference.p, median, rank_biserial(x, y))
            )
        corrected = holm([difference.inference.p for difference in differences])
        return [replace(difference, p_holm=p) for difference, p in zip(differences, corrected, strict=True)]

    @cached_property
    def all_differences(self) -> list[Difference]:
        """Differences of all metrics between all pairs of methods, corrected within each metric."""
        pairs = list(combinations(self.methods, 2))
        return [difference for metric in PIXEL_METRICS for difference in self.differences(metric, pairs)]

    @cached_property
    def by_image(self) -> dict[str, dict[str, Floats]]:
        """Values of shape (images,), averaged over seeds, by method and metric; NaN for images without a mass."""
        by_method: dict[str, dict[str, Floats]] = {}
        for method in self.methods:
            folds = [
                [metrics_from_counts(run.counts) for run in self.data.runs_of(method, fold)] for fold in self.data.cases
            ]
            means = {
                key: np.concatenate([np.mean([values[key] for values in seeds], axis=0) for seeds in folds])
                for key in PIXEL_METRICS
            }
            by_method[method] = {key: np.where(self.has_mass, values, np.nan) for key, values in means.items()}
        return by_method

    @cached_property
    def by_patient(self) -> dict[str, dict[str, Floats]]:
        """Means of `by_image` over the images with a mass of each patient with a mass, shape (patients,)."""
        patients = np.array([row["patient"] for row in self.rows])[self.has_mass]
        n_images = sum_by_patient(np.ones(len(patients)), patients)
        return {
            method: {key: sum_by_patient(column[self.has_mass], patients) / n_images for key, column in values.items()}
            for method, values in self.by_image.items()
        }

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
    def size_groups(self) -> list[tuple[str, Subset]]:
        """Label (range in pixels) and images of each quantile group by mass size, of the images with a mass."""
        if not self.has_mass.any():
            return []
        edges = np.unique(np.quantile(self.mass_size[self.has_mass], np.linspace(0, 1, N_SIZE_GROUPS + 1)))
        group = np.searchsorted(edges[1:-1], self.mass_size, side="right")
        groups = []
        for subset in ((group == i) & self.has_mass for i in np.unique(group[self.has_mass])):
            low, high = self.mass_size[subset].min(), self.mass_size[subset].max()
            groups.append((f"{low}–{high}" if low < high else f"{low}", subset))
        return groups


def _by_metric(by_method: Mapping[str, Mapping[str, Replicates]]) -> dict[str, dict[str, Replicates]]:
    return {key: {method: by_key[key] for method, by_key in by_method.items()} for key in PIXEL_METRICS}
