"""Features for the density estimate: invariances, finite values, and references for single features."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mammoseg.data.preprocessing.density_features import (
    WORKING_SIDE,
    density_features,
    difference_of_gaussians,
    grey_features,
    masked_blur,
    standardise,
)


def mammogram(seed: int = 0, height: int = 300, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A half-ellipse with smooth texture on an empty background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    breast = (2 * y / height - 1) ** 2 + (1.1 * x / width) ** 2 < 0.9
    texture = ndimage.gaussian_filter(rng.normal(size=breast.shape), 3)
    return np.where(breast, 0.5 + texture, 0).astype(np.float32), breast


def values(image: np.ndarray, breast: np.ndarray, view: str = "CC") -> np.ndarray:
    return np.array(list(density_features(image, breast, view).values()))


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_features_do_not_depend_on_offset_scale_side_or_background(view: str) -> None:
    image, breast = mammogram()
    reference = values(image, breast, view)
    np.testing.assert_allclose(values(image * 3000 - 50, breast, view), reference, atol=2e-2)
    mirrored = values(image[:, ::-1].copy(), breast[:, ::-1].copy(), view)
    np.testing.assert_allclose(mirrored, reference, rtol=1e-5, atol=1e-5)
    padded = values(np.pad(image, 40, constant_values=9), np.pad(breast, 40), view)
    # The skin at the edge of the image is only visible with a margin.
    difference = np.abs(padded - reference)
    assert np.median(difference) < 1e-2


def test_features_hardly_depend_on_the_resolution() -> None:
    image, breast = mammogram(height=600, width=320)
    half = cv2.resize(image, (160, 300), interpolation=cv2.INTER_AREA)
    half_breast = cv2.resize(breast.astype(np.float32), (160, 300), interpolation=cv2.INTER_AREA) >= 0.5
    first, second = density_features(image, breast, "CC"), density_features(half, half_breast, "CC")
    for name in ("interior grey 55 %", "band 4 log amplitude", "contrast at 4", "fraction above fat + 0.15"):
        assert second[name] == pytest.approx(first[name], rel=0.15, abs=0.02), name


@settings(max_examples=25)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from(["CC", "MLO", ""]),
    st.sampled_from(["constant", "noise"]),
)
def test_features_are_finite_for_any_image(height: int, width: int, view: str, kind: str) -> None:
    rng = np.random.default_rng(height * 61 + width)
    image = np.full((height, width), 7.0) if kind == "constant" else rng.normal(size=(height, width))
    for breast in (np.zeros(image.shape, bool), np.ones(image.shape, bool), rng.random(image.shape) < 0.3):
        features = density_features(image, breast, view)
        assert len(features) == 244
        assert np.isfinite(list(features.values())).all()


def test_grey_features_equal_numpy() -> None:
    breast = standardise(*mammogram(), "CC")
    assert max(breast.mask.shape) == WORKING_SIDE
    inside = breast.grey[breast.interior].astype(np.float64)
    features = grey_features(breast)
    assert features["interior grey 25 %"] == pytest.approx(np.percentile(inside, 25))
    z = (inside - inside.mean()) / inside.std()
    assert features["skewness"] == pytest.approx((z**3).mean(), abs=1e-4)
    assert features["kurtosis"] == pytest.approx((z**4).mean(), rel=1e-4)


def test_the_band_of_the_scale_of_a_pattern_has_the_largest_amplitude() -> None:
    y, _ = np.mgrid[:128, :64]
    for period, expected in ((12, 2), (48, 8)):
        image = np.sin(2 * np.pi * y / period)
        features = difference_of_gaussians(standardise(image, np.ones(image.shape, bool), "CC"))
        amplitudes = {sigma: features[f"band {sigma} log amplitude"] for sigma in (1, 2, 4, 8)}
        assert max(amplitudes, key=lambda sigma: amplitudes[sigma]) == expected


def test_the_blur_is_not_affected_by_the_background() -> None:
    breast = standardise(*mammogram(), "CC")
    constant = replace(breast, grey=np.where(breast.mask, 0.7, 0).astype(np.float32))
    np.testing.assert_allclose(masked_blur(constant, 4)[breast.mask], 0.7, rtol=1e-5)
