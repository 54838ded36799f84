"""Inverse preprocessing maps network outputs to the pixels of the original image."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mammoseg.data.preprocessing.box import Box
from mammoseg.data.preprocessing.inverse import InversePreprocessing
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.store import Case

SETTINGS = list(itertools.product(["stretch", "pad"], ["breast", "film", "none"], ["none", "left", "right"]))


def film(height: int, width: int, on_right: bool) -> np.ndarray:
    """A bright half-disc at the left or right edge of a dark film."""
    y, x = np.mgrid[:height, :width]
    breast = ((y - height / 2) / (0.42 * height)) ** 2 + (x / (0.6 * width)) ** 2 < 1
    pixels = np.where(breast, 1500 + 3 * (x % 50), 20).astype(np.uint16)
    return np.ascontiguousarray(pixels[:, ::-1]) if on_right else pixels


def disc(shape: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray((y - row) ** 2 + (x - column) ** 2 <= radius**2, np.uint8)


def preprocess_mask(
    pixels: np.ndarray, mask: np.ndarray, size: int, aspect: str, crop: str, flip: str
) -> tuple[np.ndarray, InversePreprocessing]:
    preprocessed = preprocess(pixels, mask, PreprocessingSettings(size=size, aspect=aspect, crop=crop, flip=flip))
    return preprocessed.mask, InversePreprocessing.from_preprocessed(preprocessed, pixels.shape, aspect)


@pytest.mark.parametrize(("aspect", "crop", "flip"), SETTINGS)
@pytest.mark.parametrize("on_right", [True, False])
def test_to_original_restores_a_preprocessed_mask(aspect: str, crop: str, flip: str, on_right: bool) -> None:
    pixels = film(900, 700, on_right)
    # Off-centre in both directions, so that a mirrored or rotated result is detected.
    mask = disc(pixels.shape, 380, 560 if on_right else 130, 60)
    small, inverse = preprocess_mask(pixels, mask, 256, aspect, crop, flip)
    restored = inverse.to_original(small) >= 0.5
    assert restored.shape == mask.shape
    overlap = (restored & (mask > 0)).sum() / (restored | (mask > 0)).sum()
    pixel_size = 700 / 256 if crop == "breast" else 900 / 256
    # Only a ring half a preprocessed pixel wide around the disc's edge may differ.
    assert overlap > 1 - 2 * (pixel_size / 2) / 60
    np.testing.assert_allclose(ndimage.center_of_mass(restored), ndimage.center_of_mass(mask), atol=pixel_size / 2)


@settings(max_examples=60)
@given(
    st.sampled_from(["stretch", "pad"]),
    st.booleans(),
    st.integers(40, 400),
    st.integers(40, 400),
    st.sampled_from([32, 64, 128]),
    st.data(),
)
def test_to_original_maps_each_pixel_to_its_origin(
    aspect: str, flipped: bool, height: int, width: int, size: int, data: st.DataObject
) -> None:
    top, left = data.draw(st.integers(0, height - 30)), data.draw(st.integers(0, width - 30))
    box = Box(top, data.draw(st.integers(top + 20, height)), left, data.draw(st.integers(left + 20, width)))
    inverse = InversePreprocessing(height, width, box, aspect, flipped)
    inside = inverse.content_box(size)
    row = data.draw(st.integers(inside.top, inside.bottom - 1))
    column = data.draw(st.integers(inside.left, inside.right - 1))
    image_column = size - 1 - column if flipped else column
    impulse = np.zeros((size, size), np.float32)
    impulse[row, image_column] = 1
    full = inverse.to_original(impulse)
    x, y = inverse.pixel_centres(size)
    # The impulse is spread over its neighbours; at the box's edge it is spread to one side only.
    step_y, step_x = y[1] - y[0], abs(x[1] - x[0])
    centre = np.array(ndimage.center_of_mass(full)) + 0.5
    assert abs(centre[0] - y[row]) <= max(0.51 * step_y, 0.51)
    assert abs(centre[1] - x[image_column]) <= max(0.51 * step_x, 0.51)
    outside = np.ones_like(full)
    box.crop(outside)[:] = 0
    assert not (full * outside).any(), "values outside the box must be 0"
    # Formula of the centre of a preprocessed pixel.
    assert y[row] == pytest.approx(top + (row - inside.top + 0.5) * (box.bottom - top) / (inside.bottom - inside.top))


def test_to_original_preserves_constants_and_ramps() -> None:
    inverse = InversePreprocessing(300, 220, Box(20, 276, 10, 138), "stretch", False)
    assert inverse.to_original(np.full((64, 64), 0.7, np.float32))[20:276, 10:138] == pytest.approx(0.7)
    x, y = inverse.pixel_centres(64)
    ramp = np.broadcast_to(x, (64, 64)).astype(np.float32) + 1000 * y[:, None].astype(np.float32)
    # Except within half a preprocessed pixel of the edge, each pixel has the value at its centre.
    interior = inverse.to_original(ramp)[24:272, 12:136]
    columns, rows = np.arange(12, 136) + 0.5, np.arange(24, 272) + 0.5
    np.testing.assert_allclose(interior, columns + 1000 * rows[:, None], rtol=1e-5)


def test_downsampling_averages_blocks_of_pixels() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((64, 64)).astype(np.float32)
    inverse = InversePreprocessing(32, 16, Box(0, 32, 0, 16), "stretch", True)
    expected = values[:, ::-1].reshape(32, 2, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(inverse.to_original(values), expected, rtol=1e-5)


def test_from_case_equals_from_preprocessed() -> None:
    pixels = film(300, 220, on_right=True)
    preprocessed = preprocess(pixels, disc(pixels.shape, 140, 180, 20), PreprocessingSettings(size=64, flip="left"))
    row: Any = {**dict.fromkeys(Case.__annotations__, 0), **asdict(preprocessed.box), "height": 300, "width": 220}
    case = Case(**{**row, "flipped": int(preprocessed.flipped)})
    assert preprocessed.flipped
    assert InversePreprocessing.from_case(case, "pad") == InversePreprocessing.from_preprocessed(
        preprocessed, pixels.shape, "pad"
    )
