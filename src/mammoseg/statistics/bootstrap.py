"""Bootstrap over patients for metrics that are computed from pixel counts.

Patients are resampled instead of images, because the images of a patient are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def patient_bootstrap_weights(n_patients: int, n_resamples: int, generator: np.random.Generator) -> Floats:
    """Draw bootstrap resamples of patients, with replacement.

    Args:
        n_patients: Number of patients.
        n_resamples: Number of resamples.
        generator: Random number generator.

    Returns:
        Number of occurrences of each patient in each resample, shape (n_resamples, n_patients). NaN for a single
        patient, since all resamples would be equal and the confidence interval would have zero width.

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
        values: Values of shape (images,) or (images, N).
        patients: Patient of each image, shape (images,).

    Returns:
        Sums of shape (patients,) or (patients, N); patients are in alphabetical order.

    Example:
        >>> sum_by_patient(np.array([1, 2, 4]), ["b", "a", "b"])
        array([2., 5.])
    """
    unique_patients, index = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.zeros((len(unique_patients), *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums


def percentile_interval(distribution: Floats, confidence_level: float) -> tuple[float, float]:
    """Compute the percentile confidence interval of a bootstrap distribution.

    Args:
        distribution: Value of each resample, shape (n_resamples,).
        confidence_level: Confidence level in (0, 1), such as 0.95.

    Returns:
        Lower and upper limit; NaN if the value of any resample is NaN.

    Example:
        >>> percentile_interval(np.arange(101.0), 0.5)
        (25.0, 75.0)
    """
    low, high = np.quantile(distribution, [(1 - confidence_level) / 2, (1 + confidence_level) / 2])
    return float(low), float(high)
