"""Best values of a metric, and how often each method is the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mammoseg.metrics import PIXEL_METRICS

Floats = NDArray[np.float64]


def argbest(values: Sequence[float], metric: str) -> set[int]:
    """Find the best values of a metric.

    Args:
        values: One value per method; NaN is ignored.
        metric: Key of the metric, which determines whether higher values are better.

    Returns:
        Indices of all values that equal the best value when displayed with two decimals. Empty if there is no worse
        value: if all values are tied, or all but one are NaN.

    Example:
        >>> argbest([0.50001, 0.50002, 0.4], "dsc") == {0, 1}
        True
        >>> argbest([0.5, 0.5], "dsc")
        set()
    """
    decimals = 4 if PIXEL_METRICS[metric].unit == "%" else 2
    array = np.round(np.asarray(values, dtype=np.float64), decimals)
    defined = array[~np.isnan(array)]
    if len(set(defined.tolist())) < 2:
        return set()
    best = defined.max() if PIXEL_METRICS[metric].higher_is_better else defined.min()
    return set(np.flatnonzero(array == best).tolist())


def win_rates(scores: Floats) -> Floats:
    """Compute the fraction of resamples in which each method has the highest score.

    A resample in which several methods are tied counts equally for each of them, so the fractions sum to 1.

    Args:
        scores: Scores of shape (resamples, methods).

    Returns:
        Fractions of shape (methods,); NaN if a score is NaN.

    Example:
        >>> win_rates(np.array([[0.9, 0.5], [0.7, 0.7]]))
        array([0.75, 0.25])
    """
    if np.isnan(scores).any():
        return np.full(scores.shape[1], np.nan)
    is_best = scores == scores.max(axis=1, keepdims=True)
    rates: Floats = (is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0)
    return rates
