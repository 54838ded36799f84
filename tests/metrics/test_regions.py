"""Masses of a mask, against SciPy's labels and moments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mammoseg.metrics import regions as masses


def test_against_scipy() -> None:
    rng = np.random.default_rng(0)
    prob = ndimage.gaussian_filter(rng.random((120, 90)), 3).astype(np.float32)
    deviation = rng.random(prob.shape).astype(np.float32)
    mask = prob > np.quantile(prob, 0.8)
    labels, number = ndimage.label(mask, np.ones((3, 3)))
    assert number > 5
    each = range(1, number + 1)
    area = ndimage.sum_labels(mask, labels, each)
    order = np.argsort(-area, kind="stable")
    found = masses.find(mask, prob, deviation)
    assert [mass.area for mass in found] == area[order].tolist()
    by_place = {(round(mass.y, 6), round(mass.x, 6)): mass for mass in found}
    for label, (y, x) in zip(each, ndimage.center_of_mass(mask, labels, each), strict=True):
        mass = by_place[round(y, 6), round(x, 6)]
        assert mass.probability == pytest.approx(prob[labels == label].mean(), rel=1e-5)
        assert mass.uncertainty == pytest.approx(deviation[labels == label].mean(), rel=1e-5)


def test_corners_connect_and_nothing_is_nothing() -> None:
    mask = np.eye(5, dtype=bool)
    (mass,) = masses.find(mask, np.ones((5, 5), np.float32))
    assert (mass.x, mass.y, mass.area) == (2, 2, 5)
    assert np.isnan(mass.uncertainty)
    assert masses.find(np.zeros((5, 5), bool), np.ones((5, 5), np.float32)) == []
