"""Images of predictions: probabilities, uncertainty, outlines and heat maps."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mammoseg.data.images.thumbnail import thumbnail
from mammoseg.metrics.regions import connected_regions
from mammoseg.predict import prediction_images


def decode_png(content: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def test_probability_image_exceeds_127_exactly_where_the_probability_exceeds_one_half() -> None:
    half = np.float32(0.5)
    prob = np.concatenate([np.linspace(0, 1, 10_001, dtype=np.float32), [half, np.nextafter(half, half * 2)]])
    grey = prediction_images.probability_image(prob.astype(np.float32))
    np.testing.assert_array_equal(grey > 127, prob > half)
    np.testing.assert_allclose(grey / 255, prob, atol=0.5 / 255 + 1e-6)


def test_uncertainty_image_maps_0_to_0_and_one_half_to_255() -> None:
    assert prediction_images.uncertainty_image(np.array([0, 0.25, 0.5, 0.6], np.float32)).tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize("image", [np.eye(70) > 0, np.arange(4900).reshape(70, 70).astype(np.uint8)])
def test_png_is_lossless(image: np.ndarray) -> None:
    expected = image.astype(np.uint8) * 255 if image.dtype == bool else image
    np.testing.assert_array_equal(decode_png(prediction_images.encode_png(image)), expected)


def test_float_tiff_is_lossless_in_other_libraries() -> None:
    values = np.random.default_rng(0).random((70, 50), np.float32)
    content = prediction_images.encode_float_tiff(values)
    for image in (tifffile.imread(io.BytesIO(content)), np.asarray(Image.open(io.BytesIO(content)))):
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, values)


def test_overlay_draws_the_outline_and_number_of_the_mass() -> None:
    y, x = np.mgrid[:2000, :1500]
    mask = (y - 700) ** 2 + (x - 900) ** 2 <= 200**2
    grey, scale = thumbnail(np.where(mask, 200, 100).astype(np.uint8))
    masses = connected_regions(mask, mask.astype(np.float32))
    image = prediction_images.overlay(grey, scale, mask, masses)
    orange = (image[..., 2] > 200) & (image[..., 0] < 120)  # the image is in BGR
    rows, columns = np.nonzero(orange)
    dy, dx = (rows + 0.5) / scale - 700.5, (columns + 0.5) / scale - 900.5
    assert len(rows) > 300
    assert np.abs(np.hypot(dy, dx) - 200).max() < 3 / scale, "the outline differs by 3 pixels of the thumbnail or more"
    for offset in (dy, dx):
        assert abs(offset.min() + offset.max()) / 2 < 0.5 / scale, "the outline is shifted"
    white = (image.min(axis=-1) > 250).sum()
    assert white > 5, "the index of the mass is missing"


def test_overlay_without_a_mass_equals_the_image() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (80, 70)).astype(np.uint8)
    image = prediction_images.overlay(grey, 1, np.zeros((80, 70), bool), [])
    np.testing.assert_array_equal(image, np.repeat(grey[..., None], 3, axis=2))


def test_heat_map_covers_only_probable_pixels() -> None:
    grey = np.full((80, 70), 90, np.uint8)
    prob = np.zeros((800, 700), np.float32)
    prob[200:400, 300:500] = 1
    heat = prediction_images.heatmap_overlay(grey, prob)
    np.testing.assert_array_equal(heat[50:, :25], 90)
    magma = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_MAGMA)[0, 0]
    np.testing.assert_allclose(heat[30, 40], 0.25 * 90 + 0.75 * magma.astype(float), atol=1)
