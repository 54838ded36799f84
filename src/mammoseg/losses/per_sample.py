"""Any library's loss as a term."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mammoseg.errors import UserError
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
        if input not in INPUTS:
            raise UserError(f"input={input!r} of a PerSample loss, but the choices are {' and '.join(INPUTS)}")
        self.loss = loss
        self.input = input

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        prediction = torch.sigmoid(logits) if self.input == "probability" else logits
        samples = zip(prediction.split(1), mask.split(1), strict=True)
        return torch.stack([self.loss(*sample).mean() for sample in samples])
