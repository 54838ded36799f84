"""Distances between outlines, against MONAI, SciPy's distance transform and what a hand can draw."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from numpy.typing import NDArray
from scipy import ndimage

from mammoseg.metrics.surface import surface_distances


def blobs(seed: int, shape: tuple[int, int] = (70, 90), level: float = 0.08) -> NDArray[np.bool_]:
    noise = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(ndimage.gaussian_filter(noise, 4) > level, bool)


def monai(mask_pred: NDArray[np.bool_], mask: NDArray[np.bool_], spacing: tuple[float, float]) -> tuple[float, float]:
    pred, true = (torch.from_numpy(each)[None, None] for each in (mask_pred, mask))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 passes itself an argument that it deprecates
        hausdorff = compute_hausdorff_distance(pred, true, include_background=True, percentile=95, spacing=spacing)
        average = compute_average_surface_distance(pred, true, include_background=True, symmetric=True, spacing=spacing)
    return float(hausdorff), float(average)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.07, 0.05)])
def test_equal_to_monai(seed: int, spacing: tuple[float, float]) -> None:
    ours, theirs = blobs(seed), blobs(seed + 100, level=0.06 + 0.01 * seed)
    assert ours[:, 0].any() or ours[0].any() or theirs[:, 0].any()  # some touch the image's border
    assert surface_distances(ours, theirs, spacing) == pytest.approx(monai(ours, theirs, spacing), rel=1e-5)


def test_equal_to_distance_transforms_of_the_whole_image() -> None:
    ours, theirs = blobs(1), blobs(2)
    spacing = (0.2, 0.3)
    edges = [each & ~ndimage.binary_erosion(each) for each in (ours, theirs)]
    there, back = (
        ndimage.distance_transform_edt(~other, sampling=spacing)[edge]
        for edge, other in ((edges[0], edges[1]), (edges[1], edges[0]))
    )
    hausdorff, average = surface_distances(ours, theirs, spacing)
    assert hausdorff == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert average == pytest.approx(np.concatenate([there, back]).mean())


def test_two_pixels_are_as_far_apart_as_their_spacing_says() -> None:
    ours, theirs = np.zeros((2, 9, 9), bool)
    ours[1, 2] = theirs[5, 5] = True
    assert surface_distances(ours, theirs) == (5.0, 5.0)  # 3, 4, 5
    assert surface_distances(ours, theirs, (0.75, 1.0)) == pytest.approx((math.sqrt(18), math.sqrt(18)))


def test_a_square_shifted_by_two_columns() -> None:
    """Of its 40 border pixels, by symmetry the same for either square.

    11 of the side that left: 2. Above and below, one each: 1, and 9 each: 0. Of the other side, which now lies inside:
    1 for the two next to the corners, 2 for the 7 between. 22 + 2 + 0 + 2 + 14 = 40.
    """
    ours, theirs = np.zeros((2, 40, 40), bool)
    ours[10:21, 10:21] = theirs[10:21, 12:23] = True
    assert surface_distances(ours, theirs) == (2, 1)


def test_equal_masks_have_no_distance_and_empty_ones_none_that_exists() -> None:
    mask = blobs(3)
    assert surface_distances(mask, mask) == (0, 0)
    nothing = np.zeros_like(mask)
    for pair in ((nothing, mask), (mask, nothing), (nothing, nothing)):
        assert all(math.isnan(value) for value in surface_distances(*pair))
