"""Bootstrap over patients for metrics computed from pixel counts.

Patients are resampled rather than images, because images of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """Pooled metrics of one method with their bootstrap distributions, each by key of the metric.

    Attributes:
        values: (runs,), one value per fold and seed.
        distribution: (n_resamples,), the mean over the runs in each resample.
    """

    values: dict[str, Floats]
    distribution: dict[str, Floats]


def patient_bootstrap_weights(n_patients: int, n_resamples: int, generator: np.random.Generator) -> Floats:
    """Draw how often each patient occurs in each bootstrap resample, with replacement.

    Args:
        n_patients: Number of patients.
        n_resamples: Number of resamples.
        generator: Source of randomness.

    Returns:
        (n_resamples, n_patients). NaN for a single patient: all resamples would be equal and the interval would have
        zero width.

    Example:
        >>> patient_bootstrap_weights(5, 2, np.random.default_rng(0)).sum(axis=1)
        array([5., 5.])
    """
    if n_patients < 2:
        return np.full((n_resamples, n_patients), np.nan)
    probabilities = np.full(n_patients, 1 / n_patients)
    return generator.multinomial(n_patients, probabilities, size=n_resamples).astype(np.float64)


def sum_by_patient(values: NDArray[Any], patients: Sequence[str] | NDArray[Any]) -> Floats:
    """Sum values over the images of each patient.

    Args:
        values: (images,) or (images, N).
        patients: (images,), the patient of each image.

    Returns:
        (patients,) or (patients, N), patients in alphabetical order.

    Example:
        >>> sum_by_patient(np.array([1, 2, 4]), ["b", "a", "b"])
        array([2., 5.])
    """
    unique_patients, index = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.zeros((len(unique_patients), *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums


def percentile_interval(distribution: Floats, confidence_level: float) -> tuple[float, float]:
    """Percentile interval of a bootstrap distribution.

    Args:
        distribution: (n_resamples,).
        confidence_level: Such as 0.95.

    Returns:
        Lower and upper end; NaN if any resample is NaN.

    Example:
        >>> percentile_interval(np.arange(101.0), 0.5)
        (25.0, 75.0)
    """
    low, high = np.quantile(distribution, [(1 - confidence_level) / 2, (1 + confidence_level) / 2])
    return float(low), float(high)
