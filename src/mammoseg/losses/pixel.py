"""Pixel-level terms: every pixel counts by itself (Aliniya et al., §3.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.losses.term import Term


class BCE(Term):
    """Binary cross entropy, the mean over the sample's pixels (eq. 1), computed from logits.

    Value: [0, inf). The paper writes eq. 1 for a pixel; the mean keeps it on the scale of Dice, where
    a sum would be 65,536 times larger. `positive`, `negative`: weights of the pixels inside and outside
    of masses, 1 and 1 in the paper.
    """

    def __init__(self, positive: float = 1.0, negative: float = 1.0) -> None:
        super().__init__()
        self.positive = positive
        self.negative = negative

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        if self.positive != 1 or self.negative != 1:
            entropy = entropy * (self.negative + (self.positive - self.negative) * mask)
        return entropy.mean(dim=(1, 2, 3))


class Dice(Term):
    """Soft Dice loss of one sample (eq. 2): 1 - (factor * sum(p y) + eps) / (sum(p) + sum(y) + eps).

    `factor`: 1 as printed, which is 1/2 at a perfect prediction and 1 at the worst; together with the
    published alpha=2 it equals the usual Dice with weight 1. 2 is the usual Dice; halve alpha with it.
    `eps`: the paper gives none; 1 is the field's practice on pixel sums, and keeps empty masks finite.
    """

    def __init__(self, factor: float = 1.0, eps: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.eps = eps

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        prob = torch.sigmoid(logits)
        overlap = (prob * mask).sum(dim=(1, 2, 3))
        total = prob.sum(dim=(1, 2, 3)) + mask.sum(dim=(1, 2, 3))
        return 1 - (self.factor * overlap + self.eps) / (total + self.eps)
