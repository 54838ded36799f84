"""What the terms of a criterion came to over an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class TermMeans(Metric):
    """The mean of each weighed term over the images seen, and of their sum, `loss`.

    Shapes: update(parts (terms, B), images): the mean over these B counts as that over `images` images. One update a
    step, where logging each term by itself would cost a tenth of a small network's step. Value: {name: (), ...}; NaN
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
