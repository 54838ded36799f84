"""Best values of a metric and mean ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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


def mean_ranks(scores: Floats, higher_is_better: bool = True) -> Floats:
    """Compute the mean rank of each method over blocks. Tied scores are assigned their average rank.

    Args:
        scores: Scores of shape (blocks, methods), where a block is a (fold, seed) pair.
        higher_is_better: Whether the highest score has rank 1.

    Returns:
        Mean ranks of shape (methods,), at least 1.

    Example:
        >>> mean_ranks(np.array([[0.9, 0.5], [0.8, 0.6]]))
        array([1., 2.])
    """
    ranks: Floats = stats.rankdata(-scores if higher_is_better else scores, axis=1).mean(axis=0)
    return ranks
