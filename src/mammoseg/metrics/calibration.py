"""Calibration: reliability diagram and expected calibration error."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

N_CALIBRATION_BINS = 10


def reliability_sums(prob: Tensor, mask: Tensor, region: Tensor | None = None) -> Tensor:
    """Compute the sums of a reliability diagram with ten equal-width bins of the predicted probability.

    The sums of several batches can be added.

    Args:
        prob: Predicted probability of shape (B, 1, H, W) in [0, 1].
        mask: Ground truth of shape (B, 1, H, W) in {0, 1}.
        region: Pixels to include, such as those of the breast, bool of shape (B, 1, H, W); None includes all.

    Returns:
        Float64 tensor of shape (10, 3). Its columns are the number of pixels, the sum of their probabilities and the
        number of mass pixels in each bin.

    Example:
        >>> import torch
        >>> reliability_sums(torch.full((1, 1, 2, 2), 0.25), torch.ones(1, 1, 2, 2))[2]
        tensor([4., 1., 4.], dtype=torch.float64)
    """
    if region is not None:
        prob, mask = prob[region], mask[region]
    prob = prob.flatten().double()
    bin_index = (prob * N_CALIBRATION_BINS).long().clamp(max=N_CALIBRATION_BINS - 1)
    columns = [torch.ones_like(prob), prob, mask.flatten().double()]
    return torch.stack([torch.bincount(bin_index, column, minlength=N_CALIBRATION_BINS) for column in columns], dim=1)


def expected_calibration_error(sums: NDArray[np.float64] | Tensor) -> float:
    """Compute the expected calibration error (ECE).

    The ECE is the mean of ``|mean probability - fraction of mass pixels|`` over the bins, weighted by the number of
    pixels.

    Args:
        sums: Sums of shape (10, 3), see `reliability_sums`.

    Returns:
        Expected calibration error in [0, 1], lower is better; NaN without pixels.

    Source: Naeini et al., AAAI 2015.

    Example:
        >>> import torch
        >>> expected_calibration_error(reliability_sums(torch.full((1, 1, 2, 2), 0.25), torch.ones(1, 1, 2, 2)))
        0.75
    """
    n_pixels, prob_sums, n_mass_pixels = (np.asarray(column, np.float64) for column in np.asarray(sums).T)
    return float(np.abs(prob_sums - n_mass_pixels).sum() / n_pixels.sum()) if n_pixels.any() else float("nan")
