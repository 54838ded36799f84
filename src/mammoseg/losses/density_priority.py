"""Weights of loss terms by breast density."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from mammoseg import validate
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.losses.priority import Priority, nonnegative_floats


class ByDensity(Priority):
    """Weight theta[density] that depends on the density category (eq. 7: p^i theta^T).

    Args:
        theta: One finite number >= 0 for each of the four ACR density categories.
        terms: Names of the terms that are weighted.
        interpolate: Whether theta is interpolated linearly at the density score, a continuous density in [0, 3] that is
            estimated from the pixels, instead of looked up by category. At integers, both are equal. The paper proposes
            densities from pixels as future work.

    Attributes:
        theta: Buffer of shape (4,).

    Raises:
        UserError: If `theta` is not a list of four numbers >= 0.

    Example:
        >>> import torch
        >>> priority = ByDensity([0.5, 0.5, 0.85, 0.95], terms=["rmi"])
        >>> priority(torch.zeros(2, 1, 8, 8), torch.tensor([0, 3]))
        {'rmi': tensor([0.5000, 0.9500])}
    """

    theta: Tensor

    def __init__(self, theta: Sequence[float], terms: Sequence[str], interpolate: bool = False) -> None:
        super().__init__()
        self.register_buffer("theta", torch.tensor(validate_theta(theta)))
        self.terms = tuple(terms)
        self.interpolate = validate.boolean("loss.interpolate", interpolate)
        if self.interpolate:
            self.density_key = "density_score"

    @override
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Return theta[density], or theta interpolated at `density` in [0, 3], for each of the terms."""
        weight = interpolate_theta(self.theta, density) if self.interpolate else self.theta[density]
        return dict.fromkeys(self.terms, weight)


def interpolate_theta(theta: Tensor, density: Tensor) -> Tensor:
    """Interpolate the weights of the density categories linearly.

    Args:
        theta: Weights of shape (4,).
        density: Continuous densities of shape (B,), clamped to [0, 3]; no gradient is propagated to them.

    Returns:
        Weights of shape (B,).

    Example:
        >>> import torch
        >>> interpolate_theta(torch.tensor([0.25, 0.25, 0.75, 1.0]), torch.tensor([0.0, 1.5, 3.0]))
        tensor([0.2500, 0.5000, 1.0000])
    """
    position = density.detach().to(theta.dtype).clamp(0, len(theta) - 1)
    lower = position.floor().clamp(max=len(theta) - 2).long()
    return torch.lerp(theta[lower], theta[lower + 1], position - lower)


def validate_theta(theta: object) -> list[float]:
    """Check the weights of the four density categories.

    Args:
        theta: Value of the setting `loss.theta`.

    Returns:
        The weights.

    Raises:
        UserError: If `theta` is not a list of four numbers >= 0.
    """
    rule = "loss.theta must be four numbers >= 0, one for each ACR category 1-4, such as [0.5,0.5,0.85,0.95]"
    values = nonnegative_floats(theta, rule)
    if len(values) != len(ACRDensity):
        raise UserError(f"{rule}, got {theta}")
    return values
