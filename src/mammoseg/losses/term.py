"""What every loss term is."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn


class Term(nn.Module):
    """One term of a loss, one value per sample.

    Shapes: logits (B, 1, H, W), mask (B, 1, H, W) in {0, 1} -> (B,). The mask gets no gradient.
    Computed in single precision or better, also under autocast: sums over 65,536 pixels and small
    variances lose too much in 16 bits.
    """

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        with torch.autocast(logits.device.type, enabled=False):
            return self.value(logits.to(dtype), mask.detach().to(dtype))

    @abstractmethod
    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """(B, 1, H, W) logits and mask of one floating type -> (B,)."""
