"""Pixel-level loss terms, which do not depend on the arrangement of the pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.losses.term import Term


class BCE(Term):
    """Binary cross-entropy with logits, averaged over the pixels of each sample (eq. 1). Range: [0, inf).

    The paper defines eq. 1 for a single pixel and does not specify the reduction. The mean has the same scale as Dice;
    the sum would be 65,536 times larger for 256 x 256 pixels.

    Args:
        positive: Weight of mass pixels; 1 in the paper.
        negative: Weight of background pixels; 1 in the paper.

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
        """Compute the mean cross-entropy of each sample."""
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        if self.positive != 1 or self.negative != 1:
            cross_entropy = cross_entropy * (self.negative + (self.positive - self.negative) * mask)
        return cross_entropy.mean(dim=(1, 2, 3))


class Dice(Term):
    """Soft Dice loss of each sample (eq. 2): 1 - (factor * sum(p y) + eps) / (sum(p) + sum(y) + eps).

    Args:
        factor: Factor of the intersection. 1 as printed in the paper: the loss is 1/2 for a perfect prediction and 1
            without overlap, and with the published alpha = 2 the term equals the usual Dice loss up to a constant. 2
            gives the usual Dice loss, for which alpha must be halved to obtain the same gradients.
        eps: Smoothing constant in pixels, which keeps the value finite for empty masks. The paper specifies none; 1
            is a common choice.

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
        """Compute the soft Dice loss of each sample."""
        prob = torch.sigmoid(logits)
        intersection = (prob * mask).sum(dim=(1, 2, 3))
        total = prob.sum(dim=(1, 2, 3)) + mask.sum(dim=(1, 2, 3))
        if self.factor != 1:
            intersection = self.factor * intersection
        return 1 - (intersection + self.eps) / (total + self.eps)
