"""Any library's loss as a term."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mammoseg import validate
from mammoseg.losses.term import Term

INPUTS = ("logits", "probability")


class PerSample(Term):
    """A loss that reduces over its batch, called on one sample at a time, so that each sample has its value.

    `loss`: (prediction, mask), both (1, 1, H, W), to a tensor whose mean is the value.
    `input`: what the loss wants as prediction, "logits" or the "probability" of mass. MONAI's classes take
    logits if they have an argument `sigmoid` and it is true.
    Raises UserError for another input.
    """

    def __init__(self, loss: nn.Module, input: str = "logits") -> None:
        super().__init__()
        self.loss = loss
        self.input = validate.one_of("input of a PerSample loss", input, INPUTS)

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        prediction = torch.sigmoid(logits) if self.input == "probability" else logits
        samples = zip(prediction.split(1), mask.split(1), strict=True)
        return torch.stack([self.loss(*sample).mean() for sample in samples])
