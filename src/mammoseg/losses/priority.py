"""Priorities: weights of the terms that depend on the sample."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import ClusterError, kmeans2
from torch import Tensor, nn
from typing_extensions import override

from mammoseg import validate
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

log = logging.getLogger(__name__)

GROUPINGS = ("quantile", "cluster")
MIN_RATIO = 1e-5  # lower bound of the mass ratio before the logarithm: 0.7 pixels of 256 x 256


class Priority(nn.Module):
    """Base class of weights that depend on the sample. Subclasses implement `forward`.

    Shapes:
        mask (B, 1, H, W) and density (B,) in {0, 1, 2, 3} -> {term: (B,)}.
    """

    @abstractmethod
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Compute the weight of each term for each sample.

        Args:
            mask: Ground truth of shape (B, 1, H, W) in {0, 1}.
            density: ACR density category of each image in {0, 1, 2, 3}, shape (B,).

        Returns:
            Weights of shape (B,) by the name of the term. Terms without an entry have weight 1.
        """

    def fit(self, ratios: Tensor) -> None:
        """Fit to the mass ratios (N,) of the training images. Called once before training; does nothing by default."""


class ByDensity(Priority):
    """Weight by density category: theta[density] for the given terms (eq. 7: p^i theta^T).

    Args:
        theta: A finite number >= 0 for each of the four ACR density categories.
        terms: Names of the terms to weight.

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

    def __init__(self, theta: Sequence[float], terms: Sequence[str]) -> None:
        super().__init__()
        self.register_buffer("theta", torch.tensor(validate_theta(theta)))
        self.terms = tuple(terms)

    @override
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Return theta[density] for each of the terms."""
        weight = self.theta[density]
        return dict.fromkeys(self.terms, weight)


class ByRatio(Priority):
    """Weight by group of mass ratio: table[term][group], the quantile and the cluster variant of ASP.

    The groups are intervals of the mass ratio. With "quantile" each contains the same number of training images; with
    "cluster" the edges are the midpoints between the k-means centroids of the ratios. Before `fit`, all weights are 1
    and a warning is logged.

    Args:
        table: For each term, a weight >= 0 for each group, from the smallest masses to the largest. The number of
            weights determines the number of groups.
        grouping: "quantile" or "cluster".

    Attributes:
        edges: Buffer of shape (groups - 1,), computed by `fit` and saved in checkpoints.

    Raises:
        UserError: If `table` is invalid, or `fit` is called with fewer distinct ratios than groups.

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
        """Return the weights of each sample's group, or no weights before `fit`."""
        if not self.fitted:
            self._warn_once()
            return {}
        group = torch.bucketize(mass_ratio(mask), self.edges, right=True)
        return dict(zip(self.terms, self.table[:, group], strict=True))

    def fit(self, ratios: Tensor) -> None:
        """Compute the edges of the groups from the mass ratios (N,) of the training images.

        Raises:
            UserError: If there are fewer distinct ratios than groups, or k-means finds fewer clusters.
        """
        distinct = np.unique(ratios.double().numpy())
        if len(distinct) < self.groups:
            raise UserError(
                f"the ASP loss groups images into {self.groups} groups by the size of their masses, but the training "
                f"part has {len(distinct)} different sizes; use more images, or fewer weights in loss.priority.table"
            )
        compute_edges = quantile_edges if self.grouping == "quantile" else cluster_edges
        self.edges.copy_(torch.from_numpy(compute_edges(np.sort(ratios.double().numpy()), self.groups)))
        self._update_fitted()

    def _warn_once(self) -> None:
        if not self.warned:
            log.warning(
                "the ASP loss is not fitted to training images, so all samples have weight 1; call fit(ratios) first"
            )
            self.warned = True


