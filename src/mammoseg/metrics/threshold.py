"""Probabilities in 256 steps, and what any threshold makes of them, without the images."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256
# Logits of the probabilities 1/256 to 255/256; that of 1/2 is 0 to the last bit.
EDGES = torch.logit(torch.arange(1, LEVELS, dtype=torch.float64) / LEVELS).float()


def levels(logits: Tensor) -> Tensor:
    """Logits -> uint8 of the same shape: the number of k in 1..255 for which the probability is above k/256.

    So `levels >= k` is `probability > k / 256` exactly, and `levels > 127` the mask at the usual threshold of 0.5.
    They are compared as logits, since a sigmoid rounds small ones to 0.5.
    """
    return torch.bucketize(logits.float().contiguous(), EDGES.to(logits.device)).to(torch.uint8)
