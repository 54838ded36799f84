"""Agreement of two classifications: Cohen's kappa with quadratic weights, and its bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mammoseg.density import ACRDensity
from mammoseg.statistics.bootstrap import patient_bootstrap_weights, percentile_interval, sum_by_patient

RESAMPLES = 2000
CONFIDENCE_LEVEL = 0.95


def confusion_matrix(reference: Sequence[ACRDensity], estimate: Sequence[ACRDensity]) -> NDArray[np.int64]:
    """Count the images in each pair of categories.

    Args:
        reference: (N,) categories of the dataset.
        estimate: (N,) estimated categories.

    Returns:
        (4, 4); rows are the categories of the dataset, columns the estimated ones.

    Example:
        >>> confusion_matrix([ACRDensity.FATTY, ACRDensity.EXTREME], [ACRDensity.FATTY, ACRDensity.HETEROGENEOUS])
        array([[1, 0, 0, 0],
               [0, 0, 0, 0],
               [0, 0, 0, 0],
               [0, 0, 1, 0]])
    """
    confusion = np.zeros((len(ACRDensity), len(ACRDensity)), np.int64)
    for row, column in zip(reference, estimate, strict=True):
        confusion[row.index, column.index] += 1
    return confusion


def quadratic_kappa(confusion: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Compute Cohen's kappa with quadratic weights.

    Args:
        confusion: (K, K) confusion matrix.

    Returns:
        Kappa, at most 1; NaN if only one category occurs.

    Source:
        Cohen, Psychological Bulletin 70, 1968.

    Example:
        >>> quadratic_kappa(np.array([[2, 0], [0, 2]]))
        1.0
    """
    row, column = np.indices(confusion.shape)
    weight = (row - column) ** 2
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    chance = (weight * expected).sum()
    return float(1 - (weight * confusion).sum() / chance) if chance else float("nan")


def kappa_interval(
    reference: Sequence[ACRDensity], estimate: Sequence[ACRDensity], patients: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """Compute the percentile interval of the quadratic kappa from a bootstrap over patients.

    Args:
        reference: (N,) categories of the dataset.
        estimate: (N,) estimated categories.
        patients: (N,) patient of each image.
        seed: Seed of the resamples.

    Returns:
        Limits of the 95 % interval; NaN for a single patient, or if a resample contains only one category.
    """
    size = len(ACRDensity)
    cells = np.array([row.index * size + column.index for row, column in zip(reference, estimate, strict=True)])
    counts = sum_by_patient(np.eye(size * size)[cells], patients)
    weights = patient_bootstrap_weights(len(counts), RESAMPLES, np.random.default_rng(seed))
    kappas = [quadratic_kappa(resample.reshape(size, size)) for resample in weights @ counts]
    return percentile_interval(np.array(kappas), CONFIDENCE_LEVEL)
