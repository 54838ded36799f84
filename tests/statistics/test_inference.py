"""Variance between trainings, t-tests and power, compared with SciPy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.power import TTestIndPower

from mammoseg.metrics import metrics_from_counts
from mammoseg.statistics.inference import Inference, infer
from mammoseg.statistics.power import VarianceComponents
from mammoseg.statistics.replicates import Replicates, pseudo_values
from mammoseg.statistics.training_variance import (
    TrainingVariance,
    variance_between_folds,
    variance_between_seeds,
    variance_within_methods,
)

N_RESAMPLES = 200


def exact(values: np.ndarray) -> Replicates:
    """Replicates without sampling variance: equal values in all resamples."""
    return Replicates(values, np.repeat(values[:, None], N_RESAMPLES, axis=1))


def difference(a: Replicates, b: Replicates, training: TrainingVariance | None) -> Inference:
    distribution = a.mean_distribution - b.mean_distribution
    return infer(a.mean - b.mean, distribution, 100, training, [len(a), len(b)], 0.95)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (10, 4)])
def test_seeds_without_sampling_variance_equal_the_two_sample_t_test(sizes: tuple[int, int]) -> None:
    generator = np.random.default_rng(sizes)
    a, b = (generator.normal(0.6, 0.02, n) for n in sizes)
    actual = difference(exact(a), exact(b), variance_between_seeds([exact(a), exact(b)]))
    expected = stats.ttest_ind(a, b)
    assert actual.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert actual.degrees_of_freedom == pytest.approx(sum(sizes) - 2)
    interval = expected.confidence_interval(0.95)
    assert (actual.low, actual.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_folds_of_two_methods_without_sampling_variance_equal_the_paired_t_test(n_folds: int) -> None:
    generator = np.random.default_rng(n_folds)
    difficulty = generator.normal(0.6, 0.1, n_folds)
    a, b = (difficulty + generator.normal(0, 0.02, n_folds) for _ in range(2))
    actual = difference(exact(a), exact(b), variance_between_folds([exact(a), exact(b)]))
    expected = stats.ttest_rel(a, b)
    assert actual.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert actual.degrees_of_freedom == pytest.approx(n_folds - 1)


def test_the_variance_between_folds_is_the_residual_variance_of_methods_and_folds() -> None:
    values = np.random.default_rng(0).normal(size=(4, 5))
    methods, folds = np.indices(values.shape)
    design = np.hstack([np.eye(4)[methods.ravel()], np.eye(5)[folds.ravel(), 1:]])
    expected = OLS(values.ravel(), design).fit()
    actual = variance_between_folds([exact(row) for row in values])
    assert actual is not None
    assert actual.total == pytest.approx(expected.mse_resid)
    assert actual.degrees_of_freedom == expected.df_resid
    assert actual.sampling == pytest.approx(0)


def test_the_variance_of_a_method_over_folds_includes_their_difficulty() -> None:
    values = np.array([[0.5, 0.6, 0.7], [0.6, 0.7, 0.8]])
    actual = variance_within_methods([exact(row) for row in values])
    assert actual is not None
    assert actual.total == pytest.approx(0.01)
    assert actual.degrees_of_freedom == 2


@pytest.mark.parametrize("variance", [variance_between_seeds, variance_between_folds, variance_within_methods])
def test_a_single_run_has_no_variance_between_trainings(variance: object) -> None:
    assert callable(variance)
    assert variance([exact(np.array([0.5])), exact(np.array([0.7]))]) is None


def test_the_sampling_part_is_the_variance_due_to_the_patients() -> None:
    """Seeds that differ only by noise of the patients have no variance between trainings, on average."""
    generator = np.random.default_rng(0)
    excess = []
    for _ in range(300):
        by_patient = generator.normal(size=(2, 4, 100))  # two methods, four seeds
        weights = generator.multinomial(100, np.full(100, 0.01), size=N_RESAMPLES) / 100
        methods = [Replicates(method.mean(axis=1), method @ weights.T) for method in by_patient]
        training = variance_between_seeds(methods)
        assert training is not None
        assert training.sampling == pytest.approx(0.01, rel=0.5)
        excess.append(training.total - training.sampling)
    assert np.mean(excess) == pytest.approx(0, abs=3 * np.std(excess) / 300**0.5)


@pytest.mark.parametrize("seed_sd", [0.0, 0.1, 0.3])
@pytest.mark.parametrize(("n_methods", "n_seeds"), [(2, 2), (2, 3), (6, 3)])
def test_identical_methods_differ_significantly_in_about_5_percent(
    n_methods: int, n_seeds: int, seed_sd: float
) -> None:
    """Values are means over 100 patients with a common and an independent part, and seeds shift all patients."""
    generator = np.random.default_rng([n_methods, n_seeds, int(10 * seed_sd)])
    weights = generator.multinomial(100, np.full(100, 0.01), size=N_RESAMPLES) / 100
    significant = 0
    for _ in range(400):
        by_patient = generator.normal(size=100) + generator.normal(size=(n_methods, n_seeds, 100))
        by_patient += generator.normal(0, seed_sd, (n_methods, n_seeds, 1))
        methods = [Replicates(method.mean(axis=1), method @ weights.T) for method in by_patient]
        significant += difference(methods[0], methods[1], variance_between_seeds(methods)).p < 0.05
    assert significant <= stats.binom.ppf(0.999, 400, 0.06)


def test_without_variance_between_trainings_the_interval_is_that_of_the_bootstrap() -> None:
    distribution = np.random.default_rng(0).normal(0.1, 0.02, 1000)
    actual = infer(0.1, distribution, 50, None, [1], 0.95)
    # stats.t.ppf(0.975, 49) * sqrt(50 / 49) = 2.03, and stats.norm.cdf(2.03) = 0.9788
    assert (actual.low, actual.high) == pytest.approx(tuple(np.quantile(distribution, [0.0212, 0.9788])), rel=1e-3)
    assert np.isnan(actual.p)


def test_the_interval_of_an_absolute_value_contains_an_estimate_near_0() -> None:
    distribution = np.abs(np.random.default_rng(0).normal(0.0, 0.1, 5000))
    interval = infer(0.0001, distribution, 100, None, [1], 0.95)
    assert interval.low == 0.0001 < interval.high


def test_equal_methods_have_p_1_and_undefined_ones_nan() -> None:
    training = TrainingVariance(0.0, 0.0, 4)
    assert infer(0.0, np.zeros(10), 20, training, [2, 2], 0.95).p == 1.0
    undefined = infer(0.1, np.full(10, np.nan), 20, training, [2, 2], 0.95)
    assert np.isnan([undefined.low, undefined.high, undefined.p]).all()


@pytest.mark.parametrize("n_seeds", [2, 5, 17])
def test_the_detectable_difference_equals_that_of_statsmodels(n_seeds: int) -> None:
    expected = TTestIndPower().solve_power(nobs1=n_seeds, alpha=0.05, power=0.8)
    actual = VarianceComponents(0.0, 0.0, 1.0, 200).detectable_difference(n_seeds, 0.95)
    assert actual == pytest.approx(expected, rel=1e-3)


def test_the_required_seeds_are_the_fewest_that_detect_the_difference() -> None:
    components = VarianceComponents(0.2, 0.3, 2.6, 200)
    n_seeds = components.required_seeds(2.5, 0.95)
    assert n_seeds is not None
    assert components.detectable_difference(n_seeds, 0.95) <= 2.5
    assert components.detectable_difference(n_seeds - 1, 0.95) > 2.5
    assert components.required_seeds(0.5, 0.95) is None  # the test patients limit the precision


@given(st.lists(st.lists(st.integers(1, 1000), min_size=4, max_size=4), min_size=2, max_size=6))
@settings(max_examples=50)
def test_pseudo_values_have_the_jackknife_variance_of_the_pooled_metric(counts: list[list[int]]) -> None:
    array = np.array(counts, dtype=float)
    values = pseudo_values(array)["dsc"]
    assert values.mean() == pytest.approx(metrics_from_counts(array.sum(axis=0))["dsc"])
    n = len(array)
    without = [float(metrics_from_counts(np.delete(array, i, axis=0).sum(axis=0))["dsc"]) for i in range(n)]
    jackknife = (n - 1) / n * ((np.array(without) - np.mean(without)) ** 2).sum()
    assert values.var(ddof=1) / n == pytest.approx(jackknife)
