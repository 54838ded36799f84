"""Quantisation of probabilities to 8 bits, so that other thresholds can be applied to stored predictions."""

from __future__ import annotations

import torch
from torch import Tensor

N_LEVELS = 256
# Logits of the probabilities 1/256 to 255/256; the logit of 1/2 is exactly 0.
LOGIT_EDGES = torch.logit(torch.arange(1, N_LEVELS, dtype=torch.float64) / N_LEVELS).float()


def quantise_probs(logits: Tensor) -> Tensor:
    """Quantise probabilities to 256 levels.

    ``quantised >= k`` is equivalent to ``probability > k / 256``, so ``quantised > 127`` is the mask for a threshold of
    0.5. Logits are compared instead of probabilities, since the sigmoid of a logit close to 0 is rounded to 0.5.

    Args:
        logits: Tensor of any shape.

    Returns:
        uint8 tensor of the same shape: the number of integers k in [1, 255] with a probability above k / 256.

    Example:
        >>> import torch
        >>> quantise_probs(torch.tensor([-10.0, 0.0, 1e-30, 10.0]))
        tensor([  0, 127, 128, 255], dtype=torch.uint8)
    """
    return torch.bucketize(logits.float().contiguous(), LOGIT_EDGES.to(logits.device)).to(torch.uint8)
