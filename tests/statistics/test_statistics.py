"""Statistics compared with SciPy, statsmodels and explicit formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mammoseg.metrics import metrics_from_counts
from mammoseg.statistics import bootstrap, ranking, significance


@pytest.mark.parametrize("n_tests", [1, 2, 6, 15, 40])
def test_holm_equals_statsmodels(n_tests: int) -> None:
    p_values = np.random.default_rng(n_tests).random(n_tests) ** 4
    p_values[: n_tests // 3] = p_values[0]  # ties
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(significance.holm(p_values.tolist()), expected, rtol=1e-12, atol=1e-15)


def test_the_effect_size_equals_the_formula() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(60), generator.random(60)
    second[:10] = first[:10]  # pairs without a difference are ignored
    differences = (first - second)[10:]
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    favourable, total = ranks[differences > 0].sum(), ranks.sum()
    assert significance.rank_biserial(first, second) == pytest.approx(2 * favourable / total - 1)


def test_the_effect_size_is_one_if_all_differences_have_one_sign() -> None:
    assert significance.rank_biserial(np.arange(1.0, 9), np.zeros(8)) == 1
    assert significance.rank_biserial(np.zeros(8), np.arange(1.0, 9)) == -1


def test_equal_samples_and_pairs_with_nan_have_no_effect() -> None:
    assert significance.rank_biserial(np.ones(5), np.ones(5)) == 0.0
    assert significance.rank_biserial(np.array([1.0, np.nan, 3.0]), np.array([1.0, 1.0, 2.0])) == 1.0


def test_the_patient_bootstrap_interval_agrees_with_scipy() -> None:
    generator = np.random.default_rng(1)
    by_patient = generator.integers(1, 400, size=(60, 4)).astype(float)
    weights = bootstrap.patient_bootstrap_weights(60, 20_000, np.random.default_rng(2))
    low, high = bootstrap.percentile_interval(metrics_from_counts(weights @ by_patient)["dsc"], 0.95)

    def dsc(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, axis: int) -> np.ndarray:
        tp, fp, fn = (count.sum(axis=axis) for count in (tp, fp, fn))
        return np.asarray(2 * tp / (2 * tp + fp + fn))

    columns = tuple(by_patient[:, :3].T)
    options = {"paired": True, "vectorized": True, "n_resamples": 20_000, "method": "percentile"}
    expected = stats.bootstrap(columns, dsc, **options, rng=np.random.default_rng(3)).confidence_interval
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.03 * width)
    assert high == pytest.approx(expected.high, abs=0.03 * width)


def test_each_resample_has_as_many_patients_as_the_sample() -> None:
    weights = bootstrap.patient_bootstrap_weights(17, 200, np.random.default_rng(0))
    assert (weights.sum(axis=1) == 17).all()
    assert weights.mean() == pytest.approx(1)


def test_the_interval_of_a_single_patient_is_nan() -> None:
    weights = bootstrap.patient_bootstrap_weights(1, 100, np.random.default_rng(0))
    low, high = bootstrap.percentile_interval(weights[:, 0], 0.95)
    assert math.isnan(low)
    assert math.isnan(high)


def test_counts_are_summed_by_patient() -> None:
    sums = bootstrap.sum_by_patient(np.array([[1, 0, 0, 9], [2, 0, 0, 8], [4, 1, 1, 4]]), ["b", "a", "b"])
    assert sums.tolist() == [[2, 0, 0, 8], [5, 1, 1, 13]]


def test_mean_ranks_equal_manual_values() -> None:
    scores = np.array([[0.9, 0.5, 0.7], [0.8, 0.6, 0.6], [0.7, 0.1, 0.9]])
    ranks = ranking.mean_ranks(scores)
    np.testing.assert_allclose(ranks, [4 / 3, (3 + 2.5 + 3) / 3, (2 + 2.5 + 1) / 3])
    np.testing.assert_allclose(ranking.mean_ranks(scores, higher_is_better=False), 4 - ranks)
