"""Weights of loss terms that are learned functions of the mass ratio."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.losses.mass_size import log_ratio, mass_ratio, neutral_without_mass
from mammoseg.losses.priority import Priority

log = logging.getLogger(__name__)


class StandardisedRatioPriority(Priority):
    """Base class of weights that depend on z, the logarithm of the mass ratio, standardised over the training set.

    z is undefined without a mass: the weights of such images are 1, and they do not affect the learned parameters.

    Args:
        terms: Names of the two terms that are weighted.

    Attributes:
        mean: Scalar buffer, the mean of the logarithms over the training set; computed by `fit`.
        deviation: Scalar buffer, their standard deviation.

    Raises:
        UserError: If `terms` are not two names.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, terms: Sequence[str]) -> None:
        super().__init__()
        if len(terms) != 2:
            raise UserError(f"loss.priority.terms must be the names of two terms, got {list(terms)}")
        self.terms = tuple(terms)
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("deviation", torch.ones((), dtype=torch.float64))

    def standardised_log_ratio(self, mask: Tensor) -> Tensor:
        """Compute z for masks (B, 1, H, W) in {0, 1}; returns float32 of shape (B,)."""
        return ((log_ratio(mass_ratio(mask)) - self.mean) / self.deviation).float()

    @override
    def fit(self, ratios: Tensor) -> None:
        """Compute mean and standard deviation of the logarithms of the mass ratios.

        Args:
            ratios: Mass ratios of the training images with a mass, shape (N,), in [0, 1].
        """
        logs = log_ratio(ratios.double())
        self.mean.copy_(logs.mean())
        std = logs.std(correction=0)
        if std < 1e-6:
            log.warning("all training masses have the same size, so the learned ASP weights cannot depend on the size")
            std = torch.ones_like(std)
        self.deviation.copy_(std)


class UncertaintyByRatio(StandardisedRatioPriority):
    """Learned weights exp(-s_t(z_i)) with the penalty sum_t s_t(z_i), where s_t is a linear function of z_i.

    This is the uncertainty weighting of Kendall et al. with a log-variance that depends on the mass ratio. For each
    mass ratio, the expected loss is minimal if the weight of a term is the inverse of its expected value. The weights
    thereby scale both terms to the same size for small and for large masses. A constant factor of a term only changes
    the initial weight, and a constant offset, such as that of Dice with factor 1, limits its weight. `slope` and
    `shift` are trained together with the network. They are initialised to 0, for which ASP equals the hybrid loss.

    Args:
        terms: Names of the two terms that are weighted.
        max_log_weight: Bound of ``|s_t|``, >= 0. Larger bounds than about 10 are rarely useful.

    Attributes:
        slope: Parameter of shape (2,).
        shift: Parameter of shape (2,).

    Raises:
        UserError: If an argument is invalid.

    Source: Kendall et al., CVPR 2018 (weighting of terms by uncertainty).

    Example:
        >>> import torch
        >>> priority = UncertaintyByRatio(terms=["dice", "bce"])
        >>> priority.fit(torch.tensor([0.01, 0.02, 0.1, 0.2]))
        >>> weights = priority(torch.ones(1, 1, 8, 8), torch.tensor([0]))
        >>> {term: weight.tolist() for term, weight in weights.items()}
        {'dice': [1.0], 'bce': [1.0]}
        >>> priority.penalty(torch.ones(1, 1, 8, 8)).tolist()
        [0.0]
    """

    def __init__(self, terms: Sequence[str] = ("dice", "bce"), max_log_weight: float = 5.0) -> None:
        super().__init__(terms)
        self.max_log_weight = validate.non_negative("loss.priority.max_log_weight", max_log_weight)
        self.slope = nn.Parameter(torch.zeros(2))
        self.shift = nn.Parameter(torch.zeros(2))

    def log_variance(self, mask: Tensor) -> Tensor:
        """Compute s_t(z_i), shape (2, B), for masks (B, 1, H, W) in {0, 1}; 0 for images without a mass."""
        linear = torch.outer(self.slope, self.standardised_log_ratio(mask)) + self.shift[:, None]
        bounded: Tensor = self.max_log_weight * torch.tanh(linear / self.max_log_weight)
        return neutral_without_mass(bounded, mask, neutral=0)

    @override
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Return the learned weights of both terms for each sample."""
        return dict(zip(self.terms, torch.exp(-self.log_variance(mask)), strict=True))

    @override
    def penalty(self, mask: Tensor) -> Tensor:
        """Compute the sum of s_t over the terms for each sample, shape (B,)."""
        return self.log_variance(mask).sum(dim=0)


class LearnedByRatio(StandardisedRatioPriority):
    """Learned function of the mass ratio: weights a_i = 1 + span tanh(slope z_i + shift) and b_i = 2 - a_i.

    z_i is the logarithm of the mass ratio of image i, standardised over the training set. `slope` and `shift` are
    trained together with the network. They are initialised to 0, for which ASP equals the hybrid loss. The weights have
    a constant sum and are bounded by `span`, since minimising the loss would otherwise drive the weight of the larger
    term to 0. If one term is larger for all mass ratios, its weight approaches 1 - span for all of them, and nothing
    about the mass ratio is learned; see `UncertaintyByRatio`.

    Args:
        terms: Names of the two terms with weights a_i and b_i.
        span: Maximum deviation of a weight from 1, in (0, 1).

    Attributes:
        slope: Scalar parameter.
        shift: Scalar parameter.

    Raises:
        UserError: If an argument is invalid.

    Example:
        >>> import torch
        >>> priority = LearnedByRatio(terms=["dice", "bce"], span=0.5)
        >>> priority.fit(torch.tensor([0.01, 0.02, 0.1, 0.2]))
        >>> weights = priority(torch.ones(1, 1, 8, 8), torch.tensor([0]))
        >>> {term: weight.tolist() for term, weight in weights.items()}
        {'dice': [1.0], 'bce': [1.0]}
    """

    def __init__(self, terms: Sequence[str] = ("dice", "bce"), span: float = 0.5) -> None:
        super().__init__(terms)
        self.span = validate.probability("loss.priority.span", span)
        self.slope = nn.Parameter(torch.zeros(()))
        self.shift = nn.Parameter(torch.zeros(()))

    @override
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Return the learned weights of both terms for each sample."""
        delta = self.span * torch.tanh(self.slope * self.standardised_log_ratio(mask) + self.shift)
        delta = neutral_without_mass(delta, mask, neutral=0)
        first, second = self.terms
        return {first: 1 + delta, second: 1 - delta}