class LearnedByRatio(Priority):
    """Learned function of the mass ratio: weights a_i = 1 + span tanh(slope z_i + shift) and b_i = 2 - a_i.

    z_i is the logarithm of the mass ratio of image i, standardised over the training images. `slope` and `shift` are
    trained by the optimiser together with the network and start at 0, where ASP equals the plain hybrid loss. The sum
    of the weights is fixed and `span` bounds them; otherwise, minimising the loss would drive the weight of the larger
    term to 0.

    Args:
        terms: Names of the two terms, of weights a_i and b_i.
        span: Largest change of a weight, between 0 and 1.

    Attributes:
        slope: Scalar parameter.
        shift: Scalar parameter.
        mean: Buffer, the mean of the logarithms over the training images.
        deviation: Buffer, their standard deviation.

    Raises:
        UserError: If `terms` are not two, or `span` is not between 0 and 1.

    Example:
        >>> import torch
        >>> priority = LearnedByRatio(terms=["dice", "bce"], span=0.5)
        >>> priority.fit(torch.tensor([0.01, 0.02, 0.1, 0.2]))
        >>> weights = priority(torch.ones(1, 1, 8, 8), torch.tensor([0]))
        >>> {term: weight.tolist() for term, weight in weights.items()}
        {'dice': [1.0], 'bce': [1.0]}
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, terms: Sequence[str] = ("dice", "bce"), span: float = 0.5) -> None:
        super().__init__()
        if len(terms) != 2:
            raise UserError(f"loss.priority.terms must be the names of two terms, got {list(terms)}")
        self.terms = tuple(terms)
        self.span = validate.probability("loss.priority.span", span)
        self.slope = nn.Parameter(torch.zeros(()))
        self.shift = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("deviation", torch.ones((), dtype=torch.float64))

    @override
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Return the learned weights of both terms for each sample."""
        z = (log_ratio(mass_ratio(mask)) - self.mean) / self.deviation
        delta = self.span * torch.tanh(self.slope * z.to(self.slope.dtype) + self.shift)
        first, second = self.terms
        return {first: 1 + delta, second: 1 - delta}

    def fit(self, ratios: Tensor) -> None:
        """Compute mean and standard deviation of the logarithms of the mass ratios (N,) of the training images."""
        logs = log_ratio(ratios.double())
        self.mean.copy_(logs.mean())
        std = logs.std(correction=0)
        if std < 1e-6:
            log.warning("all training masses have the same size: the learned ASP can only learn one weight for all")
            std = torch.ones_like(std)
        self.deviation.copy_(std)


def mass_ratio(mask: Tensor) -> Tensor:
    """Return the fraction of each image that is mass: (B, 1, H, W) -> (B,) float64 in [0, 1]."""
    return mask.double().mean(dim=(1, 2, 3))


def log_ratio(ratio: Tensor) -> Tensor:
    """Return the natural logarithm of the mass ratio, which is clamped at `MIN_RATIO`."""
    return ratio.clamp(min=MIN_RATIO).log()


def quantile_edges(ratios: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Return the edges (groups - 1,) of groups of equal size from the sorted ratios (N,)."""
    edges: NDArray[np.float64] = np.quantile(ratios, np.arange(1, groups) / groups)
    return edges


def cluster_edges(ratios: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Return the midpoints (groups - 1,) between the k-means centroids of the sorted ratios (N,).

    Deterministic: the initial centroids are quantiles of the ratios.

    Raises:
        UserError: If a cluster becomes empty.
    """
    initial = np.quantile(np.unique(ratios), (np.arange(groups) + 0.5) / groups)
    try:
        centroids, _ = kmeans2(ratios[:, None], initial[:, None], iter=100, minit="matrix", missing="raise")
    except ClusterError as error:
        raise UserError(
            f"k-means finds fewer than {groups} clusters of mass sizes in the training part; "
            "use fewer weights in loss.priority.table, or loss=asp_quantile"
        ) from error
    centroids = np.sort(centroids.ravel())
    edges: NDArray[np.float64] = (centroids[1:] + centroids[:-1]) / 2
    return edges


def validate_weights(term: str, row: object) -> list[float]:
    """Check the weights of a term in `loss.priority.table`.

    Raises:
        UserError: If `row` is not a list of two or more numbers >= 0.
    """
    rule = f"loss.priority.table.{term} must be two or more numbers >= 0, from the smallest masses to the largest"
    values = _nonnegative_floats(row, rule)
    if len(values) < 2:
        raise UserError(f"{rule}, got {row}")
    return values


def validate_theta(theta: object) -> list[float]:
    """Check the weights of the four density categories.

    Raises:
        UserError: If `theta` is not a list of four numbers >= 0.
    """
    rule = "loss.theta must be four numbers >= 0, one for each ACR category 1-4, such as [0.5,0.5,0.85,0.95]"
    values = _nonnegative_floats(theta, rule)
    if len(values) != len(ACRDensity):
        raise UserError(f"{rule}, got {theta}")
    return values


def _nonnegative_floats(row: object, rule: str) -> list[float]:
    """Convert to finite numbers >= 0; raises UserError with the text `rule` if that is impossible."""
    try:
        values = [float(cast(float, value)) for value in cast(Sequence[object], row)]
    except (TypeError, ValueError) as error:
        raise UserError(f"{rule}, got {row}") from error
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise UserError(f"{rule}, got {row}")
    return values
