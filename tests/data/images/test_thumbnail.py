"""Thumbnails keep the aspect ratio and use the full grey range."""

from __future__ import annotations

import numpy as np
import pytest

from mammoseg.data.images.thumbnail import shrink, thumbnail


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_thumbnail_keeps_the_aspect_ratio_and_spans_the_greys(dtype: type) -> None:
    rows = np.arange(3000)[:, None]
    pixels: np.ndarray = np.broadcast_to(rows % 200, (3000, 1500)).astype(dtype)
    grey, scale = thumbnail(pixels)
    assert grey.shape == (1024, 512)
    assert scale == 1024 / 3000
    assert (grey.min(), grey.max()) == (0, 255)
    assert thumbnail(pixels[:600])[0].shape == (410, 1024)


def test_a_small_image_is_not_enlarged() -> None:
    image = np.arange(600 * 500, dtype=np.uint16).reshape(600, 500)
    downsampled, scale = shrink(image)
    assert scale == 1
    np.testing.assert_array_equal(downsampled, image)
