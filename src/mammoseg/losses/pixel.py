"""Pixel-level terms: each pixel is compared independently of its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.losses.term import Term


class BCE(Term):
    """Binary cross-entropy with logits, averaged over the pixels of each sample (eq. 1). Range: [0, inf).

    The paper defines eq. 1 for a single pixel. The mean keeps the term on the scale of Dice; the sum would be 65,536
    times larger for an image of 256 x 256 pixels.

    Args:
        positive: Weight of the pixels inside masses; 1 in the paper.
        negative: Weight of the pixels outside masses; 1 in the paper.

    Source: Aliniya et al., §3.1.

    Example:
        >>> import torch
        >>> BCE()(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8))
        tensor([0.6931, 0.6931])
    """

    def __init__(self, positive: float = 1.0, negative: float = 1.0) -> None:
        super().__init__()
        self.positive = positive
        self.negative = negative

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Mean (weighted) cross-entropy of each sample."""
        entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        if self.positive != 1 or self.negative != 1:
            entropy = entropy * (self.negative + (self.positive - self.negative) * mask)
        return entropy.mean(dim=(1, 2, 3))


class Dice(Term):
    """Soft Dice loss of each sample (eq. 2): 1 - (factor * sum(p y) + eps) / (sum(p) + sum(y) + eps).

    Args:
        factor: 1 as printed in the paper, where the loss is 1/2 for a perfect prediction and 1 without any overlap.
            With the published alpha = 2 this equals the usual Dice loss of weight 1 up to a constant. 2 gives the
            usual Dice loss; halve alpha with it.
        eps: Smoothing constant in pixels, which keeps the value finite for empty masks. The paper specifies none; 1
            is common practice.

    Source: Aliniya et al., §3.1.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 8, 8)
        >>> mask[..., :4, :4] = 1
        >>> Dice(factor=2)(100 * (mask - 0.5), mask)
        tensor([0.])
        >>> Dice(factor=1)(100 * (mask - 0.5), mask)
        tensor([0.4848])
    """

    def __init__(self, factor: float = 1.0, eps: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.eps = eps

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Soft Dice loss of each sample."""
        prob = torch.sigmoid(logits)
        intersection = (prob * mask).sum(dim=(1, 2, 3))
        total = prob.sum(dim=(1, 2, 3)) + mask.sum(dim=(1, 2, 3))
        return 1 - (self.factor * intersection + self.eps) / (total + self.eps)
