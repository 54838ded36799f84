"""Statistical power: how many seeds are needed to detect a difference between methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import optimize, stats

from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.inference import satterthwaite

POWER = 0.8
MAX_SEEDS = 1000


@dataclass(frozen=True)
class VarianceComponents:
    """Components of the variance of the difference between two methods with S seeds each.

    The variance is ``patients + (patients_by_seed + 2 training) / S``. Only the second part decreases with more seeds.

    Attributes:
        patients: Variance due to the sampling of test patients, in the limit of many seeds.
        patients_by_seed: Further variance due to the sampling of test patients for a single seed.
        training: Variance between seeds, see `TrainingVariance.excess`.
        n_patients: Effective number of test patients.
    """

    patients: float
    patients_by_seed: float
    training: float
    n_patients: float

    def detectable_difference(self, n_seeds: int, confidence_level: float, power: float = POWER) -> float:
        """Return the smallest difference that a two-sided t-test detects with the given power.

        Args:
            n_seeds: Number of seeds per method, at least 2.
            confidence_level: 1 minus the significance level.
            power: Probability of detection.

        Returns:
            Difference in units of the metric.

        Example:
            >>> VarianceComponents(0.0, 0.0, 1.0, 1000).detectable_difference(17, 0.95)  # 1 SD: 17 seeds per group
            0.9...
        """
        sampling = self.patients + self.patients_by_seed / n_seeds
        training = 2 * self.training / n_seeds
        variance, seed_freedom = sampling + training, 2 * (n_seeds - 1)
        if variance == 0:
            return 0.0
        freedom = max(satterthwaite(variance, (sampling, self.n_patients - 1), (training, seed_freedom)), seed_freedom)
        cutoff = float(stats.t.ppf((1 + confidence_level) / 2, freedom))

        def missing_power(noncentrality: float) -> float:
            return float(stats.nct.sf(cutoff, freedom, noncentrality)) - power

        noncentrality = optimize.brentq(missing_power, 0.0, cutoff + 20.0)
        return float(noncentrality) * math.sqrt(variance)

    def required_seeds(self, difference: float, confidence_level: float, power: float = POWER) -> int | None:
        """Return the smallest number of seeds per method with which a difference is detected.

        Args:
            difference: True difference in units of the metric, positive.
            confidence_level: 1 minus the significance level.
            power: Probability of detection.

        Returns:
            Number of seeds, at least 2; None if `MAX_SEEDS` are not enough.
        """
        low, high = 2, MAX_SEEDS
        if self.detectable_difference(high, confidence_level, power) > difference:
            return None
        while low < high:  # the detectable difference decreases with the number of seeds
            middle = (low + high) // 2
            if self.detectable_difference(middle, confidence_level, power) <= difference:
                high = middle
            else:
                low = middle + 1
        return low


def variance_components(
    comparison: Comparison, metric: str, pairs: Sequence[tuple[str, str]]
) -> VarianceComponents | None:
    """Estimate the components of the variance of a difference, averaged over pairs of methods.

    Args:
        comparison: The comparison.
        metric: Key of the metric.
        pairs: Names of the methods.

    Returns:
        Components; None in cross-validation, where the number of seeds is not the only source of replication, and if a
        method of a pair has a single seed or the variance between seeds is unknown.
    """
    training = comparison.training_variance(metric)
    replicates = comparison.replicates[metric]
    if comparison.is_cross_validation or training is None or not pairs:
        return None
    if any(len(replicates[method]) < 2 for pair in pairs for method in pair):
        return None
    by_pair = []
    for pair in pairs:
        a, b = (replicates[method] for method in pair)
        n_seeds = min(len(a), len(b))
        single = float((a.distribution[:n_seeds] - b.distribution[:n_seeds]).var(axis=1, ddof=1).mean())
        mean = a.distribution[:n_seeds].mean(axis=0) - b.distribution[:n_seeds].mean(axis=0)
        by_seed = max(0.0, (single - float(mean.var(ddof=1))) * n_seeds / (n_seeds - 1))
        by_pair.append((max(0.0, single - by_seed), by_seed))
    patients, by_seed = (sum(column) / len(by_pair) for column in zip(*by_pair, strict=True))
    return VarianceComponents(patients, by_seed, training.excess, comparison.resampler.effective_patients())
