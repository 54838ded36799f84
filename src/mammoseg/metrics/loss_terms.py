"""Epoch means of a criterion's terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class LossTermMeans(Metric):
    """Mean over images of each weighted loss term and of their sum.

    A single metric for all terms: logging each term separately would take a tenth of the time of a training step of a
    small network.

    Args:
        names: Names of the terms.

    Example:
        >>> import torch
        >>> metric = LossTermMeans(["dice", "bce"])
        >>> metric.update(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), n_images=2)
        >>> metric.compute()
        {'loss': tensor(5.), 'dice': tensor(1.5000), 'bce': tensor(3.5000)}
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = tuple(names)
        self.add_state("total", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, terms: Tensor, n_images: Tensor | int) -> None:
        """Add the weighted terms of a batch.

        Args:
            terms: Weighted terms of shape (terms, B).
            n_images: Weight of the mean over the batch, its number of images without padding.
        """
        self.total += terms.double().mean(dim=1) * n_images
        self.images += n_images

    def compute(self) -> dict[str, Tensor]:
        """Return the means by name, and their sum as "loss"; NaN without images."""
        means = self.total / self.images
        return {"loss": means.sum().float(), **dict(zip(self.names, means.float(), strict=True))}
