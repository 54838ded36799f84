"""Area under the ROC curve of images and patients, compared with scikit-learn, DeLong and a slow bootstrap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mammoseg.runs.results import with_metrics
from mammoseg.statistics.bootstrap import percentile_interval
from mammoseg.statistics.roc import ScoredImages, estimate_aucs, roc_auc


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 4)), min_size=2, max_size=40))
def test_the_area_equals_that_of_scikit_learn(cases: list[tuple[int, bool, int]]) -> None:
    """Also with ties and weights."""
    scores, positive, weights = (np.array(values) for values in zip(*cases, strict=True))
    resamples = np.stack([np.ones(len(cases)), weights.astype(float)])
    areas = roc_auc(scores / 8, positive, resamples)
    for area, weight in zip(areas, resamples, strict=True):
        if not weight[positive].sum() or not weight[~positive].sum():
            assert math.isnan(area)
        else:
            assert area == pytest.approx(roc_auc_score(positive, scores, sample_weight=weight))


def images(n: int = 60, seed: int = 0) -> ScoredImages:
    """About two images per patient; patients 0 to 9 have no mass."""
    rng = np.random.default_rng(seed)
    patients = np.sort(np.concatenate([np.arange(30), rng.integers(0, 30, n - 30)]))
    has_mass = (patients >= 10) & (rng.random(n) < 0.6)
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * has_mass, 0.2), 0, 1), 2)
    return ScoredImages(scores.astype(np.float64), has_mass, patients)


def test_a_patient_has_the_highest_score_and_a_mass_if_any_image_has_one() -> None:
    scored = ScoredImages(np.array([0.2, 0.9, 0.4]), np.array([True, False, False]), np.array([0, 0, 1]))
    assert scored.patient_scores.tolist() == [0.9, 0.4]
    assert scored.patient_has_mass.tolist() == [True, False]
    assert scored.aucs()[:, 0].tolist() == [0.0, 1.0]


def test_the_bootstrap_resamples_patients_with_all_of_their_images() -> None:
    scored = images()
    weights = scored.resample(50, np.random.default_rng(1))
    positive = scored.patient_has_mass
    assert (weights[:, positive].sum(axis=1) == positive.sum()).all()
    assert (weights[:, ~positive].sum(axis=1) == (~positive).sum()).all()
    areas = scored.aucs(weights)
    for resample in range(50):
        drawn = np.repeat(np.arange(30), weights[resample].astype(int))
        rows = np.concatenate([np.flatnonzero(scored.patients == patient) for patient in drawn])
        assert areas[0, resample] == pytest.approx(roc_auc_score(scored.has_mass[rows], scored.scores[rows]))
        scores = [scored.scores[scored.patients == patient].max() for patient in drawn]
        assert areas[1, resample] == pytest.approx(roc_auc_score(positive[drawn], scores))


def delong_standard_error(scores: Any, positive: Any) -> float:
    """DeLong et al., Biometrics 44(3), 1988: from the placement values of the positive and the negative cases."""
    psi = (scores[positive][:, None] > scores[~positive]) + 0.5 * (scores[positive][:, None] == scores[~positive])
    by_positive, by_negative = psi.mean(axis=1), psi.mean(axis=0)
    return math.sqrt(by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative))


def test_with_one_image_per_patient_the_interval_agrees_with_delong() -> None:
    rng = np.random.default_rng(0)
    has_mass = np.arange(200) < 80
    scored = ScoredImages(rng.normal(has_mass, 1), has_mass, np.arange(200))
    distribution = scored.aucs(scored.resample(4000, np.random.default_rng(0)))[0]
    error = delong_standard_error(scored.scores, has_mass)
    assert distribution.std() == pytest.approx(error, rel=0.05)
    low, high = percentile_interval(distribution, 0.95)
    area = scored.aucs()[0, 0]
    assert (area - low, high - area) == pytest.approx((1.96 * error, 1.96 * error), rel=0.15)


def test_several_images_of_a_patient_widen_the_interval() -> None:
    """Copies of an image contain no information, so the interval stays that of the patients."""
    rng = np.random.default_rng(0)
    has_mass = np.arange(60) < 30
    single = ScoredImages(rng.normal(has_mass, 1), has_mass, np.arange(60))
    copies = ScoredImages(np.tile(single.scores, 4), np.tile(has_mass, 4), np.tile(np.arange(60), 4))
    errors = [scored.aucs(scored.resample(2000, np.random.default_rng(0)))[0].std() for scored in (single, copies)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-6)


def test_undefined_areas_are_nan() -> None:
    counts = {"tp": 1, "fp": 0, "fn": 0, "tn": 3}
    rows = with_metrics([{"patient": f"p{n}", **counts, "max_probability": 0.5} for n in range(3)])
    assert np.isnan(ScoredImages.of_rows(rows).aucs()).all(), "no negative case"
    rows[0] |= {"tp": 0, "tn": 4}
    scored = ScoredImages.of_rows(rows)
    assert scored.aucs()[:, 0].tolist() == [0.5, 0.5]
    distribution = scored.aucs(scored.resample(100, np.random.default_rng(0)))
    assert np.isnan(estimate_aucs(scored.aucs()[:, 0], distribution, 0.95)[0].low), "one patient without a mass"
    del rows[1]["max_probability"]
    assert np.isnan(ScoredImages.of_rows(rows).aucs()).all(), "results without scores"
