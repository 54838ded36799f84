"""Adapter for losses of other libraries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mammoseg import validate
from mammoseg.losses.term import Term

PREDICTION_TYPES = ("logits", "probability")


class PerSample(Term):
    """Term that applies a batch-reducing loss to each sample separately.

    Args:
        loss: Module called with a prediction and a mask of shape (1, 1, H, W). Its output is averaged if it is not a
            scalar.
        prediction_type: Type of prediction that `loss` expects, "logits" or "probability". MONAI's losses expect
            logits if they are created with ``sigmoid=True``.
        empty_mask: Term for samples with an empty mask, for which `loss` is not suitable; None to apply `loss` to all.

    Raises:
        UserError: If `prediction_type` is neither "logits" nor "probability".

    Example:
        >>> import torch
        >>> loss = PerSample(torch.nn.MSELoss(), prediction_type="probability")
        >>> loss(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8))
        tensor([0.2500, 0.2500])
    """

    def __init__(self, loss: nn.Module, prediction_type: str = "logits", empty_mask: Term | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.empty_mask = empty_mask
        self.prediction_type = validate.one_of("prediction_type of a PerSample loss", prediction_type, PREDICTION_TYPES)

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Apply the loss to each sample."""
        prediction = torch.sigmoid(logits) if self.prediction_type == "probability" else logits
        samples = zip(torch.split(prediction, 1), torch.split(mask, 1), strict=True)
        values = torch.stack([self.loss(*sample).mean() for sample in samples])
        if self.empty_mask is None:
            return values
        return torch.where(mask.amax(dim=(1, 2, 3)) > 0, values, self.empty_mask.value(logits, mask))
