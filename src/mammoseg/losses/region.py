"""Region-level terms: every pixel is compared together with its neighbours (Aliniya et al., §3.2)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.errors import UserError
from mammoseg.losses.pixel import BCE
from mammoseg.losses.term import Term


class SSIM(Term):
    """1 - structural similarity of probability and mask, the mean over all windows (eq. 5).

    Value: [0, 2]; 0 only if the probabilities equal the mask.
    `window_size`, `sigma`: Gaussian window in pixels; `c1`, `c2`: Wang et al.'s (0.01)^2 and (0.03)^2.
    `padding`: "same" pads by zeros (the implementation the field copies), "valid" takes whole windows.
    Eq. 5 prints a product of squared means in the denominator; that is a misprint (it would give 100
    at perfect agreement for a mean of 0.1), and the sum of Wang et al. is used.
    Source: Wang et al., IEEE TIP 13(4), 2004. Raises UserError for an image smaller than the window.
    """

    def __init__(
        self,
        window_size: int = 11,
        sigma: float = 1.5,
        c1: float = 0.01**2,
        c2: float = 0.03**2,
        padding: str = "valid",
    ) -> None:
        super().__init__()
        check_window("ssim", window_size)
        if padding not in ("valid", "same"):
            raise UserError(f"loss.ssim.padding={padding!r}, but the choices are valid and same")
        self.window_size = window_size
        self.sigma = sigma
        self.c1 = c1
        self.c2 = c2
        self.padding = padding

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        prob = torch.sigmoid(logits)
        with torch.no_grad():  # the mask's own statistics have no gradient
            mean_y, square_y = self.blur(torch.stack([mask, mask * mask])).unbind()
        mean_p, square_p, product = self.blur(torch.stack([prob, prob * prob, prob * mask])).unbind()
        covariance = product - mean_p * mean_y
        variances = (square_p - mean_p**2) + (square_y - mean_y**2)
        similarity = ((2 * mean_p * mean_y + self.c1) * (2 * covariance + self.c2)) / (
            (mean_p**2 + mean_y**2 + self.c1) * (variances + self.c2)
        )
        return 1 - similarity.mean(dim=(1, 2, 3))

    def blur(self, maps: Tensor) -> Tensor:
        return blur(maps, self.window_size, self.sigma, self.padding)


class SSL(Term):
    """Structural similarity loss: BCE over the pixels whose surroundings differ most, weighed by how much.

    With means m and deviations s in a Gaussian window, e = |(y - m_y + c)/(s_y + c) - (p - m_p + c)/(s_p + c)|;
    pixels with e > share max(e) are kept, and the value is the mean of e BCE over them. e is a weight, and
    has no gradient. The paper adds the plain BCE: sum the two in yaml, as conf/loss/ssl.yaml does.

    Value: [0, inf); 0 where no pixel differs. `window_size`, `sigma`: the window in pixels; `c`: keeps flat
    windows finite; `share`: of the image's largest e, below which a pixel is left out.
    Source: Zhao et al., "Correlation maximized structural similarity loss", arXiv 1910.08711.
    """

    def __init__(self, window_size: int = 3, sigma: float = 1.5, c: float = 0.01, share: float = 0.1) -> None:
        super().__init__()
        check_window("ssl", window_size)
        self.window_size = window_size
        self.sigma = sigma
        self.c = c
        self.share = share

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            error = (self.standardised(mask) - self.standardised(torch.sigmoid(logits))).abs()
            weight = torch.where(error > self.share * error.amax(dim=(1, 2, 3), keepdim=True), error, 0)
            kept = (weight > 0).sum(dim=(1, 2, 3))
        entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        return (weight * entropy).sum(dim=(1, 2, 3)) / kept.clamp(min=1)

    def standardised(self, maps: Tensor) -> Tensor:
        mean, square = blur(torch.stack([maps, maps * maps]), self.window_size, self.sigma, "same").unbind()
        deviation = (square - mean**2).clamp(min=0).sqrt()
        return (maps - mean + self.c) / (deviation + self.c)


def check_window(name: str, window_size: int) -> None:
    if window_size < 1 or window_size % 2 == 0:
        raise UserError(f"loss.{name}.window_size={window_size}, but a window needs an odd number of pixels")


def blur(maps: Tensor, window_size: int, sigma: float, padding: str) -> Tensor:
    """Gaussian means of (..., H, W): a separable filter as two banded matrix products, which run several
    times faster than a depth-wise convolution."""
    height, width = maps.shape[-2:]
    down, across = (
        gaussian_band(size, window_size, sigma, padding, maps.dtype, maps.device) for size in (height, width)
    )
    return down @ maps @ across.mT


@lru_cache(maxsize=32)
def gaussian_band(
    size: int, window_size: int, sigma: float, padding: str, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Matrix (size - window_size + 1, size) whose rows hold a normalised Gaussian window; (size, size) for "same"."""
    half = window_size // 2
    if size < window_size:
        raise UserError(
            f"an image side of {size} pixels is smaller than the SSIM window of {window_size}; "
            "set a smaller loss.ssim.window_size or a larger dataset.size"
        )
    centre = torch.arange(size, dtype=torch.float64)
    if padding == "valid":
        centre = centre[half : size - half]
    offset = torch.arange(size, dtype=torch.float64)[None, :] - centre[:, None]
    weights = torch.exp(-(offset**2) / (2 * sigma**2)) * (offset.abs() <= half)
    window = torch.exp(-(torch.arange(-half, half + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    # Cached across calls: a tensor made under inference mode could not be used in training later.
    with torch.inference_mode(False):
        return (weights / window.sum()).to(dtype=dtype, device=device)


class RMI(Term):
    """Region mutual information: the lower bound's log determinant, to be minimised (eq. 4).

    Each position of the (pooled) maps becomes a point of radius^2 dimensions, its square of neighbours.
    With covariances S of mask (y) and probability (p) points, M = S_yy - S_yp (S_pp + a I)^-1 S_py and
    the value is log det(M + a I) / (2 radius^2), a = 5e-4.

    Value: about -3.8 (empty mask) and -3.45 (perfect) up to +2. It is blind to inversion and to
    misplacement, so it needs a pixel-level term beside it.
    `radius`: side of the square in pixels, as the authors' `rmi_radius`. `pool`: "max" (the default of
    the published constructor), "avg" or None; `stride`: size and step of the pooling.
    `bce_weight`: the published module returns w BCE + (1 - w) RMI with w = 0.5; here 0, since eq. 6 means
    the mutual information alone and eq. 3 has its own BCE.
    Always in double precision: near a perfect prediction M is about 1e-7 of its parts.
    Source: Zhao et al., NeurIPS 2019. Raises UserError for an unknown pooling or too small an image.
    """

    ridge = 5e-4
    eps = 1e-6  # added to probabilities, as published
    log_eps = 1e-8  # added inside the logarithm, as published

    def __init__(self, radius: int = 3, pool: str | None = "max", stride: int = 3, bce_weight: float = 0.0) -> None:
        super().__init__()
        if pool not in ("max", "avg", None):
            raise UserError(f"loss.rmi.pool={pool!r}, but the choices are max, avg and null")
        if radius < 1 or stride < 1:
            raise UserError(f"loss.rmi.radius={radius} and stride={stride}, but both must be at least 1")
        self.radius = radius
        self.pool = pool
        self.stride = stride
        self.bce_weight = bce_weight
        self.bce = BCE()

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            points_y = self.points(mask)
        points_p = self.points(torch.sigmoid(logits) + self.eps)
        dims = self.radius**2
        points = torch.cat([points_y, points_p], dim=1)
        joint = points @ points.mT  # one product holds S_yy, S_yp and S_pp
        s_yy, s_py, s_pp = joint[:, :dims, :dims], joint[:, dims:, :dims], joint[:, dims:, dims:]
        ridge = self.ridge * torch.eye(dims, dtype=joint.dtype, device=joint.device)
        half = torch.linalg.solve_triangular(cholesky(s_pp + ridge), s_py, upper=False)
        factor = cholesky(s_yy - half.mT @ half + ridge)
        log_det = 2 * torch.log(factor.diagonal(dim1=1, dim2=2) + self.log_eps).sum(dim=1)
        information = (log_det / (2 * dims)).to(logits.dtype)
        if self.bce_weight == 0:
            return information
        return self.bce_weight * self.bce(logits, mask) + (1 - self.bce_weight) * information

    def points(self, maps: Tensor) -> Tensor:
        """(B, 1, H, W) -> centred points (B, radius^2, positions), in double precision."""
        pad = self.stride // 2
        if self.pool == "max":
            maps = functional.max_pool2d(maps, self.stride, self.stride, padding=pad)
        elif self.pool == "avg":
            maps = functional.avg_pool2d(maps, self.stride, self.stride, padding=pad)
        height, width = (side - self.radius + 1 for side in maps.shape[-2:])
        if min(height, width) < 1:
            raise UserError(
                f"after pooling the image is {maps.shape[-2]}x{maps.shape[-1]}, smaller than loss.rmi.radius="
                f"{self.radius}; set a smaller loss.rmi.stride or a larger dataset.size"
            )
        maps = maps.double()
        shifts = [
            maps[:, 0, row : row + height, col : col + width].flatten(1)
            for row in range(self.radius)
            for col in range(self.radius)
        ]
        points = torch.stack(shifts, dim=1)
        return points - points.mean(dim=2, keepdim=True)


def cholesky(matrix: Tensor) -> Tensor:
    # cholesky_ex does not wait for the GPU to learn whether the matrix was positive definite; the ridge makes it so.
    return torch.linalg.cholesky_ex(matrix).L
