"""Outcomes for test sets with images without a mass: specificity, false positives, and ROC of images and patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mammoseg.runs.discovery import FoldSeed, RunResults
from mammoseg.runs.results import FALSE_POSITIVES, ResultRow, has_mass
from mammoseg.statistics.roc import AucEstimate, ScoredImages, estimate_aucs

N_RESAMPLES, CONFIDENCE_LEVEL = 2000, 0.95  # of the intervals of a single run


@dataclass(frozen=True)
class NegativeOutcomes:
    """Outcomes of one run, or of all runs of a method. An undefined or unknown outcome is NaN.

    Attributes:
        specificity: Fraction of the images without a mass in which no pixel is predicted as mass.
        false_positives: Number of predicted regions per image without a mass.
        image_auc: Area under the ROC curve of the images; the score of an image is its highest probability.
        patient_auc: The same for patients, with the highest score of their images; positive are those with a mass.
    """

    specificity: float
    false_positives: float
    image_auc: AucEstimate
    patient_auc: AucEstimate


def contains_negatives(rows: Sequence[ResultRow]) -> bool:
    """Return whether any of the test images has no mass."""
    return not all(map(has_mass, rows))


def specificity(rows: Sequence[ResultRow]) -> float:
    """Return the fraction of the images without a mass in which no pixel is predicted; NaN if there are none."""
    return _mean([row["fp"] == 0 for row in rows if not has_mass(row)])


def false_positives_per_negative(rows: Sequence[ResultRow]) -> float:
    """Return the number of predicted regions per image without a mass; NaN if there are none, or if it is unknown."""
    return _mean([row.get(FALSE_POSITIVES, np.nan) for row in rows if not has_mass(row)])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def outcomes_of_rows(rows: Sequence[ResultRow], seed: int = 0) -> NegativeOutcomes:
    """Compute the outcomes of a single run, with 95 % intervals over patients.

    Args:
        rows: Rows of results.csv.
        seed: Seed of the bootstrap.
    """
    images = ScoredImages.of_rows(rows)
    distributions = images.aucs(images.resample(N_RESAMPLES, np.random.default_rng(seed)))
    aucs = estimate_aucs(images.aucs()[:, 0], distributions, CONFIDENCE_LEVEL)
    return NegativeOutcomes(specificity(rows), false_positives_per_negative(rows), *aucs)


def outcomes_of_method(
    runs: Mapping[FoldSeed, RunResults], n_resamples: int, confidence_level: float, seed: int
) -> NegativeOutcomes:
    """Average the outcomes over the runs of a method: over the seeds of a fold, then over folds.

    The scores of different networks are not comparable, so areas under the ROC curve are computed for each run. All
    methods are evaluated on the same resamples of the patients. The intervals do not include the variation between
    trainings.

    Args:
        runs: Runs by fold and seed.
        n_resamples: Number of bootstrap resamples.
        confidence_level: Confidence level of the intervals in (0, 1).
        seed: Seed of the bootstrap.
    """
    folds: dict[str, list[RunResults]] = {}
    for (fold, _), run in runs.items():
        folds.setdefault(fold, []).append(run)
    values, distributions, others = [], [], []
    for index, fold in enumerate(sorted(folds)):
        scored = [ScoredImages.of_rows(run.rows) for run in folds[fold]]
        weights = scored[0].resample(n_resamples, np.random.default_rng([seed, index]))
        values.append(np.mean([images.aucs()[:, 0] for images in scored], axis=0))
        distributions.append(np.mean([images.aucs(weights) for images in scored], axis=0))
        pairs = [(specificity(run.rows), false_positives_per_negative(run.rows)) for run in folds[fold]]
        others.append(np.mean(pairs, axis=0))
    aucs = estimate_aucs(np.mean(values, axis=0), np.mean(distributions, axis=0), confidence_level)
    mean_specificity, mean_false_positives = np.mean(others, axis=0).tolist()
    return NegativeOutcomes(mean_specificity, mean_false_positives, *aucs)
