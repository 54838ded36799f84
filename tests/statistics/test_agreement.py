"""Agreement of categories, compared with scikit-learn and with resampling image by image."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from sklearn.metrics import confusion_matrix as reference_confusion_matrix

from mammoseg.density import ACRDensity
from mammoseg.statistics.agreement import confusion_matrix, kappa_interval, quadratic_kappa


def categories(seed: int = 0, n: int = 300) -> tuple[list[ACRDensity], list[ACRDensity]]:
    rng = np.random.default_rng(seed)
    true, estimated = rng.integers(1, 5, n), rng.integers(1, 5, n)
    estimated[: n // 2] = true[: n // 2]
    return [ACRDensity(value) for value in true], [ACRDensity(value) for value in estimated]


def test_confusion_and_kappa_equal_scikit_learn() -> None:
    true, estimated = categories()
    confusion = confusion_matrix(true, estimated)
    np.testing.assert_array_equal(confusion, reference_confusion_matrix(true, estimated))
    assert quadratic_kappa(confusion) == pytest.approx(cohen_kappa_score(true, estimated, weights="quadratic"))


def test_the_interval_resamples_patients() -> None:
    true, estimated = categories(n=120)
    patients = [f"p{n // 3}" for n in range(120)]
    low, high = kappa_interval(true, estimated, patients)
    assert low < quadratic_kappa(confusion_matrix(true, estimated)) < high
    rng = np.random.default_rng(1)
    kappas = []
    for _ in range(500):
        rows = [3 * patient + image for patient in rng.integers(0, 40, 40) for image in range(3)]
        kappas.append(
            cohen_kappa_score([true[row] for row in rows], [estimated[row] for row in rows], weights="quadratic")
        )
    assert (low, high) == pytest.approx(np.quantile(kappas, [0.025, 0.975]), abs=0.03)


def test_the_interval_of_one_patient_is_undefined() -> None:
    true, estimated = categories(n=10)
    assert np.isnan(kappa_interval(true, estimated, ["p"] * 10)).all()
