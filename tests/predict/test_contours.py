"""Contours of masses: exact polygons, also with holes and pixels that touch only diagonally."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from mammoseg.metrics.regions import connected_regions, label_regions
from mammoseg.predict.contours import outline_masses, trace_region

RING = np.array([[0, 1, 1, 1, 0], [1, 0, 0, 1, 1], [1, 1, 0, 0, 1], [1, 0, 1, 1, 1], [0, 1, 1, 1, 0]], bool)


def rasterise(polygon: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill a polygon with axis-parallel edges by the even-odd rule at the centres of the pixels."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    for (x, y), (next_x, next_y) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        assert (x == next_x) != (y == next_y), "each edge is horizontal or vertical, and has a length"
        if x == next_x:
            crossings[min(y, next_y) : max(y, next_y), x] += 1
    return np.asarray(crossings.cumsum(axis=1)[:, :-1] % 2 == 1)


def signed_area(polygon: NDArray[np.int64]) -> float:
    x, y = polygon.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


@settings(max_examples=200)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans()))
def test_the_polygons_of_any_mask_are_exact(mask: NDArray[np.bool_]) -> None:
    masses = connected_regions(mask, mask.astype(np.float32))
    labels = label_regions(mask).labels
    for mass, outline in zip(masses, outline_masses(mask, masses), strict=True):
        region = labels == mass.label
        np.testing.assert_array_equal(rasterise(outline.polygon, mask.shape), region)
        assert abs(signed_area(outline.polygon)) == mass.area
        rows, columns = np.nonzero(region)
        left, top, width, height = outline.box
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
        np.testing.assert_array_equal(outline.polygon.min(axis=0), [left, top])
        np.testing.assert_array_equal(outline.polygon.max(axis=0), [left + width, top + height])


def test_a_noisy_region_with_many_holes_is_exact() -> None:
    mask = np.random.default_rng(0).random((120, 150)) < 0.8
    mask = label_regions(mask).labels == 1
    polygon = trace_region(mask)
    assert len(polygon) > 2000
    np.testing.assert_array_equal(rasterise(polygon, mask.shape), mask)


# pycocotools 2.0.11 with NumPy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("region", [RING, RING[::-1], RING[:, ::-1], RING.T])
def test_other_libraries_fill_the_same_pixels(region: NDArray[np.bool_]) -> None:
    """The region has two holes that touch each other and the outside diagonally."""
    polygon = trace_region(region)
    # scikit-image has the origin at the centre of the first pixel, and rows before columns.
    filled = polygon2mask(region.shape, polygon[:, ::-1] - 0.5)  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(filled, region)
    coco_mask = pytest.importorskip("pycocotools.mask")
    rle = coco_mask.merge(coco_mask.frPyObjects([polygon.ravel().tolist()], *region.shape))
    np.testing.assert_array_equal(coco_mask.decode(rle) > 0, region)


def test_a_rectangle_has_four_vertices() -> None:
    assert sorted(trace_region(np.ones((2, 5), bool)).tolist()) == [[0, 0], [0, 2], [5, 0], [5, 2]]
