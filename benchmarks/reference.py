"""The Density-ASP criterion as its publications write it, part by part: slow, plain, independent of mammoseg.

What benchmarks and tests compare with. Shapes everywhere: logits and mask (B, 1, H, W), mask in {0, 1} -> (B,).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

RIDGE = 5e-4  # Zhao et al.'s alpha


def bce(logits: Tensor, mask: Tensor) -> Tensor:
    """Eq. 1, the mean over pixels."""
    return functional.binary_cross_entropy_with_logits(logits, mask, reduction="none").mean(dim=(1, 2, 3))


def dice(logits: Tensor, mask: Tensor) -> Tensor:
    """Eq. 2 as printed, with 1 against empty masks."""
    prob = torch.sigmoid(logits)
    overlap = (prob * mask).sum(dim=(1, 2, 3))
    return 1 - (overlap + 1) / (prob.sum(dim=(1, 2, 3)) + mask.sum(dim=(1, 2, 3)) + 1)


def ssim(logits: Tensor, mask: Tensor, window_size: int = 11, sigma: float = 1.5) -> Tensor:
    """Eq. 5, with Wang et al.'s sum in the denominator: five blurs, each a depth-wise 11x11 convolution."""
    prob = torch.sigmoid(logits)
    offset = torch.arange(window_size, dtype=prob.dtype, device=prob.device) - window_size // 2
    line = torch.exp(-(offset**2) / (2 * sigma**2))
    window = (torch.outer(line, line) / line.sum() ** 2)[None, None]

    def blur(maps: Tensor) -> Tensor:
        return functional.conv2d(maps, window, groups=1)

    mean_p, mean_y = blur(prob), blur(mask)
    variance_p = blur(prob * prob) - mean_p**2
    variance_y = blur(mask * mask) - mean_y**2
    covariance = blur(prob * mask) - mean_p * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_p * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_p**2 + mean_y**2 + c1) * (variance_p + variance_y + c2)
    )
    return 1 - similarity.mean(dim=(1, 2, 3))


def rmi(logits: Tensor, mask: Tensor, radius: int = 3, pool: str | None = "max", stride: int = 3) -> Tensor:
    """Eq. 4 as Zhao et al. publish it: pool, unfold, double precision, inverse, log-determinant by Cholesky."""
    maps = [mask, torch.sigmoid(logits) + 1e-6]
    if pool is not None:
        pooling = functional.max_pool2d if pool == "max" else functional.avg_pool2d
        maps = [pooling(each, stride, stride, padding=stride // 2) for each in maps]
    dims = radius**2
    y, p = (functional.unfold(each, radius).double() for each in maps)
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
