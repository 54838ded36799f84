"""Surface distances between two masks: 95th percentile Hausdorff distance and average symmetric surface distance."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

CROSS = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
HD_PERCENTILE = 95


def surface_distances(
    mask_pred: NDArray[np.bool_], mask: NDArray[np.bool_], spacing: tuple[float, float] = (1.0, 1.0)
) -> tuple[float, float]:
    """Compute the 95th percentile Hausdorff distance (HD95) and the average symmetric surface distance (ASSD).

    The surface of a mask consists of its pixels that have a 4-connected neighbour outside the mask or the image. The
    directed distances are those from each pixel of one surface to the nearest pixel of the other. HD95 is the larger of
    the 95th percentiles of the two directions; ASSD is the mean over both directions. The values equal those of MONAI's
    ``compute_hausdorff_distance(percentile=95)`` and ``compute_average_surface_distance(symmetric=True)``. MONAI's
    distance transforms take seconds for distant masks in an image of 20 million pixels; the k-d tree used here takes
    tenths of a second.

    Args:
        mask_pred: Predicted mask of shape (H, W).
        mask: Ground truth of shape (H, W).
        spacing: Pixel spacing (between rows, between columns). The results have its unit; the default gives distances
            in pixels.

    Returns:
        HD95 and ASSD in [0, inf), lower is better; NaN if a mask is empty.

    Source: Huttenlocher et al., IEEE TPAMI 15(9), 1993; Heimann et al., IEEE TMI 28(8), 2009.

    Example:
        >>> import numpy as np
        >>> mask_pred, mask = np.zeros((2, 9, 9), bool)
        >>> mask_pred[1, 2] = mask[5, 5] = True
        >>> surface_distances(mask_pred, mask)
        (5.0, 5.0)
    """
    if not mask_pred.any() or not mask.any():
        return float("nan"), float("nan")
    pred_surface, true_surface = surface_pixels(mask_pred) * np.array(spacing), surface_pixels(mask) * np.array(spacing)
    pred_to_true = KDTree(true_surface).query(pred_surface)[0]
    true_to_pred = KDTree(pred_surface).query(true_surface)[0]
    hausdorff = max(np.percentile(pred_to_true, HD_PERCENTILE), np.percentile(true_to_pred, HD_PERCENTILE))
    return float(hausdorff), float(np.concatenate([pred_to_true, true_to_pred]).mean())


def surface_pixels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return row and column of the surface pixels of a mask (H, W), shape (N, 2)."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    box = mask.view(np.uint8)[top : top + height, left : left + width]
    inner = cv2.erode(box, CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    pixels: NDArray[np.int64] = np.argwhere(box > inner) + np.array([top, left])
    return pixels
