"""Mass ratio (mass area divided by image area) and its groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import ClusterError, kmeans2
from torch import Tensor

from mammoseg.errors import UserError

MIN_RATIO = 1e-5  # lower bound of the mass ratio before taking the logarithm: 0.7 pixels of 256 x 256


def mass_ratio(mask: Tensor) -> Tensor:
    """Compute the ratio of mass area to image area: (B, 1, H, W) -> float64 (B,) in [0, 1]."""
    return mask.double().mean(dim=(1, 2, 3))


def log_ratio(ratio: Tensor) -> Tensor:
    """Compute the natural logarithm of the mass ratio, clamped from below at `MIN_RATIO`."""
    return ratio.clamp(min=MIN_RATIO).log()


def quantile_edges(ratios: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Compute the edges (groups - 1,) of groups of equal size from sorted mass ratios (N,)."""
    edges: NDArray[np.float64] = np.quantile(ratios, np.arange(1, groups) / groups)
    return edges


def cluster_edges(ratios: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Compute the midpoints (groups - 1,) between the k-means centroids of sorted mass ratios (N,).

    The result is deterministic, since the initial centroids are quantiles.

    Raises:
        UserError: If k-means finds fewer than `groups` clusters.
    """
    initial = np.quantile(np.unique(ratios), (np.arange(groups) + 0.5) / groups)
    try:
        centroids, _ = kmeans2(ratios[:, None], initial[:, None], iter=100, minit="matrix", missing="raise")
    except ClusterError as error:
        raise UserError(
            f"k-means found fewer than {groups} clusters of mass sizes in the training set; "
            "use fewer weights in loss.priority.table or loss=asp_quantile"
        ) from error
    centroids = np.sort(centroids.ravel())
    edges: NDArray[np.float64] = (centroids[1:] + centroids[:-1]) / 2
    return edges
