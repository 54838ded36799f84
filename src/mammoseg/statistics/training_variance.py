"""Variance between independent trainings of the same method, beyond that due to the sampling of test patients.

The networks of a method differ by their random seed and, in cross-validation, by their training set. A conclusion about
methods, rather than about the trained networks at hand, has to account for this variance. It is estimated from the
spread of the replicates of each method, pooled over all methods, since a few replicates alone determine it poorly.

The spread of the replicates also contains the part of their differences that is due to the test patients at hand. This
part is already included in the bootstrap variance of the compared values; the bootstrap estimates it, and it is
subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mammoseg.statistics.replicates import Floats, Replicates


@dataclass(frozen=True)
class TrainingVariance:
    """Variance between replicates.

    Attributes:
        total: Variance between the replicates of a method on the test patients at hand.
        sampling: Part of it that is expected from the sampling of the test patients, estimated by the bootstrap.
        degrees_of_freedom: Degrees of freedom of `total`.
    """

    total: float
    sampling: float
    degrees_of_freedom: int

    @property
    def excess(self) -> float:
        """Variance beyond the sampling of test patients, not negative."""
        return max(0.0, self.total - self.sampling)


def variance_between_seeds(methods: Sequence[Replicates]) -> TrainingVariance | None:
    """Estimate the variance between the seeds of a method on a fixed test set.

    Args:
        methods: Replicates of each method; their numbers can differ.

    Returns:
        Variance pooled over the methods; None if every method has a single seed.

    Example:
        >>> resamples = np.zeros((2, 10))
        >>> methods = [Replicates(np.array([0.5, 0.7]), resamples), Replicates(np.array([0.6, 0.6]), resamples)]
        >>> round(variance_between_seeds(methods).total, 6)
        0.01
    """
    values = [_without_mean(replicates.values[:, None]) for replicates in methods]
    resampled = [_without_mean(replicates.distribution) for replicates in methods]
    return _residual_variance(values, resampled, sum(len(replicates) - 1 for replicates in methods))


def variance_between_folds(methods: Sequence[Replicates]) -> TrainingVariance | None:
    """Estimate the variance of differences between methods over the folds of a cross-validation.

    Effects of the folds that are common to all methods cancel in differences; they are removed, as in a two-way
    analysis of variance of methods and folds without interaction.

    Args:
        methods: Replicates of each method, one per fold, in the same order of folds.

    Returns:
        Residual variance; None for a single method or a single fold.
    """
    values = np.stack([replicates.values[:, None] for replicates in methods])
    resampled = np.stack([replicates.distribution for replicates in methods])
    degrees_of_freedom = (values.shape[0] - 1) * (values.shape[1] - 1)
    return _residual_variance(
        list(_without_mean(values, axis=(0, 1))), list(_without_mean(resampled, axis=(0, 1))), degrees_of_freedom
    )


def variance_within_methods(methods: Sequence[Replicates]) -> TrainingVariance | None:
    """Estimate the variance of a method over the folds of a cross-validation.

    Unlike in `variance_between_folds`, effects that are common to all methods are included, since they do not cancel in
    the mean of a single method. They also make the methods dependent, so further methods do not add degrees of freedom.

    Args:
        methods: Replicates of each method, one per fold.

    Returns:
        Variance averaged over the methods; None for a single fold.
    """
    pooled = variance_between_seeds(methods)
    return pooled and TrainingVariance(pooled.total, pooled.sampling, len(methods[0]) - 1)


def _without_mean(array: Floats, axis: tuple[int, ...] = (0,)) -> Floats:
    """Subtract the means along each of the axes in turn."""
    for i in axis:
        array = array - array.mean(axis=i, keepdims=True)
    return array


def _residual_variance(
    values: Sequence[Floats], resampled: Sequence[Floats], degrees_of_freedom: int
) -> TrainingVariance | None:
    """Return the variance of residuals (replicates, 1), and the bootstrap estimate of the part due to sampling.

    The residuals of resample i minus the original ones are the deviations that another sample of patients causes.
    """
    if degrees_of_freedom < 1:
        return None
    total = sum(float((residuals**2).sum()) for residuals in values)
    deviations = [
        ((resamples - residuals) ** 2).sum(axis=0) for residuals, resamples in zip(values, resampled, strict=True)
    ]
    sampling = float(np.mean(np.sum(deviations, axis=0)))
    return TrainingVariance(total / degrees_of_freedom, sampling / degrees_of_freedom, degrees_of_freedom)
