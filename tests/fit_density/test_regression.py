"""Ridge regression of the density model, compared with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mammoseg.data.preprocessing.density_model import MAX_DEVIATIONS, score_to_category
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.fit_density.regression import (
    category_cuts,
    cross_validate,
    fit_density_model,
    fit_ridge,
    patient_folds,
    refit_cuts,
)
from mammoseg.statistics.agreement import confusion_matrix, quadratic_kappa

N_IMAGES, N_FEATURES = 400, 12


def sample(seed: int = 0) -> tuple[np.ndarray, list[ACRDensity], list[str]]:
    rng = np.random.default_rng(seed)
    density = np.repeat(rng.integers(1, 5, N_IMAGES // 2), 2)
    features = rng.normal(size=(N_IMAGES, N_FEATURES)) * np.arange(1, N_FEATURES + 1) + 5
    features[:, :3] += 2 * density[:, None]
    return features, [ACRDensity(int(value)) for value in density], [f"p{n // 2}" for n in range(N_IMAGES)]


NAMES = [f"f{n}" for n in range(N_FEATURES)]


@pytest.mark.parametrize("penalty", [1.0, 100.0])
def test_the_regression_equals_scikit_learn(penalty: float) -> None:
    features, density, _ = sample()
    target = np.array(density, float)
    mean, deviation, coefficients, intercept = fit_ridge(features, target, penalty)
    z = np.clip((features - features.mean(axis=0)) / features.std(axis=0), -MAX_DEVIATIONS, MAX_DEVIATIONS)
    reference = Ridge(penalty).fit(z, target)
    np.testing.assert_allclose(coefficients, reference.coef_, rtol=1e-8)
    assert intercept == pytest.approx(reference.intercept_)
    np.testing.assert_allclose((mean, deviation), (features.mean(axis=0), features.std(axis=0)))


def test_a_constant_feature_has_no_effect() -> None:
    features, density, _ = sample()
    features[:, 4] = 7.0
    _, deviation, coefficients, _ = fit_ridge(features, np.array(density, float), 10.0)
    assert deviation[4] == 1
    assert coefficients[4] == 0


def test_folds_keep_the_images_of_a_patient_together() -> None:
    _, _, patients = sample()
    folds = patient_folds(patients, seed=3)
    assert set(folds) == set(range(5))
    assert all(len({fold for fold, name in zip(folds, patients, strict=True) if name == p}) == 1 for p in set(patients))
    assert np.ptp(np.bincount(folds)) <= 2
    np.testing.assert_array_equal(folds, patient_folds(patients, seed=3))


def test_cross_validation_does_not_use_the_held_out_images() -> None:
    features, density, patients = sample()
    target = np.array(density, float)
    fold = patient_folds(patients, seed=0)
    reference = cross_validate(features, target, [fold], 10.0)
    target[fold == 2] = 99
    changed = cross_validate(features, target, [fold], 10.0)
    np.testing.assert_array_equal(changed[fold == 2], reference[fold == 2])
    assert not np.isclose(changed[fold != 2], reference[fold != 2]).any()


def test_categories_are_as_frequent_as_in_the_dataset() -> None:
    features, density, patients = sample()
    model, predictions = fit_density_model(NAMES, features, density, patients)
    estimate = [score_to_category(model.score(value)) for value in predictions]
    np.testing.assert_allclose(
        np.bincount(estimate, minlength=5) / N_IMAGES, np.bincount(density, minlength=5) / N_IMAGES, atol=0.01
    )
    assert quadratic_kappa(confusion_matrix(density, estimate)) > 0.7


def test_refitted_cuts_correct_a_shift_of_the_features() -> None:
    features, density, patients = sample()
    model, _ = fit_density_model(NAMES, features, density, patients)
    shifted = features + 0.8 * features.std(axis=0)
    refitted, predictions = refit_cuts(model, shifted, density)
    np.testing.assert_array_equal(refitted.coefficients, model.coefficients)

    def kappa(cuts_of: object) -> float:
        assert isinstance(cuts_of, type(model))
        return quadratic_kappa(
            confusion_matrix(density, [score_to_category(cuts_of.score(value)) for value in predictions])
        )

    assert kappa(refitted) > kappa(model) + 0.05


def test_data_without_a_category_or_with_few_patients_is_an_error() -> None:
    features, density, patients = sample()
    with pytest.raises(UserError, match=r"images of each ACR category, got none of \[4\]"):
        category_cuts(features[:, 0], [min(value, ACRDensity.HETEROGENEOUS) for value in density])
    with pytest.raises(UserError, match="at least 5 patients with a density, got 2"):
        fit_density_model(NAMES, features[:4], density[:4], patients[:4])
