"""Priorities: how much a term weighs for one sample."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from scipy.cluster.vq import ClusterError, kmeans2
from torch import Tensor, nn

from mammoseg import validate
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

log = logging.getLogger(__name__)

GROUPINGS = ("quantile", "cluster")
SMALLEST = 1e-5  # mass ratio below which the logarithm no longer falls: 0.7 pixels of 256x256


class Priority(nn.Module):
    """Shapes: mask (B, 1, H, W), density (B,) in 0..3 -> {term: (B,)}; a term that is not named weighs 1."""

    @abstractmethod
    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]: ...

    def fit(self, ratios: Tensor) -> None:
        """Called once before training with the mass ratios (N,) of the training images, and of no others."""


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


class ByRatio(Priority):
    """table[term][group of the sample's mass ratio]: the quantile and the cluster form of ASP.

    `table`: for each term one weight >= 0 per group, from the smallest masses to the largest; as many
    groups as weights. `grouping`: "quantile" parts the training images into groups of equal number;
    "cluster" runs k-means on their ratios, where the nearest centroid is told by the midpoints between
    neighbouring ones. Either way the groups are intervals, whose edges are a buffer (groups - 1,) that
    `fit` sets and the checkpoint keeps. Before `fit` all samples weigh 1, with a warning in the log.

    Raises UserError for a bad table, and by `fit` for fewer different ratios than groups.
    """

    table: Tensor
    edges: Tensor

    def __init__(self, table: Mapping[str, Sequence[float]], grouping: str = "quantile") -> None:
        super().__init__()
        self.grouping = validate.one_of("loss.priority.grouping", grouping, GROUPINGS)
        rows = {term: weights_of(term, row) for term, row in table.items()}
        if len({len(row) for row in rows.values()}) != 1:
            raise UserError(f"loss.priority.table needs as many weights for each term, but has {rows}")
        self.terms = tuple(rows)
        self.register_buffer("table", torch.tensor(list(rows.values())), persistent=False)
        self.groups = self.table.shape[1]
        self.warned = False
        self.register_buffer("edges", torch.full((self.groups - 1,), math.nan, dtype=torch.float64))
        # Asked for in every step: to look into the edges there would make it wait for the GPU.
        self.fitted = False
        self.register_load_state_dict_post_hook(ByRatio.find_fitted)

    def find_fitted(self, *_: object) -> None:
        self.fitted = not bool(self.edges.isnan().any())

    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        if not self.fitted:
            self.warn_once()
            return {}
        group = torch.bucketize(mass_ratio(mask), self.edges, right=True)
        return dict(zip(self.terms, self.table[:, group], strict=True))

    def fit(self, ratios: Tensor) -> None:
        values = np.unique(ratios.double().numpy())
        if len(values) < self.groups:
            raise UserError(
                f"the ASP loss sorts images into {self.groups} groups by the size of their masses, but the training "
                f"part has {len(values)} different sizes; use more images, or fewer weights in loss.priority.table"
            )
        edges = quantile_edges if self.grouping == "quantile" else cluster_edges
        self.edges.copy_(torch.from_numpy(edges(np.sort(ratios.double().numpy()), self.groups)))
        self.find_fitted()

    def warn_once(self) -> None:
        if not self.warned:
            log.warning("the ASP loss was not fitted to training images, so all weigh the same; call fit(ratios) first")
            self.warned = True


class LearnedByRatio(Priority):
    """a_i = 1 + span tanh(slope z_i + shift) for the first term, b_i = 2 - a_i for the second.

    z: the logarithm of the mass ratio, standardised over the training images by `fit` (buffers).
    `slope` and `shift` are parameters that the optimiser trains with the network; both start at 0, where
    ASP is the plain hybrid loss. The sum is fixed and `span` (between 0 and 1) bounds the share that can
    move: left free, minimising would send the weight of the larger term to 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, terms: Sequence[str] = ("dice", "bce"), span: float = 0.5) -> None:
        super().__init__()
        if len(terms) != 2:
            raise UserError(f"loss.priority.terms must be the two terms to weigh against each other, got {list(terms)}")
        self.terms = tuple(terms)
        self.span = validate.probability("loss.priority.span", span)
        self.slope = nn.Parameter(torch.zeros(()))
        self.shift = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("deviation", torch.ones((), dtype=torch.float64))

    def forward(self, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        z = (log_ratio(mass_ratio(mask)) - self.mean) / self.deviation
        moved = self.span * torch.tanh(self.slope * z.to(self.slope.dtype) + self.shift)
        first, second = self.terms
        return {first: 1 + moved, second: 1 - moved}

    def fit(self, ratios: Tensor) -> None:
        logs = log_ratio(ratios.double())
        self.mean.copy_(logs.mean())
        spread = logs.std(correction=0)
        if spread < 1e-6:
            log.warning("all training masses have the same size: the learned ASP can only learn one weight for all")
            spread = torch.ones_like(spread)
        self.deviation.copy_(spread)


def mass_ratio(mask: Tensor) -> Tensor:
    """Share of each image that is mass: (B, 1, H, W) -> (B,) float64 in [0, 1]."""
    return mask.double().mean(dim=(1, 2, 3))


def log_ratio(ratio: Tensor) -> Tensor:
    return ratio.clamp(min=SMALLEST).log()


def quantile_edges(ratios: np.ndarray, groups: int) -> np.ndarray:
    """(N,) sorted -> (groups - 1,)."""
    return np.quantile(ratios, np.arange(1, groups) / groups)


def cluster_edges(ratios: np.ndarray, groups: int) -> np.ndarray:
    """(N,) sorted -> (groups - 1,): midpoints between k-means centroids, without chance: it starts at quantiles."""
    starts = np.quantile(np.unique(ratios), (np.arange(groups) + 0.5) / groups)
    try:
        centroids, _ = kmeans2(ratios[:, None], starts[:, None], iter=100, minit="matrix", missing="raise")
    except ClusterError as error:
        raise UserError(
            f"k-means finds fewer than {groups} clusters of mass sizes in the training part; "
            "use fewer weights in loss.priority.table, or loss=asp_quantile"
        ) from error
    centroids = np.sort(centroids.ravel())
    return (centroids[1:] + centroids[:-1]) / 2


def weights_of(term: str, row: object) -> list[float]:
    """The weights of one term as numbers."""
    rule = f"loss.priority.table.{term} must be two or more numbers >= 0, from the smallest masses to the largest"
    values = numbers(row, rule)
    if len(values) < 2:
        raise UserError(f"{rule}; got {row}")
    return values


def four_numbers(theta: object) -> list[float]:
    rule = "loss.theta must be four numbers >= 0, one for each ACR category 1-4, such as [0.5,0.5,0.85,0.95]"
    values = numbers(theta, rule)
    if len(values) != len(ACRDensity):
        raise UserError(f"{rule}; got {theta}")
    return values


def numbers(row: object, rule: str) -> list[float]:
    """Finite numbers >= 0. Raises UserError with the `rule` for anything else."""
    try:
        values = [float(cast(float, value)) for value in cast(Sequence[object], row)]
    except (TypeError, ValueError) as error:
        raise UserError(f"{rule}; got {row}") from error
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise UserError(f"{rule}; got {row}")
    return values
