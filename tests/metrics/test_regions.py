"""Connected regions compared with scikit-image's regionprops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from skimage import measure

from mammoseg.metrics.regions import connected_regions, label_regions

SHAPES = npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)


@settings(max_examples=60)
@given(npst.arrays(bool, SHAPES), st.integers(0, 1000))
def test_regions_equal_scikit_image(mask: NDArray[np.bool_], seed: int) -> None:
    rng = np.random.default_rng(seed)
    prob, std = rng.random((2, *mask.shape)).astype(np.float32)
    labels = np.asarray(measure.label(mask, connectivity=2))  # type: ignore[no-untyped-call]
    intensities = np.stack([prob, std], axis=-1)
    props = measure.regionprops(labels, intensity_image=intensities)  # type: ignore[no-untyped-call]
    expected = sorted((-prop.area, *prop.centroid, prop.label) for prop in props)
    regions = connected_regions(mask, prob, std)
    assert [region.area for region in regions] == [-area for area, *_ in expected]
    by_label = {prop.label: prop for prop in props}
    for region, (_, y, x, label) in zip(regions, expected, strict=True):
        prop = by_label[label]
        assert (region.y, region.x) == pytest.approx((y, x))
        assert region.max_prob == prop.intensity_max[0]
        assert (region.mean_prob, region.mean_std) == pytest.approx(prop.intensity_mean, rel=1e-6)


@settings(max_examples=60)
@given(npst.arrays(bool, SHAPES))
def test_labels_partition_the_mask(mask: NDArray[np.bool_]) -> None:
    image = label_regions(mask)
    np.testing.assert_array_equal(image.labels > 0, mask)
    assert int(image.areas.sum()) == int(mask.sum())
    for label in range(1, len(image) + 1):
        inside = image.labels == label
        assert int(inside.sum()) == image.areas[label - 1] == int(inside[image.window(label)].sum())


def test_pixels_that_share_a_corner_are_connected() -> None:
    (region,) = connected_regions(np.eye(5, dtype=bool), np.ones((5, 5), np.float32))
    assert (region.x, region.y, region.area) == (2, 2, 5)
    assert np.isnan(region.mean_std)


def test_an_empty_mask_has_no_regions() -> None:
    assert connected_regions(np.zeros((5, 5), bool), np.ones((5, 5), np.float32)) == []
