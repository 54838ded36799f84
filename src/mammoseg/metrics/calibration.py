"""Does a probability of 0.7 mean mass in seven of ten pixels?"""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 10


def reliability(prob: Tensor, mask: Tensor) -> Tensor:
    """Pixels, sum of their probabilities and number of mass pixels, by ten equal bins of the probability.

    Shapes: prob and mask (B, 1, H, W), prob in [0, 1], mask in {0, 1} -> (10, 3) float64. Sums over batches add up.
    """
    prob = prob.flatten().double()
    place = (prob * BINS).long().clamp(max=BINS - 1)
    columns = [torch.ones_like(prob), prob, mask.flatten().double()]
    return torch.stack([torch.bincount(place, column, minlength=BINS) for column in columns], dim=1)


def expected_calibration_error(sums: Tensor) -> float:
    """Mean over pixels of |mean probability - share of mass| of their bin; [0, 1], lower is better.

    Shapes: sums (10, 3) as `reliability` gives. NaN for no pixel. Source: Naeini et al., AAAI 2015.
    """
    pixels, probabilities, masses = sums.double().unbind(dim=1)
    return float((probabilities - masses).abs().sum() / pixels.sum())
