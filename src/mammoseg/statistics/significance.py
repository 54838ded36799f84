"""Holm correction and effect size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def rank_biserial(first: Floats, second: Floats) -> float:
    """Compute the matched-pairs rank-biserial correlation, the effect size of the Wilcoxon signed-rank test.

    Pairs that contain NaN and pairs without a difference are ignored.

    Args:
        first: Values of the first method, one per patient, shape (N,).
        second: Values of the second method for the same patients, shape (N,).

    Returns:
        Correlation in [-1, 1]: 1 if the first value is larger in all pairs, -1 if the second value is larger in all
        pairs, 0 if there are no differences.

    Source: Kerby, Comprehensive Psychology 3, 2014.

    Example:
        >>> rank_biserial(np.array([0.8, 0.7, 0.9, 0.6]), np.array([0.5, 0.5, 0.5, 0.5]))
        1.0
    """
    differences = first - second
    nonzero = differences[~np.isnan(differences) & (differences != 0)]
    if len(nonzero) == 0:
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple comparisons with Holm's step-down method.

    Args:
        p_values: Unadjusted p-values of a family of tests; NaN for comparisons without a test.

    Returns:
        Adjusted p-values in the same order, in [0, 1]; NaN for comparisons without a test, which are not counted.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    factors = int((~np.isnan(values)).sum()) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1)
    return [float(p) for p in adjusted]
