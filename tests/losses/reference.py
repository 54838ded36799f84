"""Reference implementation of the Density-ASP criterion: a direct transcription of the publications.

It is slow, independent of mammoseg, and the baseline of tests and of benchmarks/criterion.py. Shapes of all functions:
logits (B, 1, H, W) and mask (B, 1, H, W) in {0, 1} -> (B,).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

RIDGE = 5e-4  # Zhao et al.'s alpha


def bce(logits: Tensor, mask: Tensor) -> Tensor:
    """Eq. 1, averaged over the pixels."""
    return functional.binary_cross_entropy_with_logits(logits, mask, reduction="none").mean(dim=(1, 2, 3))


def dice(logits: Tensor, mask: Tensor) -> Tensor:
    """Eq. 2 as printed, with a smoothing constant of 1 for empty masks."""
    prob = torch.sigmoid(logits)
    intersection = (prob * mask).sum(dim=(1, 2, 3))
    return 1 - (intersection + 1) / (prob.sum(dim=(1, 2, 3)) + mask.sum(dim=(1, 2, 3)) + 1)


def ssim(logits: Tensor, mask: Tensor, window_size: int = 11, sigma: float = 1.5) -> Tensor:
    """Eq. 5 with the sum of Wang et al. in the denominator, computed by five 11x11 convolutions with zero padding."""
    prob = torch.sigmoid(logits)
    offset = torch.arange(window_size, dtype=prob.dtype, device=prob.device) - window_size // 2
    kernel_1d = torch.exp(-(offset**2) / (2 * sigma**2))
    window = (torch.outer(kernel_1d, kernel_1d) / kernel_1d.sum() ** 2)[None, None]

    def gaussian_filter(maps: Tensor) -> Tensor:
        return functional.conv2d(maps, window, padding=window_size // 2)

    mean_p, mean_y = gaussian_filter(prob), gaussian_filter(mask)
    variance_p = gaussian_filter(prob * prob) - mean_p**2
    variance_y = gaussian_filter(mask * mask) - mean_y**2
    covariance = gaussian_filter(prob * mask) - mean_p * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_p * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_p**2 + mean_y**2 + c1) * (variance_p + variance_y + c2)
    )
    return 1 - similarity.mean(dim=(1, 2, 3))


def rmi(logits: Tensor, mask: Tensor, radius: int = 3, pool: str | None = "max", stride: int = 3) -> Tensor:
    """Eq. 4 as published by Zhao et al.: pooling, unfold, float64, matrix inverse, log-determinant by Cholesky."""
    maps = [mask, torch.sigmoid(logits) + 1e-6]
    if pool is not None:
        pooling = functional.max_pool2d if pool == "max" else functional.avg_pool2d
        maps = [pooling(array, stride, stride, padding=stride // 2) for array in maps]
    dims = radius**2
    y, p = (functional.unfold(array, radius).double() for array in maps)
    y = y - y.mean(dim=2, keepdim=True)
    p = p - p.mean(dim=2, keepdim=True)
    ridge = RIDGE * torch.eye(dims, dtype=torch.float64, device=logits.device)
    s_yy, s_pp, s_yp = y @ y.transpose(1, 2), p @ p.transpose(1, 2), y @ p.transpose(1, 2)
    m = s_yy - s_yp @ torch.inverse(s_pp + ridge) @ s_yp.transpose(1, 2)
    factor = torch.linalg.cholesky(m + ridge)
    log_det = 2 * torch.log(torch.diagonal(factor, dim1=1, dim2=2) + 1e-8).sum(dim=1)
    return (0.5 * log_det / dims).to(logits.dtype)


def density_asp(
    logits: Tensor, mask: Tensor, density: Tensor, theta: Sequence[float], alpha: float = 2.0, pool: str | None = "max"
) -> Tensor:
    """Eqs. 3, 6 and 7 with beta = eta = gamma = 1."""
    region = rmi(logits, mask, pool=pool) + ssim(logits, mask)
    weight = torch.tensor(theta, dtype=logits.dtype, device=logits.device)[density]
    return weight * region + alpha * dice(logits, mask) + bce(logits, mask)
