"""Surface distances compared with MONAI, SciPy's distance transform and small examples."""

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
    pred, true = (torch.from_numpy(array)[None, None] for array in (mask_pred, mask))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 uses its own deprecated argument
        hausdorff = compute_hausdorff_distance(pred, true, include_background=True, percentile=95, spacing=spacing)
        average = compute_average_surface_distance(pred, true, include_background=True, symmetric=True, spacing=spacing)
    return float(hausdorff), float(average)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.07, 0.05)])
def test_surface_distances_equal_monai(seed: int, spacing: tuple[float, float]) -> None:
    mask_pred, mask = blobs(seed), blobs(seed + 100, level=0.06 + 0.01 * seed)
    assert mask_pred[:, 0].any() or mask_pred[0].any() or mask[:, 0].any()  # some masks touch the border
    assert surface_distances(mask_pred, mask, spacing) == pytest.approx(monai(mask_pred, mask, spacing), rel=1e-5)


def test_surface_distances_equal_distance_transforms() -> None:
    mask_pred, mask = blobs(1), blobs(2)
    spacing = (0.2, 0.3)
    surfaces = [array & ~ndimage.binary_erosion(array) for array in (mask_pred, mask)]
    pred_to_true, true_to_pred = (
        ndimage.distance_transform_edt(~other, sampling=spacing)[surface]
        for surface, other in ((surfaces[0], surfaces[1]), (surfaces[1], surfaces[0]))
    )
    hausdorff, average = surface_distances(mask_pred, mask, spacing)
    assert hausdorff == pytest.approx(max(np.percentile(pred_to_true, 95), np.percentile(true_to_pred, 95)))
    assert average == pytest.approx(np.concatenate([pred_to_true, true_to_pred]).mean())


def test_distance_of_two_pixels_is_euclidean() -> None:
    mask_pred, mask = np.zeros((2, 9, 9), bool)
    mask_pred[1, 2] = mask[5, 5] = True
    assert surface_distances(mask_pred, mask) == (5.0, 5.0)  # a 3-4-5 triangle
    assert surface_distances(mask_pred, mask, (0.75, 1.0)) == pytest.approx((math.sqrt(18), math.sqrt(18)))


def test_distances_of_a_shifted_square_equal_manual_values() -> None:
    """The sum of the distances of the 40 border pixels, by symmetry the same for both squares, is 40.

    Outer side: 11 pixels at distance 2. Upper and lower sides: one pixel each at distance 1, the others at 0. Inner
    side, inside the other square: the 2 pixels next to the corners at distance 1, the 7 between them at 2.
    """
    mask_pred, mask = np.zeros((2, 40, 40), bool)
    mask_pred[10:21, 10:21] = mask[10:21, 12:23] = True
    assert surface_distances(mask_pred, mask) == (2, 1)


def test_equal_masks_give_0_and_empty_masks_nan() -> None:
    mask = blobs(3)
    assert surface_distances(mask, mask) == (0, 0)
    empty = np.zeros_like(mask)
    for pair in ((empty, mask), (mask, empty), (empty, empty)):
        assert all(math.isnan(value) for value in surface_distances(*pair))
