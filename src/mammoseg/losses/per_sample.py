"""Adapter for losses of other libraries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mammoseg import validate
from mammoseg.losses.term import Term

INPUTS = ("logits", "probability")


class PerSample(Term):
    """Term that applies a batch-reducing loss to each sample separately.

    Args:
        loss: Module called with a prediction and a mask of shape (1, 1, H, W). Its output is averaged if it is not a
            scalar.
        input: Type of prediction that `loss` expects, "logits" or "probability". MONAI's losses expect logits if they
            are created with ``sigmoid=True``.

    Raises:
        UserError: If `input` is neither "logits" nor "probability".

    Example:
        >>> import torch
        >>> loss = PerSample(torch.nn.MSELoss(), input="probability")
        >>> loss(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8))
        tensor([0.2500, 0.2500])
    """

    def __init__(self, loss: nn.Module, input: str = "logits") -> None:
        super().__init__()
        self.loss = loss
        self.input = validate.one_of("input of a PerSample loss", input, INPUTS)

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Apply the loss to each sample."""
        prediction = torch.sigmoid(logits) if self.input == "probability" else logits
        samples = zip(torch.split(prediction, 1), torch.split(mask, 1), strict=True)
        return torch.stack([self.loss(*sample).mean() for sample in samples])
