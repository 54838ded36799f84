"""Statistics against SciPy, statsmodels and formulas by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mammoseg.metrics import metrics_from_counts
from mammoseg.statistics import bootstrap, significance

counts = st.integers(0, 10**7)


@given(tp=st.integers(1, 10**7), fp=counts, fn=counts, tn=counts)
def test_pooled_area_difference_follows_from_sensitivity_and_dsc(tp: int, fp: int, fn: int, tn: int) -> None:
    values = metrics_from_counts(np.array([tp, fp, fn, tn]))
    implied = abs(2 * values["sensitivity"] / values["dsc"] - 2)
    assert values["area_difference"] == pytest.approx(implied, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("number", [1, 2, 6, 15, 40])
def test_holm_is_that_of_statsmodels(number: int) -> None:
    p_values = np.random.default_rng(number).random(number) ** 4
    p_values[: number // 3] = p_values[0]  # ties
    theirs = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(significance.holm(p_values.tolist()), theirs, rtol=1e-12, atol=1e-15)


def test_wilcoxon_is_scipys_and_its_effect_is_by_hand() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(60), generator.random(60)
    second[:10] = first[:10]  # ties, of which the test learns nothing
    found = significance.wilcoxon(first, second)
    theirs = stats.wilcoxon(first[10:], second[10:])
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.pairs == 50
    difference = (first - second)[10:]
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1
    favourable, all_ranks = ranks[difference > 0].sum(), ranks.sum()
    assert found.effect == pytest.approx(2 * favourable / all_ranks - 1)
    assert found.median == pytest.approx(np.median(first - second))


def test_the_effect_is_one_where_every_pair_agrees() -> None:
    assert significance.wilcoxon(np.arange(1.0, 9), np.zeros(8)).effect == 1
    assert significance.wilcoxon(np.zeros(8), np.arange(1.0, 9)).effect == -1


def test_equal_methods_are_not_told_apart() -> None:
    found = significance.wilcoxon(np.ones(5), np.ones(5))
    assert (found.p, found.effect, found.pairs) == (1.0, 0.0, 0)


def test_pairs_without_a_value_are_left_out() -> None:
    first, second = np.array([1.0, np.nan, 3.0, 4.0]), np.array([0.5, 1.0, 2.0, 3.5])
    assert significance.wilcoxon(first, second).pairs == 3


def test_the_bootstrap_over_patients_agrees_with_scipys() -> None:
    generator = np.random.default_rng(1)
    by_patient = generator.integers(1, 400, size=(60, 4)).astype(float)
    draws = bootstrap.patient_bootstrap_weights(60, 20_000, np.random.default_rng(2))
    low, high = bootstrap.percentile_interval(metrics_from_counts(draws @ by_patient)["dsc"], 0.95)

    def dsc(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, axis: int) -> np.ndarray:
        tp, fp, fn = (part.sum(axis=axis) for part in (tp, fp, fn))
        return 2 * tp / (2 * tp + fp + fn)

    columns = tuple(by_patient[:, :3].T)
    settings = {"paired": True, "vectorized": True, "n_resamples": 20_000, "method": "percentile"}
    theirs = stats.bootstrap(columns, dsc, **settings, rng=np.random.default_rng(3)).confidence_interval
    width = theirs.high - theirs.low
    assert low == pytest.approx(theirs.low, abs=0.03 * width)
    assert high == pytest.approx(theirs.high, abs=0.03 * width)


def test_every_resample_draws_as_many_patients_as_there_are() -> None:
    draws = bootstrap.patient_bootstrap_weights(17, 200, np.random.default_rng(0))
    assert (draws.sum(axis=1) == 17).all()
    assert draws.mean() == pytest.approx(1)


def test_one_patient_gives_no_interval() -> None:
    low, high = bootstrap.percentile_interval(
        bootstrap.patient_bootstrap_weights(1, 100, np.random.default_rng(0))[:, 0], 0.95
    )
    assert math.isnan(low)
    assert math.isnan(high)


def test_counts_are_summed_by_patient() -> None:
    summed = bootstrap.sum_by_patient(np.array([[1, 0, 0, 9], [2, 0, 0, 8], [4, 1, 1, 4]]), ["b", "a", "b"])
    assert summed.tolist() == [[2, 0, 0, 8], [5, 1, 1, 13]]


def test_ranks_and_friedman() -> None:
    scores = np.array([[0.9, 0.5, 0.7], [0.8, 0.6, 0.6], [0.7, 0.1, 0.9]])
    ranks = significance.mean_ranks(scores)
    np.testing.assert_allclose(ranks, [4 / 3, (3 + 2.5 + 3) / 3, (2 + 2.5 + 1) / 3])
    np.testing.assert_allclose(
        significance.mean_ranks(scores, higher_is_better=False), 4 - significance.mean_ranks(scores)
    )
    assert significance.friedman(scores) == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    assert significance.friedman(np.ones((4, 3))) == 1
    assert math.isnan(significance.friedman(scores[:, :2]))
