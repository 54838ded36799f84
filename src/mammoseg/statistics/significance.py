"""Significance tests: Wilcoxon signed-rank test, Holm correction and Friedman test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """Result of a two-sided Wilcoxon signed-rank test.

    Attributes:
        p: p-value in [0, 1]; 1 if the values of all pairs are equal.
        effect_size: Matched-pairs rank-biserial correlation in [-1, 1]: 1 if the first value is larger in all pairs, -1
            if the second value is larger in all pairs.
        median: Median of the differences, first minus second; NaN without pairs.
        n_nonzero: Number of pairs with a nonzero difference.
    """

    p: float
    effect_size: float
    median: float
    n_nonzero: int


def wilcoxon(first: Floats, second: Floats) -> PairedTest:
    """Compute the two-sided Wilcoxon signed-rank test of paired samples.

    Pairs that contain NaN are ignored. Zero differences are discarded, as in Wilcoxon's original procedure.

    Args:
        first: Values of the first method, one per image or patient, shape (N,).
        second: Values of the second method for the same images or patients, shape (N,).

    Returns:
        p-value, effect size and median difference.

    Source: Wilcoxon, Biometrics Bulletin 1(6), 1945; Kerby, Comprehensive Psychology 3, 2014 (effect size).

    Example:
        >>> wilcoxon(np.array([0.8, 0.7, 0.9, 0.6]), np.array([0.5, 0.5, 0.5, 0.5])).p
        0.125
    """
    differences = first - second
    differences = differences[~np.isnan(differences)]
    median = float(np.median(differences)) if len(differences) else float("nan")
    nonzero = differences[differences != 0]
    if len(nonzero) == 0:
        return PairedTest(1.0, 0.0, median, 0)
    ranks = stats.rankdata(np.abs(nonzero))
    effect_size = float((ranks * np.sign(nonzero)).sum() / ranks.sum())
    return PairedTest(float(stats.wilcoxon(nonzero).pvalue), effect_size, median, len(nonzero))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple comparisons with Holm's step-down method.

    Args:
        p_values: Unadjusted p-values of a family of tests.

    Returns:
        Adjusted p-values in the same order, in [0, 1].

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1)
    return [float(p) for p in adjusted]


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


def friedman(scores: Floats) -> float:
    """Compute the Friedman test of the null hypothesis that the methods have equal ranks.

    Args:
        scores: Scores of shape (blocks, methods), where a block is a (fold, seed) pair.

    Returns:
        p-value in [0, 1]; NaN for fewer than three methods or fewer than two blocks.

    Source: Friedman, Journal of the American Statistical Association 32(200), 1937.

    Example:
        >>> round(friedman(np.array([[0.9, 0.5, 0.7], [0.8, 0.6, 0.7], [0.9, 0.1, 0.7]])), 3)
        0.05
    """
    n_blocks, n_methods = scores.shape
    if n_methods < 3 or n_blocks < 2:
        return float("nan")
    if (scores == scores[:, :1]).all():
        return 1.0  # if all scores are tied, the test statistic is 0/0
    return float(stats.friedmanchisquare(*scores.T).pvalue)
