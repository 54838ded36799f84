"""Calibration: sums for the reliability diagram and the expected calibration error."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINS = 10


def reliability_sums(prob: Tensor, mask: Tensor) -> Tensor:
    """Sums for the reliability diagram, by ten equal bins of the probability. Sums of batches add up.

    Args:
        prob: (B, 1, H, W) in [0, 1].
        mask: (B, 1, H, W) in {0, 1}.

    Returns:
        (10, 3) float64: number of pixels, sum of their probabilities, number of mass pixels.
    """
    prob = prob.flatten().double()
    bin_index = (prob * BINS).long().clamp(max=BINS - 1)
    columns = [torch.ones_like(prob), prob, mask.flatten().double()]
    return torch.stack([torch.bincount(bin_index, column, minlength=BINS) for column in columns], dim=1)


def expected_calibration_error(sums: NDArray[np.float64] | Tensor) -> float:
    """Mean over pixels of |mean probability - fraction of mass| of their bin; [0, 1], lower is better.

    Source: Naeini et al., AAAI 2015.

    Args:
        sums: (10, 3) as `reliability_sums` returns.

    Returns:
        The error; NaN without pixels.
    """
    pixels, probabilities, masses = (np.asarray(column, np.float64) for column in np.asarray(sums).T)
    return float(np.abs(probabilities - masses).sum() / pixels.sum()) if pixels.any() else float("nan")
