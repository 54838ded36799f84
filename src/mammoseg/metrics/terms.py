"""Epoch means of a criterion's terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class LossTermMeans(Metric):
    """The mean over images of each weighted term, and of their sum, `loss`.

    Shapes: update(parts (terms, B), images): the mean over these B has the weight of `images` images. One update per
    step; logging each term separately would cost a tenth of a small network's step. Value: {name: (), ...}; NaN
    if no image was seen.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = tuple(names)
        self.add_state("total", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, parts: Tensor, images: Tensor | int) -> None:
        self.total += parts.double().mean(dim=1) * images
        self.images += images

    def compute(self) -> dict[str, Tensor]:
        means = self.total / self.images
        return {"loss": means.sum().float(), **dict(zip(self.names, means.float(), strict=True))}
