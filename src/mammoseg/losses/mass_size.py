"""Mass ratio (mass area divided by image area) and grouping of images by it."""

from __future__ import annotations

import numpy as np
import torch
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


def neutral_without_mass(values: Tensor, mask: Tensor, neutral: float) -> Tensor:
    """Replace the values of images without a mass, which have no mass size, by a neutral value.

    Args:
        values: Values that depend on the mass size, (..., B).
        mask: Ground truth of shape (B, 1, H, W) in {0, 1}.
        neutral: Value for the images without a mass; they contribute no gradient to `values`.

    Example:
        >>> import torch
        >>> masks = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
        >>> neutral_without_mass(torch.tensor([1.5, 0.5]), masks, neutral=1)
        tensor([1.0000, 0.5000])
    """
    return torch.where(mass_ratio(mask) > 0, values, neutral)


def quantile_edges(ratios: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Compute the edges of groups of equal size.

    Args:
        ratios: Sorted mass ratios, shape (N,).
        groups: Number of groups.

    Returns:
        Edges of shape (groups - 1,).
    """
    edges: NDArray[np.float64] = np.quantile(ratios, np.arange(1, groups) / groups)
    return edges


def cluster_edges(ratios: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Compute the midpoints between k-means centroids, with quantiles as initial centroids.

    Args:
        ratios: Sorted mass ratios, shape (N,).
        groups: Number of clusters.

    Returns:
        Midpoints of shape (groups - 1,).

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
