"""Area under the receiver operating characteristic (ROC) of images and patients, with a bootstrap over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammoseg.runs.results import MAX_PROBABILITY, ResultRow, has_mass
from mammoseg.statistics.bootstrap import Floats, patient_bootstrap_weights, percentile_interval


def roc_auc(scores: Floats, positive: NDArray[np.bool_], weights: Floats | None = None) -> Floats:
    """Compute the area under the ROC curve.

    It is the probability that a positive case has a higher score than a negative one, where ties count half.

    Args:
        scores: Scores of the cases, (N,).
        positive: Whether each case is positive, (N,).
        weights: Weights of the cases in each of R resamples, (R, N); None for a weight of 1.

    Returns:
        Area in each resample, (R,) or (1,), in [0, 1]; NaN without positive or without negative cases.

    Source: Hanley and McNeil, Radiology 143(1), 1982.

    Example:
        >>> roc_auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        array([0.875])
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan))  # of each distinct score
    ordered, is_positive = weights[:, order], positive[order]
    positives = np.add.reduceat(ordered * is_positive, starts, axis=1)
    negatives = np.add.reduceat(ordered * ~is_positive, starts, axis=1)
    lower = negatives.cumsum(axis=1) - negatives / 2
    n_pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    area = (positives * lower).sum(axis=1)
    return np.asarray(np.divide(area, n_pairs, out=np.full(len(area), np.nan), where=n_pairs != 0))


@dataclass(frozen=True)
class ScoredImages:
    """Test images with the score of a network: the highest probability of a pixel.

    A patient is positive if any of its images has a mass; its score is the highest of its images.

    Attributes:
        scores: (N,) in [0, 1].
        has_mass: (N,).
        patients: (N,) index of the patient of each image, 0 to P - 1.
    """

    scores: Floats
    has_mass: NDArray[np.bool_]
    patients: NDArray[np.int64]

    @classmethod
    def of_rows(cls, rows: Sequence[ResultRow]) -> ScoredImages:
        """Create it from rows of results.csv; scores are NaN if the table has none."""
        return cls(
            np.array([row.get(MAX_PROBABILITY, np.nan) for row in rows]),
            np.array([has_mass(row) for row in rows]),
            np.unique([row["patient"] for row in rows], return_inverse=True)[1].ravel(),
        )

    @property
    def patient_scores(self) -> Floats:
        """Score of each patient, (P,)."""
        scores = np.full(int(self.patients.max()) + 1, -np.inf)
        np.maximum.at(scores, self.patients, self.scores)
        return scores

    @property
    def patient_has_mass(self) -> NDArray[np.bool_]:
        """Whether each patient has a mass, (P,)."""
        positive = np.zeros(int(self.patients.max()) + 1, dtype=np.bool_)
        np.logical_or.at(positive, self.patients, self.has_mass)
        return positive

    def resample(self, n_resamples: int, generator: np.random.Generator) -> Floats:
        """Draw bootstrap resamples of the patients, of those with and without a mass separately.

        Args:
            n_resamples: Number of resamples.
            generator: Random number generator.

        Returns:
            Number of occurrences of each patient in each resample, (n_resamples, P); NaN for the only patient with or
            without a mass.
        """
        positive = self.patient_has_mass
        weights = np.zeros((n_resamples, len(positive)))
        for group in (positive, ~positive):
            if group.any():
                weights[:, group] = patient_bootstrap_weights(int(group.sum()), n_resamples, generator)
        return weights

    def aucs(self, patient_weights: Floats | None = None) -> Floats:
        """Compute the areas under the ROC curves of the images and of the patients.

        Args:
            patient_weights: Result of `resample`, (R, P); None for the images as they are.

        Returns:
            Areas of images and of patients, (2, R) or (2, 1); NaN if undefined, or if the scores are unknown.
        """
        image_weights = None if patient_weights is None else patient_weights[:, self.patients]
        n_resamples = 1 if patient_weights is None else len(patient_weights)
        if np.isnan(self.scores).any():
            return np.full((2, n_resamples), np.nan)
        images = roc_auc(self.scores, self.has_mass, image_weights)
        return np.stack([images, roc_auc(self.patient_scores, self.patient_has_mass, patient_weights)])


@dataclass(frozen=True)
class AucEstimate:
    """Area under an ROC curve with its confidence interval.

    Attributes:
        value: Area in [0, 1]; NaN if undefined.
        low: Lower limit of the interval.
        high: Upper limit.
    """

    value: float
    low: float
    high: float


def estimate_aucs(values: Floats, distributions: Floats, confidence_level: float) -> tuple[AucEstimate, AucEstimate]:
    """Return the estimates for images and patients.

    Args:
        values: Areas of images and of patients, (2,).
        distributions: Areas in each resample, (2, R).
        confidence_level: Confidence level of the percentile interval in (0, 1).
    """
    images, patients = (
        AucEstimate(value, *percentile_interval(distribution, confidence_level))
        for value, distribution in zip(values.tolist(), distributions, strict=True)
    )
    return images, patients
