"""Sample-dependent weights of loss terms: the base class, and weights by mass size."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.losses.mass_size import cluster_edges, mass_ratio, neutral_without_mass, quantile_edges

log = logging.getLogger(__name__)

GROUPINGS = ("quantile", "cluster")


class Priority(nn.Module):
    """Base class of sample-dependent weights. Subclasses implement `forward`.

    Attributes:
        density_key: Entry of the batch that is passed as `density`: "density", the categories, or "density_score", the
            continuous density estimated from the pixels.

    Shapes:
        mask (B, 1, H, W) and density (B,) in {0, 1, 2, 3} -> {term: (B,)}.
    """

    density_key = "density"

    @abstractmethod
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Compute the weight of each term for each sample.

        Args:
            mask: Ground truth of shape (B, 1, H, W) in {0, 1}.
            density: ACR density category of each image in {0, 1, 2, 3}, shape (B,).

        Returns:
            Weights of shape (B,) by name of the term. Terms without an entry have weight 1.
        """

    def penalty(self, mask: Tensor) -> Tensor | None:  # noqa: ARG002, subclasses use it
        """Compute a summand of the loss that limits learned weights; None by default.

        Args:
            mask: Ground truth of shape (B, 1, H, W) in {0, 1}.

        Returns:
            Penalty of each sample, shape (B,), or None.
        """
        return None

    def fit(self, ratios: Tensor) -> None:
        """Fit to the training set. Called once before training; does nothing by default.

        Args:
            ratios: Mass ratios of the training images with a mass, shape (N,), in [0, 1].
        """


class ByRatio(Priority):
    """Weight table[term][group] that depends on the mass ratio, for the quantile and cluster variants of ASP.

    The groups are intervals of the mass ratio. With "quantile", each contains the same number of training images. With
    "cluster", the edges are the midpoints between k-means centroids of the mass ratios. Images without a mass belong to
    no group; their weights are 1. Until `fit` is called, all weights are 1 and a warning is logged.

    Args:
        table: Weights >= 0 by name of the term, one per group, from the smallest masses to the largest. Their number
            determines the number of groups.
        grouping: "quantile" or "cluster".

    Attributes:
        edges: Buffer of shape (groups - 1,), computed by `fit` and saved in checkpoints.

    Raises:
        UserError: If an argument is invalid.

    Example:
        >>> import torch
        >>> priority = ByRatio({"dice": [1.5, 0.5]}, grouping="quantile")
        >>> priority.fit(torch.tensor([0.01, 0.02, 0.1, 0.2]))
        >>> priority(torch.ones(1, 1, 8, 8), torch.tensor([0]))
        {'dice': tensor([0.5000])}
    """

    table: Tensor
    edges: Tensor

    def __init__(self, table: Mapping[str, Sequence[float]], grouping: str = "quantile") -> None:
        super().__init__()
        self.grouping = validate.one_of("loss.priority.grouping", grouping, GROUPINGS)
        rows = {term: validate_weights(term, row) for term, row in table.items()}
        if len({len(row) for row in rows.values()}) != 1:
            raise UserError(f"loss.priority.table must have the same number of weights for each term, got {rows}")
        self.terms = tuple(rows)
        self.register_buffer("table", torch.tensor(list(rows.values())), persistent=False)
        self.groups = self.table.shape[1]
        self.warned = False
        self.register_buffer("edges", torch.full((self.groups - 1,), math.nan, dtype=torch.float64))
        # Cached as a Python bool: testing `edges.isnan()` in every forward pass would synchronise the GPU.
        self.fitted = False
        self.register_load_state_dict_post_hook(ByRatio._update_fitted)  # type: ignore[no-untyped-call]  # torch

    def _update_fitted(self, *_: object) -> None:
        self.fitted = not bool(self.edges.isnan().any())

    @override
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Return the weights of the group of each sample; empty until `fit` is called."""
        if not self.fitted:
            self._warn_once()
            return {}
        group = torch.bucketize(mass_ratio(mask), self.edges, right=True)
        weights = neutral_without_mass(self.table[:, group], mask, neutral=1)
        return dict(zip(self.terms, weights, strict=True))

    def fit(self, ratios: Tensor) -> None:
        """Compute the edges of the groups.

        Args:
            ratios: Mass ratios of the training images with a mass, shape (N,), in [0, 1].

        Raises:
            UserError: If there are fewer distinct ratios than groups, or k-means finds fewer clusters than groups.
        """
        sorted_ratios = np.sort(ratios.double().numpy())
        n_distinct = len(np.unique(sorted_ratios))
        if n_distinct < self.groups:
            raise UserError(
                f"the training set must contain at least {self.groups} different mass sizes for the {self.groups} "
                f"groups of loss.priority.table, got {n_distinct}; use more images or fewer weights"
            )
        compute_edges = quantile_edges if self.grouping == "quantile" else cluster_edges
        self.edges.copy_(torch.from_numpy(compute_edges(sorted_ratios, self.groups)))
        self._update_fitted()

    def _warn_once(self) -> None:
        if not self.warned:
            log.warning("the ASP loss is not fitted to the training set, so all weights are 1; call fit(ratios) first")
            self.warned = True


def validate_weights(term: str, row: object) -> list[float]:
    """Check the weights of a term in `loss.priority.table`.

    Args:
        term: Name of the term.
        row: Its weights, one per group.

    Returns:
        The weights.

    Raises:
        UserError: If `row` is not a list of two or more numbers >= 0.
    """
    rule = f"loss.priority.table.{term} must be two or more numbers >= 0, from the smallest masses to the largest"
    values = nonnegative_floats(row, rule)
    if len(values) < 2:
        raise UserError(f"{rule}, got {row}")
    return values


def nonnegative_floats(row: object, rule: str) -> list[float]:
    """Convert `row` to finite numbers >= 0; raises UserError with the message `rule` if this fails."""
    try:
        values = [float(cast(float, value)) for value in cast(Sequence[object], row)]
    except (TypeError, ValueError) as error:
        raise UserError(f"{rule}, got {row}") from error
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise UserError(f"{rule}, got {row}")
    return values
