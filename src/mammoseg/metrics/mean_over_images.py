"""Mean over the images with a mass of a metric that is computed from pixel counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from mammoseg.density import ACRDensity
from mammoseg.metrics.pixel import PooledPixelMetric, confusion_counts


class MeanOverImages(Metric):
    """Mean over the images with a mass of a metric that is computed from pixel counts; they have equal weight.

    Images without a mass are ignored. The mean is NaN if the metric is undefined for any other image, or without them.

    Args:
        metric: Subclass of `PooledPixelMetric`, such as `DSC`.
        **kwargs: Arguments of `torchmetrics.Metric`.

    Shapes:
        As for `PooledPixelMetric`.

    Attributes:
        total: State of shape (4,), the sum of the values in each density category.
        images: State of shape (4,), the number of images with a mass.
        undefined: State of shape (4,), the number of them for which the metric is undefined.

    Example:
        >>> import torch
        >>> from mammoseg.metrics import Sensitivity
        >>> metric = MeanOverImages(Sensitivity)
        >>> masks = torch.tensor([[[[1, 1, 1, 0]]], [[[1, 0, 0, 0]]]])
        >>> metric.update(torch.tensor([[[[1, 1, 1, 0]]], [[[0, 0, 0, 0]]]]), masks, torch.tensor([0, 3]))
        >>> metric.compute()  # the pooled sensitivity is 0.75
        tensor(0.5000, dtype=torch.float64)
    """

    full_state_update = False
    total: Tensor
    images: Tensor
    undefined: Tensor

    def __init__(self, metric: type[PooledPixelMetric], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.formula = metric.formula
        zero = torch.zeros(len(ACRDensity), dtype=torch.float64)
        self.add_state("total", zero, dist_reduce_fx="sum")
        self.add_state("images", zero.long(), dist_reduce_fx="sum")
        self.add_state("undefined", zero.long(), dist_reduce_fx="sum")

    def update(self, mask_pred: Tensor, mask: Tensor, density: Tensor) -> None:
        """Add a batch.

        Args:
            mask_pred: Predicted masks of shape (B, 1, H, W) in {0, 1}.
            mask: Ground truth of shape (B, 1, H, W) in {0, 1}.
            density: ACR density category of each image in {0, 1, 2, 3}, shape (B,).
        """
        values = self.formula(*confusion_counts(mask_pred, mask).double().unbind(dim=1))
        has_mass = mask.flatten(1).any(dim=1)
        self.total.index_add_(0, density, torch.where(has_mass, values, 0))
        self.images.index_add_(0, density, has_mass.long())
        self.undefined.index_add_(0, density, (values.isnan() & has_mass).long())

    def compute(self) -> Tensor:
        """Return the mean over all images with a mass, a float64 scalar."""
        return self.total.sum() / self.images.sum()

    def by_density(self) -> Tensor:
        """Return the mean over the images with a mass in each ACR category, shape (4,)."""
        return self.total / self.images
