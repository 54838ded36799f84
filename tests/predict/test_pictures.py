"""Pictures of predictions say what the arrays say, at the place where they say it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mammoseg.data.images.thumbnail import thumbnail
from mammoseg.metrics.regions import connected_regions
from mammoseg.predict import pictures


def decoded(content: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return picture


def test_probabilities_are_above_127_exactly_where_they_are_above_a_half() -> None:
    half = np.float32(0.5)
    prob = np.concatenate([np.linspace(0, 1, 10_001, dtype=np.float32), [half, np.nextafter(half, half * 2)]])
    grey = pictures.probability(prob.astype(np.float32))
    np.testing.assert_array_equal(grey > 127, prob > half)
    np.testing.assert_allclose(grey / 255, prob, atol=0.5 / 255 + 1e-6)


def test_uncertainty_fills_the_range() -> None:
    assert pictures.uncertainty(np.array([0, 0.25, 0.5, 0.6], np.float32)).tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize("picture", [np.eye(70) > 0, np.arange(4900).reshape(70, 70).astype(np.uint8)])
def test_png_loses_nothing(picture: np.ndarray) -> None:
    expected = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
    np.testing.assert_array_equal(decoded(pictures.png(picture)), expected)


def test_the_outline_is_drawn_around_the_mass() -> None:
    down, across = np.mgrid[:2000, :1500]
    mask = (down - 700) ** 2 + (across - 900) ** 2 <= 200**2
    grey, scale = thumbnail(np.where(mask, 200, 100).astype(np.uint8))
    found = connected_regions(mask, mask.astype(np.float32))
    picture = pictures.overlay(grey, scale, mask, found)
    blue = (picture[..., 0] > 200) & (picture[..., 2] < 120)
    rows, columns = np.nonzero(blue)
    down_by, across_by = (rows + 0.5) / scale - 700.5, (columns + 0.5) / scale - 900.5
    assert len(rows) > 300
    assert np.abs(np.hypot(down_by, across_by) - 200).max() < 3 / scale, "three pixels of the small picture"
    for by in (down_by, across_by):
        assert abs(by.min() + by.max()) / 2 < 0.5 / scale, "shifted"
    white = (picture.min(axis=-1) > 250).sum()
    assert white > 5, "the number beside it"


def test_without_a_mass_the_overlay_is_the_image() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (80, 70)).astype(np.uint8)
    picture = pictures.overlay(grey, 1, np.zeros((80, 70), bool), [])
    np.testing.assert_array_equal(picture, np.repeat(grey[..., None], 3, axis=2))


def test_the_heat_map_covers_what_is_probable_and_shows_the_rest() -> None:
    grey = np.full((80, 70), 90, np.uint8)
    prob = np.zeros((800, 700), np.float32)
    prob[200:400, 300:500] = 1
    heat = pictures.heatmap(grey, prob)
    np.testing.assert_array_equal(heat[50:, :25], 90)
    magma = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_MAGMA)[0, 0]
    np.testing.assert_allclose(heat[30, 40], 0.25 * 90 + 0.75 * magma.astype(float), atol=1)
