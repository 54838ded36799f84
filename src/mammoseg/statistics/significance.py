"""Significance tests between methods. Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """Two-sided Wilcoxon signed-rank test of paired values.

    Attributes:
        p: p-value; 1 if all pairs are equal.
        effect: Matched-pairs rank-biserial correlation: 1 if the first value is larger in every pair, -1 if the
            second is.
        median: Of the differences, first minus second.
        pairs: Number of pairs that differ.
    """

    p: float
    effect: float
    median: float
    pairs: int


def wilcoxon(first: Floats, second: Floats) -> PairedTest:
    """Test two samples (N,) of the same images or patients.

    Pairs with an undefined value are dropped, and ties do not enter the test.
    """
    difference = first - second
    difference = difference[~np.isnan(difference)]
    median = float(np.median(difference)) if len(difference) else float("nan")
    nonzero = difference[difference != 0]
    if len(nonzero) == 0:
        return PairedTest(1.0, 0.0, median, 0)
    ranks = stats.rankdata(np.abs(nonzero))
    effect = float((ranks * np.sign(nonzero)).sum() / ranks.sum())
    return PairedTest(float(stats.wilcoxon(nonzero).pvalue), effect, median, len(nonzero))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down method (Scand. J. Statist. 6, 1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.tolist()


def mean_ranks(scores: Floats, higher_is_better: bool = True) -> Floats:
    """Mean rank of each method, 1 for the best, ties shared: scores (blocks, methods) -> (methods,)."""
    return stats.rankdata(-scores if higher_is_better else scores, axis=1).mean(axis=0)


def friedman(scores: Floats) -> float:
    """p-value of Friedman's test that all methods have equal ranks; NaN for fewer than 3 methods or 2 blocks.

    Args:
        scores: (blocks, methods).
    """
    blocks, methods = scores.shape
    if methods < 3 or blocks < 2:
        return float("nan")
    if (scores == scores[:, :1]).all():
        return 1.0  # all ties: the statistic is 0/0
    return float(stats.friedmanchisquare(*scores.T).pvalue)
