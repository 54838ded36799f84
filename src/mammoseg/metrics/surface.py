"""Surface distances between two masks: HD95 and average symmetric surface distance."""

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
    """Compute the 95th percentile Hausdorff distance and the average symmetric surface distance.

    The surface of a mask is the set of its pixels with a neighbour (above, below, left or right) outside the mask or
    the image. For each pixel of one surface, the distance to the nearest pixel of the other is computed, in both
    directions. HD95 is the larger of the 95th percentiles of the two directions; the average is over the pixels of
    both surfaces. The values equal MONAI's compute_hausdorff_distance(percentile=95) and
    compute_average_surface_distance(symmetric=True). MONAI computes distance transforms of the bounding box of both
    masks, which takes seconds for distant masks in a film of 20 million pixels; the k-d tree takes tenths of a second.

    Args:
        mask_pred: Predicted mask of shape (H, W).
        mask: True mask of shape (H, W).
        spacing: Distance between pixels along rows and columns (down, across); the unit of the result. By default
            distances are in pixels.

    Returns:
        HD95 and average symmetric surface distance in [0, inf), lower is better; NaN if a mask is empty.

    Source: Huttenlocher et al., IEEE TPAMI 15(9), 1993 (Hausdorff); Heimann et al., IEEE TMI 28(8), 2009 (average).

    Example:
        >>> import numpy as np
        >>> mask_pred, mask = np.zeros((2, 9, 9), bool)
        >>> mask_pred[1, 2] = mask[5, 5] = True
        >>> surface_distances(mask_pred, mask)
        (5.0, 5.0)
    """
    if not mask_pred.any() or not mask.any():
        return float("nan"), float("nan")
    pred_surface, true_surface = surface(mask_pred) * np.asarray(spacing), surface(mask) * np.asarray(spacing)
    pred_to_true = KDTree(true_surface).query(pred_surface)[0]
    true_to_pred = KDTree(pred_surface).query(true_surface)[0]
    hausdorff = max(np.percentile(pred_to_true, HD_PERCENTILE), np.percentile(true_to_pred, HD_PERCENTILE))
    return float(hausdorff), float(np.concatenate([pred_to_true, true_to_pred]).mean())


def surface(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the row and column of each surface pixel of a mask (H, W), shape (N, 2)."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    box = mask.view(np.uint8)[top : top + height, left : left + width]
    inner = cv2.erode(box, CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    pixels: NDArray[np.int64] = np.argwhere(box > inner) + np.array([top, left])
    return pixels
