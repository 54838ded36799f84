"""Bootstrap over patients of metrics on pixel counts. Arrays in, arrays out.

Images of one patient are not independent, so patients are resampled.
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
    """One method's pooled metrics and their bootstrap distribution, both by key of the metric.

    Attributes:
        values: (runs,), one value per fold and seed.
        draws: (resamples,), each the mean over the runs.
    """

    values: dict[str, Floats]
    draws: dict[str, Floats]


def patient_bootstrap_weights(patients: int, resamples: int, generator: np.random.Generator) -> Floats:
    """How often each patient is drawn in each resample, with replacement.

    Returns:
        (resamples, patients); NaN for a single patient, whose resamples would all be equal and suggest certainty.
    """
    if patients < 2:
        return np.full((resamples, patients), np.nan)
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=resamples).astype(np.float64)


def sum_by_patient(values: NDArray[Any], patients: Sequence[str] | NDArray[Any]) -> Floats:
    """Sum over each patient's images.

    Args:
        values: (images,) or (images, N).
        patients: (images,).

    Returns:
        (patients,) or (patients, N), patients in alphabetical order.
    """
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    summed = np.zeros((len(names), *values.shape[1:]))
    np.add.at(summed, index, values)
    return summed


def percentile_interval(draws: Floats, level: float) -> tuple[float, float]:
    """Percentile interval of the draws (resamples,); NaN if one of them is."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
