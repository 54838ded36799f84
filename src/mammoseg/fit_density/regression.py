"""Ridge regression of the ACR category, with penalty and cuts chosen by cross-validation over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.density_model import DensityModel, standardise_features
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

PENALTIES = (30.0, 100.0, 300.0, 1000.0)
FOLDS, REPETITIONS = 5, 3
MIN_DEVIATION = 1e-6  # of a feature; smaller ones are constant up to rounding
SEED = 0

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def fit_density_model(
    names: Sequence[str], features: Floats, density: Sequence[ACRDensity], patients: Sequence[str]
) -> tuple[DensityModel, Floats]:
    """Fit a model to the features of images with known densities.

    The penalty is the one with the highest correlation between cross-validated predictions, averaged over the images of
    a patient, and categories. The cuts are such that the cross-validated predictions give each category as often as the
    dataset does.

    Args:
        names: Names of the n features.
        features: (N, n) features of the images.
        density: (N,) categories.
        patients: (N,) patients, which cross-validation keeps together.

    Returns:
        The model, and the cross-validated predictions (N,).

    Raises:
        UserError: If there are fewer patients than folds, or a category does not occur.
    """
    if len(set(patients)) < FOLDS:
        raise UserError(f"dataset must contain at least {FOLDS} patients with a density, got {len(set(patients))}")
    target = np.array(density, np.float64)
    folds = [patient_folds(patients, seed) for seed in range(SEED, SEED + REPETITIONS)]
    predictions = {penalty: cross_validate(features, target, folds, penalty) for penalty in PENALTIES}
    penalty = max(PENALTIES, key=lambda penalty: patient_correlation(predictions[penalty], target, patients))
    mean, deviation, coefficients, intercept = fit_ridge(features, target, penalty)
    cuts = category_cuts(predictions[penalty], density)
    about = {"penalty": penalty, "images": len(density), "patients": len(set(patients))}
    model = DensityModel(tuple(names), mean, deviation, coefficients, intercept, cuts, about)
    return model, predictions[penalty]


def refit_cuts(model: DensityModel, features: Floats, density: Sequence[ACRDensity]) -> tuple[DensityModel, Floats]:
    """Keep the coefficients of a model and fit its cuts; see `fit_density_model` for arguments and returned values."""
    predictions = model.predict_all(features)
    about = {**model.about, "images of the cuts": len(density)}
    return replace(model, cuts=category_cuts(predictions, density), about=about), predictions


def fit_ridge(features: Floats, target: Floats, penalty: float) -> tuple[Floats, Floats, Floats, float]:
    """Fit a ridge regression to standardised and clipped features.

    Args:
        features: (N, n).
        target: (N,).
        penalty: Weight of the squared norm of the coefficients, beside the sum of the squared errors.

    Returns:
        Mean (n,) and standard deviation (n,) of the features, coefficients (n,) and intercept.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > MIN_DEVIATION, deviation, 1.0)
    z = standardise_features(features, mean, deviation)
    centre = z.mean(axis=0)
    centred = z - centre
    gram = centred.T @ centred + penalty * np.eye(features.shape[1])
    coefficients = np.linalg.solve(gram, centred.T @ (target - target.mean()))
    return mean, deviation, coefficients, float(target.mean() - centre @ coefficients)


def patient_folds(patients: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Assign patients to folds at random.

    Args:
        patients: (N,) patient of each image.
        seed: Random seed.

    Returns:
        (N,) fold of each image, from 0 to `FOLDS` - 1.
    """
    unique, index = np.unique(np.array(patients), return_inverse=True)
    return np.asarray(np.random.default_rng(seed).permutation(len(unique))[index] % FOLDS, np.int64)


def cross_validate(features: Floats, target: Floats, folds: Sequence[NDArray[np.int64]], penalty: float) -> Floats:
    """Predict each image with regressions that are fitted without the images of its fold.

    Args:
        features: (N, n).
        target: (N,).
        folds: Fold (N,) of each image, for each repetition.
        penalty: See `fit_ridge`.

    Returns:
        Mean prediction (N,) over the repetitions.
    """
    predictions = np.zeros((len(folds), len(target)))
    for row, fold in zip(predictions, folds, strict=True):
        for held_out in range(FOLDS):
            inside: Bools = fold == held_out
            mean, deviation, coefficients, intercept = fit_ridge(features[~inside], target[~inside], penalty)
            row[inside] = intercept + standardise_features(features[inside], mean, deviation) @ coefficients
    return np.asarray(predictions.mean(axis=0))


def category_cuts(predictions: Floats, density: Sequence[ACRDensity]) -> tuple[float, float, float]:
    """Return the quantiles of the predictions at which the categories of the dataset change.

    Args:
        predictions: (N,).
        density: (N,) categories.

    Raises:
        UserError: If a category does not occur, so that a cut is undefined.
    """
    frequency = np.bincount([category.index for category in density], minlength=len(ACRDensity)) / len(density)
    missing = [int(category) for category in ACRDensity if not frequency[category.index]]
    first, second, third = map(float, np.quantile(predictions, np.cumsum(frequency)[:-1]))
    if missing or not first < second < third:
        raise UserError(f"dataset must contain images of each ACR category, got none of {missing or 'some categories'}")
    return first, second, third


def patient_correlation(predictions: Floats, target: Floats, patients: Sequence[Any]) -> float:
    """Return Pearson's correlation of predictions (N,) and target (N,), both averaged over the images of a patient."""
    _, index = np.unique(np.array(patients), return_inverse=True)
    predicted, true = (np.bincount(index, values) / np.bincount(index) for values in (predictions, target))
    return float(np.corrcoef(predicted, true)[0, 1])
