"""Confidence intervals and t-tests that include the variance between trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mammoseg.statistics.bootstrap import percentile_interval
from mammoseg.statistics.training_variance import TrainingVariance

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Inference:
    """Confidence interval and two-sided test of the hypothesis that a quantity is zero.

    Attributes:
        low: Lower limit of the confidence interval.
        high: Upper limit of the interval.
        standard_error: Standard error, of patients and trainings if the latter are included.
        degrees_of_freedom: Degrees of freedom of the t distribution; NaN if the variance between trainings is unknown.
        p: p-value in [0, 1]; NaN if the variance between trainings is unknown.
    """

    low: float
    high: float
    standard_error: float
    degrees_of_freedom: float = math.nan
    p: float = math.nan

    @property
    def is_test(self) -> bool:
        """Whether there is a test."""
        return not math.isnan(self.p)


def infer(
    value: float,
    distribution: Floats,
    n_patients: float,
    training: TrainingVariance | None,
    n_replicates: Sequence[int],
    confidence_level: float,
) -> Inference:
    """Compute the confidence interval of a mean over replicates or of a difference of such means, and its test.

    The variance is the sum of the bootstrap variance over patients and a multiple of the variance between trainings:
    1/n for the mean of n replicates, 1/m + 1/n for the difference of two means. The degrees of freedom are those of
    Satterthwaite's approximation, but not less than those of the variance between trainings. If the latter is unknown,
    or a mean is that of a single replicate, the interval is the percentile interval of the bootstrap, expanded as
    proposed by Hesterberg for small samples and extended to include `value`. It then only applies to the trained
    networks, and there is no test: the variance between the trainings of other methods may be another one.

    Args:
        value: Mean over the replicates, or difference of two means.
        distribution: Values in the bootstrap resamples, shape (n_resamples,).
        n_patients: Effective number of test patients, at least 2.
        training: Variance between trainings; None if unknown.
        n_replicates: Number of replicates of the mean, or of each of the two means.
        confidence_level: Confidence level in (0, 1).

    Returns:
        Interval and test.

    Source: Satterthwaite, Biometrics Bulletin 2(6), 1946; Hesterberg, The American Statistician 69(4), 2015.
    """
    correction = n_patients / (n_patients - 1)  # the bootstrap variance of a mean is smaller by this factor
    sampling = correction * float(distribution.var(ddof=1))
    if training is None or min(n_replicates) == 1:
        margin = float(stats.t.ppf((1 + confidence_level) / 2, n_patients - 1)) * math.sqrt(correction)
        expanded_level = 2 * float(stats.norm.cdf(margin)) - 1
        low, high = percentile_interval(distribution, expanded_level)
        # Without this, the interval of ΔA, an absolute value, can exclude an estimate near 0.
        return Inference(float(np.minimum(low, value)), float(np.maximum(high, value)), math.sqrt(sampling))
    factor = sum(1 / number for number in n_replicates)
    return t_test(value, (sampling, n_patients - 1), training, factor, confidence_level)


def t_test(
    value: float,
    sampling: tuple[float, float],
    training: TrainingVariance,
    factor: float,
    confidence_level: float,
) -> Inference:
    """Compute interval and test from the variance over patients and the variance between trainings.

    Args:
        value: The estimate.
        sampling: Variance over patients and its degrees of freedom.
        training: See `infer`.
        factor: Multiple of the variance between trainings in the variance of `value`.
        confidence_level: See `infer`.

    Returns:
        Interval and test; NaN if the variance is undefined.
    """
    variance = sampling[0] + factor * training.excess
    if not variance > 0:  # equal in all resamples and replicates, or undefined
        exact = Inference(value, value, 0.0, math.inf, 1.0 if value == 0 else 0.0)
        return exact if variance == 0 else Inference(math.nan, math.nan, math.nan)
    degrees_of_freedom = max(
        satterthwaite(variance, sampling, (factor * training.total, training.degrees_of_freedom)),
        training.degrees_of_freedom,
    )
    error = math.sqrt(variance)
    margin = float(stats.t.ppf((1 + confidence_level) / 2, degrees_of_freedom)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, degrees_of_freedom))
    return Inference(value - margin, value + margin, error, degrees_of_freedom, p)


def satterthwaite(variance: float, *components: tuple[float, float]) -> float:
    """Compute the approximate degrees of freedom of a sum of estimated variances.

    Args:
        variance: The sum.
        *components: Estimate and degrees of freedom of each component.

    Returns:
        Degrees of freedom.

    Example:
        >>> satterthwaite(2.0, (1.0, 10), (1.0, 10))
        20.0
    """
    return variance**2 / sum(estimate**2 / degrees_of_freedom for estimate, degrees_of_freedom in components)
