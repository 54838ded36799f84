"""Region-level terms: every pixel is compared together with its neighbours (Aliniya et al., §3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.losses.blur import blur
from mammoseg.losses.neighbours import joint_covariance
from mammoseg.losses.pixel import BCE
from mammoseg.losses.term import Term

PADDINGS = ("valid", "same")
POOLINGS = ("max", "avg", None)


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
        self.window_size = window_size
        self.sigma = sigma
        self.c1 = c1
        self.c2 = c2
        self.padding = validate.one_of("loss.ssim.padding", padding, PADDINGS)

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        prob = torch.sigmoid(logits)
        mean_y = blur(mask, self.window_size, self.sigma, self.padding)
        # Eq. 5 needs the two squares only as a sum. The difference, not the product: see MeanDissimilarity.
        apart = prob - mask
        maps = torch.stack([apart, prob * prob + mask * mask, apart * apart])
        moments = blur(maps, self.window_size, self.sigma, self.padding)
        return MeanDissimilarity.apply(moments, mean_y, self.c1, self.c2)


class MeanDissimilarity(torch.autograd.Function):
    """1 - luminance structure (eq. 5), the mean over windows, from the blurred d = prob - mask, prob^2 + mask^2 and d^2
    (3, B, 1, H, W) and the blurred mask -> (B,).

    With the means m and (co)variances s, 1 - luminance = m_d^2 / (m_p^2 + m_y^2 + c1) and
    1 - structure = s_dd / (s_pp + s_yy + c2): near a perfect prediction these keep the digits that 1 minus a product of
    ratios near 1 would lose. The gradient by hand takes a third of the passes that autograd would make.
    """

    @staticmethod
    def forward(ctx: Any, moments: Tensor, mean_y: Tensor, c1: float, c2: float) -> Tensor:
        mean_d, squares, apart = moments
        mean_p = mean_y + mean_d
        squared_means = (mean_p * mean_p).addcmul_(mean_y, mean_y)
        over = squared_means + c1
        below = squares - squared_means + c2
        luminance = (mean_d * mean_d).div_(over)  # both are 1 - what they are called
        structure = torch.addcmul(apart, mean_d, mean_d, value=-1).div_(below)
        ctx.save_for_backward(mean_p, mean_d, over, below, luminance, structure)
        return torch.addcmul(luminance + structure, luminance, structure, value=-1).mean(dim=(1, 2, 3))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        mean_p, mean_d, over, below, luminance, structure = ctx.saved_tensors
        share = gradient[:, None, None, None] / mean_p[0].numel()
        of_luminance = share * (1 - structure) / over
        of_apart = share * (1 - luminance) / below
        of_squares = -of_apart * structure
        of_mean = of_luminance * torch.addcmul(mean_d, luminance, mean_p, value=-1)
        of_mean -= of_apart * torch.addcmul(mean_d, structure, mean_p, value=-1)
        return torch.stack([2 * of_mean, of_squares, of_apart]), None, None, None


class SSL(Term):
    """Structural similarity loss: BCE over the pixels whose surroundings differ most, weighed by how much.

    With means m and deviations s in a Gaussian window, e = ``|(y - m_y + c)/(s_y + c) - (p - m_p + c)/(s_p + c)|``;
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
        raise UserError(f"loss.{name}.window_size must be an odd number of pixels, got {window_size}")


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
        self.radius = validate.positive_int("loss.rmi.radius", radius)
        self.pool = validate.one_of("loss.rmi.pool", pool, POOLINGS)
        self.stride = validate.positive_int("loss.rmi.stride", stride)
        self.bce_weight = bce_weight
        self.bce = BCE()

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        maps = self.pooled(torch.sigmoid(logits) + self.eps), self.pooled(mask)
        dims = self.radius**2
        joint = joint_covariance(maps[0][:, 0], maps[1][:, 0], self.radius)  # (S_pp, S_py; S_yp, S_yy)
        ridge = self.ridge * torch.eye(2 * dims, dtype=joint.dtype, device=joint.device)
        # M + a I is the Schur complement of S_pp + a I, so that its pivots are the joint matrix's last ones.
        # cholesky_ex does not wait for a GPU to say whether the matrix was positive definite; the ridge makes it so.
        pivots = torch.linalg.cholesky_ex(joint + ridge).L.diagonal(dim1=1, dim2=2)[:, dims:]
        log_det = 2 * torch.log(pivots + self.log_eps).sum(dim=1)
        information = (log_det / (2 * dims)).to(logits.dtype)
        if self.bce_weight == 0:
            return information
        return self.bce_weight * self.bce(logits, mask) + (1 - self.bce_weight) * information

    def pooled(self, maps: Tensor) -> Tensor:
        if self.pool is not None:
            pooling = functional.max_pool2d if self.pool == "max" else functional.avg_pool2d
            maps = pooling(maps, self.stride, self.stride, padding=self.stride // 2)
        if min(maps.shape[-2:]) < self.radius:
            raise UserError(
                f"after pooling the image is {maps.shape[-2]}x{maps.shape[-1]}, smaller than loss.rmi.radius="
                f"{self.radius}; set a smaller loss.rmi.stride or a larger dataset.size"
            )
        return maps
