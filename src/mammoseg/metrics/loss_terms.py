"""Epoch means of the terms of a criterion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class LossTermMeans(Metric):
    """Mean over images of each weighted loss term and of their sum.

    All terms are part of one metric, since separate metrics would take about 10 % of the training time of a small
    network.

    Args:
        names: Names of the terms.
        **kwargs: Arguments of `torchmetrics.Metric`.

    Attributes:
        total: State of shape (terms,), the sum over images of each term.
        images: Scalar state, the number of images.

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
            terms: Weighted terms, shape (terms, B).
            n_images: Number of images in the batch without padding, which weights the mean over the batch.
        """
        self.total += terms.double().mean(dim=1) * n_images
        self.images += n_images

    def compute(self) -> dict[str, Tensor]:
        """Return the means by name of the term, and their sum as "loss"; NaN without images."""
        means = self.total / self.images
        return {"loss": means.sum().float(), **dict(zip(self.names, means.float(), strict=True))}
