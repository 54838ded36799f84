"""Probabilities quantised to 256 levels, so that any threshold can be applied later without the network."""

from __future__ import annotations

import torch
from torch import Tensor

N_LEVELS = 256
# Logits of the probabilities 1/256 to 255/256; that of 1/2 is exactly 0.
LOGIT_EDGES = torch.logit(torch.arange(1, N_LEVELS, dtype=torch.float64) / N_LEVELS).float()


def quantise_probs(logits: Tensor) -> Tensor:
    """Quantise the probabilities of `logits`.

    `quantised >= k` equals `probability > k / 256` exactly, and `quantised > 127` is the mask at a threshold of 0.5.
    The comparison is on logits, since a sigmoid rounds small ones to 0.5.

    Args:
        logits: Of any shape.

    Returns:
        uint8 of the same shape: the number of k in 1..255 for which the probability is above k/256.
    """
    return torch.bucketize(logits.float().contiguous(), LOGIT_EDGES.to(logits.device)).to(torch.uint8)
