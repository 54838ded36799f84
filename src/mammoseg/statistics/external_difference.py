"""Differences between the results on another dataset and those on the dataset of the training.

The same networks are tested on different images, so the test patients of both datasets are resampled independently. The
difference is computed for each training (seed or fold), so effects of a training on both results are accounted for, and
the variance between trainings is that of these differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mammoseg.metrics import PIXEL_METRICS, metrics_from_counts
from mammoseg.runs.discovery import RunResults
from mammoseg.runs.settings import covers, varying
from mammoseg.statistics.bootstrap import patient_bootstrap_weights
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.inference import Inference, infer
from mammoseg.statistics.replicates import Floats, Replicates
from mammoseg.statistics.training_variance import variance_between_seeds, variance_within_methods

Pair = tuple[RunResults, RunResults]  # internal and external test of the same network


@dataclass(frozen=True)
class ExternalDifference:
    """Difference between the external and the internal value of a pooled metric of a method.

    Attributes:
        method: Name of the method in the external comparison.
        trained_on: Dataset of the training and of the internal test.
        tested_on: Dataset of the external test.
        metric: Key of the metric.
        internal: Mean over the trainings of the internal values.
        external: The same of the external values.
        inference: Confidence interval and test of the difference, external minus internal.
        n_trainings: Number of seeds or, in cross-validation, of folds.
    """

    method: str
    trained_on: str
    tested_on: str
    metric: str
    internal: float
    external: float
    inference: Inference
    n_trainings: int

    @property
    def value(self) -> float:
        """External minus internal value."""
        return self.external - self.internal


@dataclass(frozen=True)
class PairedTests:
    """Internal and external values of a method, by key of the metric.

    Attributes:
        internal: Replicates on the dataset of the training.
        external: Replicates of the same trainings on the other dataset.
    """

    internal: dict[str, Replicates]
    external: dict[str, Replicates]

    def difference(self, metric: str) -> Replicates:
        """Return the replicates of the difference, external minus internal."""
        first, second = self.internal[metric], self.external[metric]
        return Replicates(second.values - first.values, second.distribution - first.distribution)


def external_differences(internal: Comparison, external: Comparison) -> list[ExternalDifference]:
    """Compare the results of the methods on another dataset with those on the dataset of their training.

    Args:
        internal: Comparison of tests on the dataset of the training.
        external: Comparison that contains tests of the same networks on another dataset.

    Returns:
        Differences of all metrics for each method with both tests of at least one network.
    """
    tests: dict[tuple[str, str], PairedTests] = {}
    for method in external.methods:
        for name in internal.methods:
            if pairs := pairs_of_tests(internal, external, name, method):
                tests[name, method] = resample_pairs(pairs, internal, external)
    n_patients = min(internal.resampler.effective_patients(), external.resampler.effective_patients())
    variance = variance_within_methods if internal.is_cross_validation else variance_between_seeds
    differences = []
    for metric in PIXEL_METRICS:
        replicates = {key: paired.difference(metric) for key, paired in tests.items()}
        most = max(map(len, replicates.values()), default=0)
        complete = [own for own in replicates.values() if len(own) == most or not internal.is_cross_validation]
        training = variance(complete) if complete else None
        for key, own in replicates.items():
            inference = infer(
                own.mean, own.mean_distribution, n_patients, training, [len(own)], external.confidence_level
            )
            first, second = (by_metric[metric].mean for by_metric in (tests[key].internal, tests[key].external))
            names = (key[1], internal.data.dataset, external.data.dataset, metric)
            differences.append(ExternalDifference(*names, first, second, inference, len(own)))
    return differences


def pairs_of_tests(internal: Comparison, external: Comparison, name: str, method: str) -> list[Pair]:
    """Find the internal and the external tests of the same networks.

    Args:
        internal: See `external_differences`.
        external: See `external_differences`.
        name: Method of the internal comparison.
        method: Method of the external comparison.

    Returns:
        Pairs of runs; empty if the methods differ in their settings or in the dataset of the training.
    """
    tests = {training_key(run): run for run in internal.data.runs[name].values() if not run.is_external}
    return [
        (tests[key], run)
        for run in external.data.runs[method].values()
        if run.is_external and (key := training_key(run)) in tests and is_same_method(tests[key], run)
    ]


def training_key(run: RunResults) -> tuple[str, ...]:
    """Return what identifies the training of a method: dataset, seed of the split, fold and seed."""
    row = run.rows[0]
    return run.trained_on, run.split_seed, str(row["method"]), str(row["fold"]), str(row["seed"])


def is_same_method(internal: RunResults, external: RunResults) -> bool:
    """Return whether two tests are of the same method, with the same threshold and test-time augmentation.

    An ensemble that predicts the images of its own dataset with fewer networks is another method there.
    """
    if internal.is_ensemble and numbers_of_networks(internal) != numbers_of_networks(external):
        return False
    same_flips = bool(internal.setting("tta", False)) == bool(external.setting("tta", False))
    different = varying([internal.settings, external.settings])
    return same_flips and all(covers("dataset.source", key) for key in different)  # not read from checkpoints


def numbers_of_networks(run: RunResults) -> set[Any]:
    """Return the numbers of networks that predicted the images; None for results without this column."""
    return {row.get("networks") for row in run.rows}


def resample_pairs(pairs: Sequence[Pair], internal: Comparison, external: Comparison) -> PairedTests:
    """Compute the replicates of the internal and the external tests of a method.

    Args:
        pairs: Internal and external test of each network.
        internal: See `external_differences`.
        external: See `external_differences`.

    Returns:
        One replicate for each seed or, in cross-validation, for each fold, with means over the seeds of a fold.
    """
    resampler = external.resampler
    external_weights = _weights(external, (1,), len(resampler.patient_counts(pairs[0][1])))
    by_replicate: dict[str, list[tuple[dict[str, Floats], dict[str, Floats]]]] = {}
    for run, external_run in pairs:
        counts = internal.resampler.patient_counts(run)
        weights = _weights(internal, (0, internal.resampler.folds.index(run.fold)), len(counts))
        key = run.fold if internal.is_cross_validation else run.fold_seed[1]
        pair = (_pooled(counts, weights), _pooled(resampler.patient_counts(external_run), external_weights))
        by_replicate.setdefault(key, []).append(pair)
    return PairedTests(*(_replicates([[pair[i] for pair in group] for group in by_replicate.values()]) for i in (0, 1)))


def _weights(comparison: Comparison, key: tuple[int, ...], n_patients: int) -> Floats:
    """Draw resamples of patients; those of different keys are independent."""
    generator = np.random.default_rng([comparison.seed, *key, n_patients])
    return patient_bootstrap_weights(n_patients, comparison.n_resamples, generator)


def _pooled(counts: Floats, weights: Floats) -> dict[str, Floats]:
    """Return the value of each metric followed by its values in the resamples, shape (1 + n_resamples,)."""
    return metrics_from_counts(np.concatenate([counts.sum(axis=0)[None], weights @ counts]))


def _replicates(groups: Sequence[Sequence[dict[str, Floats]]]) -> dict[str, Replicates]:
    """Convert the values of the networks of each replicate to replicates by metric."""
    means = {
        key: np.stack([np.mean([values[key] for values in group], axis=0) for group in groups]) for key in PIXEL_METRICS
    }
    return {key: Replicates(values[:, 0], values[:, 1:]) for key, values in means.items()}
