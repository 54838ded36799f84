"""Uncertainty and tests on counts of pixels and on metrics of images. Arrays in, arrays out; no files, no tables.

Images of one patient are not independent, so patients are what the bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from mammoseg.metrics import FORMULAS

Floats = NDArray[np.float64]


def formulas(counts: NDArray) -> Floats:
    """The four metrics, in the order of FORMULAS: counts (..., 4) of tp, fp, fn, tn -> (..., 4); 0/0 is NaN."""
    parts = torch.from_numpy(np.ascontiguousarray(counts, dtype=np.float64)).unbind(dim=-1)
    return torch.stack([metric.formula(*parts) for metric in FORMULAS.values()], dim=-1).numpy()


def draw_patients(patients: int, resamples: int, generator: np.random.Generator) -> Floats:
    """How often each patient is drawn in each resample, with replacement: (resamples, patients).

    NaN for a single patient: drawing one again and again would pass for certainty.
    """
    if patients < 2:
        return np.full((resamples, patients), np.nan)
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=resamples).astype(np.float64)


def by_patient(counts: NDArray, patients: Sequence[str] | NDArray) -> Floats:
    """Numbers (images, N) summed over each patient's images, patients in alphabetical order: (patients, N)."""
    names, place = np.unique(np.asarray(patients), return_inverse=True)
    summed = np.zeros((len(names), counts.shape[1]))
    np.add.at(summed, place, counts)
    return summed


def interval(draws: Floats, level: float) -> tuple[float, float]:
    """Percentile interval of the draws (R,); NaN if one of them is."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedTest:
    """Two-sided Wilcoxon signed-rank test of `first` against `second` over the same images.

    `effect`: matched-pairs rank-biserial correlation, 1 where the first is larger in every pair, -1 where the
    second is. `median`: of the differences. `p`: 1 where all pairs are equal. `pairs`: that differ.
    """

    p: float
    effect: float
    median: float
    pairs: int


def wilcoxon(first: Floats, second: Floats) -> PairedTest:
    """Shapes: (N,) and (N,). Pairs in which one has no value are left out; pairs that are equal say nothing."""
    difference = first - second
    difference = difference[~np.isnan(difference)]
    median = float(np.median(difference)) if len(difference) else float("nan")
    moved = difference[difference != 0]
    if len(moved) == 0:
        return PairedTest(1.0, 0.0, median, 0)
    ranks = stats.rankdata(np.abs(moved))
    effect = float((ranks * np.sign(moved)).sum() / ranks.sum())
    return PairedTest(float(stats.wilcoxon(moved).pvalue), effect, median, len(moved))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down method (Scand. J. Statist. 6, 1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.tolist()


def mean_ranks(scores: Floats, higher_is_better: bool = True) -> Floats:
    """Mean rank of each method, 1 the best, ties shared: scores (blocks, methods) -> (methods,)."""
    return stats.rankdata(-scores if higher_is_better else scores, axis=1).mean(axis=0)


def friedman(scores: Floats) -> float:
    """p-value of Friedman's test that all methods rank alike; NaN for fewer than 3 methods or 2 blocks."""
    blocks, methods = scores.shape
    if methods < 3 or blocks < 2:
        return float("nan")
    if (scores == scores[:, :1]).all():
        return 1.0  # nothing but ties, for which the statistic is 0/0
    return float(stats.friedmanchisquare(*scores.T).pvalue)
