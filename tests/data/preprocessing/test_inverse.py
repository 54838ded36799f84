"""What the network says about its square lands on the pixels it was said about."""

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

WAYS = list(itertools.product(["stretch", "pad"], [True, False], ["none", "left", "right"]))


def film(height: int, width: int, right: bool) -> np.ndarray:
    """A bright half-disc at the left or right edge of a dark film."""
    y, x = np.mgrid[:height, :width]
    breast = ((y - height / 2) / (0.42 * height)) ** 2 + (x / (0.6 * width)) ** 2 < 1
    pixels = np.where(breast, 1500 + 3 * (x % 50), 20).astype(np.uint16)
    return np.ascontiguousarray(pixels[:, ::-1]) if right else pixels


def disc(shape: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((y - row) ** 2 + (x - column) ** 2 <= radius**2).astype(np.uint8)


def prepared(
    pixels: np.ndarray, mask: np.ndarray, size: int, aspect: str, crop: bool, flip: str
) -> tuple[np.ndarray, InversePreprocessing]:
    cleaned = preprocess(pixels, mask, PreprocessingSettings(size=size, aspect=aspect, crop=crop, flip=flip))
    return cleaned.mask, InversePreprocessing.from_preprocessed(cleaned, pixels.shape, aspect)


@pytest.mark.parametrize(("aspect", "crop", "flip"), WAYS)
@pytest.mark.parametrize("right", [True, False])
def test_a_mask_that_was_prepared_comes_back_onto_itself(aspect: str, crop: bool, flip: str, right: bool) -> None:
    pixels = film(900, 700, right)
    # Off the middle both ways, so that a map mirrored or turned by mistake misses it.
    mask = disc(pixels.shape, 380, 560 if right else 130, 60)
    small, geometry = prepared(pixels, mask, 256, aspect, crop, flip)
    back = geometry.to_original(small) >= 0.5
    assert back.shape == mask.shape
    overlap = (back & (mask > 0)).sum() / (back | (mask > 0)).sum()
    pixel = 700 / 256 if crop else 900 / 256
    # A ring half a prepared pixel wide around the disc's edge is all that may differ.
    assert overlap > 1 - 2 * (pixel / 2) / 60
    np.testing.assert_allclose(ndimage.center_of_mass(back), ndimage.center_of_mass(mask), atol=pixel / 2)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["stretch", "pad"]),
    st.booleans(),
    st.integers(40, 400),
    st.integers(40, 400),
    st.sampled_from([32, 64, 128]),
    st.data(),
)
def test_each_prepared_pixel_lands_where_it_came_from(
    aspect: str, flipped: bool, height: int, width: int, size: int, data: st.DataObject
) -> None:
    top, left = data.draw(st.integers(0, height - 30)), data.draw(st.integers(0, width - 30))
    box = Box(top, data.draw(st.integers(top + 20, height)), left, data.draw(st.integers(left + 20, width)))
    geometry = InversePreprocessing(height, width, box, aspect, flipped)
    inside = geometry.content_box(size)
    row = data.draw(st.integers(inside.top, inside.bottom - 1))
    column = data.draw(st.integers(inside.left, inside.right - 1))
    across = size - 1 - column if flipped else column
    spot = np.zeros((size, size), np.float32)
    spot[row, across] = 1
    whole = geometry.to_original(spot)
    x, y = geometry.pixel_centres(size)
    # The spot is spread over its neighbours; at the box's edge it is spread to one side only.
    tall, wide = y[1] - y[0], abs(x[1] - x[0])
    centre = np.array(ndimage.center_of_mass(whole)) + 0.5
    assert abs(centre[0] - y[row]) <= max(0.51 * tall, 0.51)
    assert abs(centre[1] - x[across]) <= max(0.51 * wide, 0.51)
    outside = np.ones_like(whole)
    box.crop(outside)[:] = 0
    assert not (whole * outside).any(), "nothing outside the box"
    # What the prepared pixel covers, by hand.
    assert y[row] == pytest.approx(top + (row - inside.top + 0.5) * (box.bottom - top) / (inside.bottom - inside.top))


def test_a_constant_stays_and_a_ramp_stays_straight() -> None:
    geometry = InversePreprocessing(300, 220, Box(20, 276, 10, 138), "stretch", False)
    assert geometry.to_original(np.full((64, 64), 0.7, np.float32))[20:276, 10:138] == pytest.approx(0.7)
    x, y = geometry.pixel_centres(64)
    ramp = np.broadcast_to(x, (64, 64)).astype(np.float32) + 1000 * y[:, None].astype(np.float32)
    # Half a prepared pixel from the edge on, each pixel has the value of its own centre.
    middle = geometry.to_original(ramp)[24:272, 12:136]
    columns, rows = np.arange(12, 136) + 0.5, np.arange(24, 272) + 0.5
    np.testing.assert_allclose(middle, columns + 1000 * rows[:, None], rtol=1e-5)


def test_a_small_image_that_was_enlarged_is_averaged_back() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((64, 64)).astype(np.float32)
    geometry = InversePreprocessing(32, 16, Box(0, 32, 0, 16), "stretch", True)
    expected = values[:, ::-1].reshape(32, 2, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(geometry.to_original(values), expected, rtol=1e-5)


def test_a_row_of_a_store_says_the_same_as_the_image_it_came_from() -> None:
    pixels = film(300, 220, right=True)
    cleaned = preprocess(pixels, disc(pixels.shape, 140, 180, 20), PreprocessingSettings(size=64, flip="left"))
    row: Any = {**dict.fromkeys(Case.__annotations__, 0), **asdict(cleaned.box), "height": 300, "width": 220}
    case = Case(**{**row, "flipped": int(cleaned.flipped)})
    assert cleaned.flipped
    assert InversePreprocessing.from_case(case, "pad") == InversePreprocessing.from_preprocessed(
        cleaned, pixels.shape, "pad"
    )
