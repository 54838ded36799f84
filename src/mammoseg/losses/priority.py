"""Priorities: how much a term weighs for one sample."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mammoseg.data.mammogram import DENSITIES
from mammoseg.errors import UserError


class Priority(nn.Module):
    """Shapes: mask (B, 1, H, W), density (B,) in 0..3 -> {term: (B,)}; a term that is not named weighs 1."""

    @abstractmethod
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]: ...


class ByDensity(Priority):
    """theta[density] for the named terms (eq. 7: p^i theta^T).

    `theta`: one finite number >= 0 for each of the four ACR categories. Raises UserError for anything else.
    """

    theta: Tensor

    def __init__(self, theta: Sequence[float], terms: Sequence[str]) -> None:
        super().__init__()
        self.register_buffer("theta", torch.tensor(four_numbers(theta)))
        self.terms = tuple(terms)

    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        weight = self.theta[density]
        return dict.fromkeys(self.terms, weight)


def four_numbers(theta: object) -> list[float]:
    rule = "loss.theta must be four numbers >= 0, one for each ACR category 1-4, such as [0.5,0.5,0.85,0.95]"
    try:
        values = [float(cast(float, value)) for value in cast(Sequence[object], theta)]
    except (TypeError, ValueError) as error:
        raise UserError(f"{rule}; got {theta}") from error
    if len(values) != len(DENSITIES) or not all(math.isfinite(value) and value >= 0 for value in values):
        raise UserError(f"{rule}; got {theta}")
    return values
