"""Sweeps: runs of one method on one dataset that differ in numeric settings, and the marginal effects of these."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

ALPHA = "α"
MAX_VALUES = 8  # settings with more distinct values are binned
N_BINS = 5  # bins of equal size


@dataclass(frozen=True)
class SettingResult:
    """Results of one combination of settings over folds and seeds.

    Attributes:
        values: Values of the settings that vary in the sweep; NaN for a setting that the runs do not have.
        validation: Mean validation DSC.
        std: Sample standard deviation of the validation DSC; NaN for a single run.
        test: Mean test DSC; NaN if a run was pruned and therefore not tested.
        runs: Number of runs.
        pruned: Whether any of the runs was pruned.
        replicates: Values of the replicate settings (seed, fold, seed of the split) of the runs.
    """

    values: tuple[float, ...]
    validation: float
    std: float
    test: float
    runs: int
    pruned: bool
    replicates: frozenset[tuple[float | None, ...]] = frozenset()


@dataclass(frozen=True)
class Effect:
    """Marginal effect of one setting on validation DSC, over the combinations that were not pruned.

    Attributes:
        low: Lowest value of the setting.
        high: Highest value of the setting.
        rho: Spearman's rank correlation; NaN for fewer than three combinations or constant values.
        p: p-value of the correlation.
        spread: Highest minus lowest mean DSC over the values or bins.
        best: The value, or the median of the bin, with the highest mean DSC.
    """

    low: float
    high: float
    rho: float
    p: float
    spread: float
    best: float


@dataclass(frozen=True)
class Sweep:
    """Runs of one method on one dataset.

    Attributes:
        dataset: Name of the dataset.
        method: Name of the method, including the string settings in which it differs from others in the same folders.
        names: Names of the numeric settings that vary, except replicates.
        results: One per combination of their values, sorted by decreasing validation DSC, pruned ones last.
        replicated_over: Replicate settings that vary between runs of one combination, such as "fold and seed".
    """

    dataset: str
    method: str
    names: list[str]
    results: list[SettingResult]
    replicated_over: str

    @property
    def name(self) -> str:
        """Dataset and method."""
        return f"{self.dataset}, {self.method}"

    @property
    def completed(self) -> list[SettingResult]:
        """Results that were not pruned."""
        return [result for result in self.results if not result.pruned]

    @property
    def is_unreplicated(self) -> bool:
        """Whether every combination was run only once."""
        return all(result.runs == 1 for result in self.results)

    @property
    def is_unbalanced(self) -> bool:
        """Whether the combinations that were not pruned were run with different folds or seeds."""
        return len({result.replicates for result in self.completed}) > 1

    @cached_property
    def effects(self) -> list[Effect]:
        """Marginal effect of each setting, in the order of `names`."""
        scores = np.array([result.validation for result in self.completed])
        columns = zip(*(result.values for result in self.completed), strict=True)
        return [marginal_effect(np.array(column), scores) for column in columns]

    @cached_property
    def best_by_alpha(self) -> dict[float, SettingResult]:
        """Best result for each alpha; empty if alpha has many values or is the only setting that varies."""
        if ALPHA not in self.names or len(self.names) < 2:
            return {}
        column = self.names.index(ALPHA)
        best: dict[float, SettingResult] = {}
        for result in self.completed:
            best.setdefault(result.values[column], result)
        return dict(sorted(best.items())) if len(best) <= MAX_VALUES else {}


def marginal_effect(values: np.ndarray, scores: np.ndarray) -> Effect:
    """Compute the marginal effect of a setting on the score.

    Args:
        values: (N,) values of the setting; combinations without the setting (NaN) are ignored.
        scores: (N,) scores of the combinations.
    """
    known = ~np.isnan(values)
    values, scores = values[known], scores[known]
    if len(values) == 0:
        return Effect(*[float("nan")] * 6)
    rho = p = float("nan")
    if len(values) > 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.ConstantInputWarning)  # reported as NaN
            rho, p = stats.spearmanr(values, scores)
    means = binned_means(values, scores)
    best = max(means, key=lambda pair: pair[1])
    spread = best[1] - min(mean for _, mean in means)
    return Effect(float(values.min()), float(values.max()), float(rho), float(p), spread, best[0])


def binned_means(values: np.ndarray, scores: np.ndarray) -> list[tuple[float, float]]:
    """Average scores by value.

    Args:
        values: (N,) values of a setting; NaN is ignored.
        scores: (N,) scores.

    Returns:
        (value, mean score) of each distinct value; (median value, mean score) of each bin if there are more than
        `MAX_VALUES`.

    Example:
        >>> binned_means(np.array([1, 1, 2]), np.array([0.0, 0.5, 0.5]))
        [(1.0, 0.25), (2.0, 0.5)]
    """
    known = ~np.isnan(values)
    values, scores = values[known], scores[known]
    distinct = np.unique(values)
    if len(distinct) <= MAX_VALUES:
        return [(float(value), float(scores[values == value].mean())) for value in distinct]
    bins = np.array_split(np.argsort(values, kind="stable"), N_BINS)
    return [(float(np.median(values[rows])), float(scores[rows].mean())) for rows in bins]
