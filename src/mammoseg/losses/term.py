"""Base class of the loss terms."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn


class Term(nn.Module):
    """Base class of loss terms that return one value per sample. Subclasses implement `value`.

    Terms are computed in float32 or float64, also under autocast, because sums over 65,536 pixels and small variances
    are too imprecise in 16-bit formats.

    Shapes:
        logits (B, 1, H, W) and mask (B, 1, H, W) in {0, 1} -> (B,).

    Example:
        >>> class MeanAbsoluteError(Term):
        ...     def value(self, logits, mask):
        ...         return (logits.sigmoid() - mask).abs().mean(dim=(1, 2, 3))
        >>> MeanAbsoluteError()(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8))
        tensor([0.5000, 0.5000])
    """

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the term for each sample.

        Args:
            logits: Network output of shape (B, 1, H, W).
            mask: Ground truth of shape (B, 1, H, W) in {0, 1}; receives no gradient.

        Returns:
            Value of the term for each sample, shape (B,).
        """
        dtype = torch.promote_types(logits.dtype, torch.float32)
        with torch.autocast(logits.device.type, enabled=False):
            return self.value(logits.to(dtype), mask.detach().to(dtype))

    @abstractmethod
    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the term for each sample.

        Args:
            logits: Network output of shape (B, 1, H, W), float32 or float64.
            mask: Ground truth of shape (B, 1, H, W) in {0, 1}, of the same data type.

        Returns:
            Value of the term for each sample, shape (B,).
        """
