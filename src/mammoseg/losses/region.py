"""Region-level loss terms, which compare neighbourhoods of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.losses.gaussian_filter import gaussian_filter2d
from mammoseg.losses.joint_covariance import joint_covariance
from mammoseg.losses.pixel import BCE
from mammoseg.losses.term import Term

PADDINGS = ("valid", "same")
POOLINGS = ("max", "avg", None)


class SSIM(Term):
    """SSIM loss: 1 - mean structural similarity of probability and mask (eq. 5).

    Range: [0, 2]; 0 only if the probabilities equal the mask. The denominator of eq. 5 is printed with the product of
    the squared means, for which identical maps with a mean of 0.1 would have an SSIM of 100. Their sum is used here, as
    in Wang et al.

    Args:
        window_size: Side of the Gaussian window in pixels, an odd integer.
        sigma: Standard deviation of the Gaussian in pixels.
        c1: Constant of the luminance factor, 0.01^2 in Wang et al.
        c2: Constant of the structure factor, 0.03^2 in Wang et al.
        padding: "same" pads with zeros, as in the PyTorch implementation that BASNet and U²-Net use; "valid" uses
            complete windows only, as do Wang et al.

    Raises:
        UserError: If `window_size` or `padding` is invalid, or the image is smaller than the window.

    Source: Wang et al., IEEE TIP 13(4), 2004; Aliniya et al., §3.2.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> round(SSIM()(100 * (mask - 0.5), mask).item(), 4)
        0.0
        >>> round(SSIM()(100 * (0.5 - mask), mask).item(), 4)  # inverted: negative structure factors
        1.1567
    """

    def __init__(
        self,
        window_size: int = 11,
        sigma: float = 1.5,
        c1: float = 0.01**2,
        c2: float = 0.03**2,
        padding: str = "same",
    ) -> None:
        super().__init__()
        self.window_size = _validate_window("ssim", window_size)
        self.sigma = sigma
        self.c1 = c1
        self.c2 = c2
        self.padding = validate.one_of("loss.ssim.padding", padding, PADDINGS)

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute 1 - mean SSIM of each sample."""
        prob = torch.sigmoid(logits)
        mean_y = gaussian_filter2d(mask, self.window_size, self.sigma, self.padding)
        # Eq. 5 needs only the sum of the squares. The squared difference is explained in _MeanSSIMLoss.
        diff = prob - mask
        maps = torch.stack([diff, prob * prob + mask * mask, diff * diff])
        moments = gaussian_filter2d(maps, self.window_size, self.sigma, self.padding)
        loss: Tensor = _MeanSSIMLoss.apply(moments, mean_y, self.c1, self.c2)  # type: ignore[no-untyped-call]  # torch
        return loss


class _MeanSSIMLoss(torch.autograd.Function):
    """Mean of 1 - luminance * structure (eq. 5) over all windows.

    `moments` (3, B, 1, H, W) contains the filtered d = prob - mask, prob^2 + mask^2 and d^2, and `mean_y` (B, 1, H, W)
    the filtered mask; the output is (B,). With means m and variances s, luminance_loss = 1 - luminance =
    m_d^2 / (m_p^2 + m_y^2 + c1) and structure_loss = 1 - structure = s_dd / (s_pp + s_yy + c2). These expressions avoid
    the cancellation in 1 - (product of ratios near 1) for nearly perfect predictions. The analytic backward pass needs
    a third of the memory accesses of autograd.
    """

    @staticmethod
    def forward(ctx: Any, moments: Tensor, mean_y: Tensor, c1: float, c2: float) -> Tensor:
        mean_d, squares, sq_diff = moments
        mean_p = mean_y + mean_d
        squared_means = (mean_p * mean_p).addcmul_(mean_y, mean_y)
        luminance_den = squared_means + c1
        structure_den = squares - squared_means + c2
        luminance_loss = (mean_d * mean_d).div_(luminance_den)
        structure_loss = torch.addcmul(sq_diff, mean_d, mean_d, value=-1).div_(structure_den)
        ctx.save_for_backward(mean_p, mean_d, luminance_den, structure_den, luminance_loss, structure_loss)
        loss = torch.addcmul(luminance_loss + structure_loss, luminance_loss, structure_loss, value=-1)
        return loss.mean(dim=(1, 2, 3))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        mean_p, mean_d, luminance_den, structure_den, luminance_loss, structure_loss = ctx.saved_tensors
        grad_per_window = grad_output[:, None, None, None] / mean_p[0].numel()
        grad_luminance = grad_per_window * (1 - structure_loss) / luminance_den
        grad_sq_diff = grad_per_window * (1 - luminance_loss) / structure_den
        grad_squares = -grad_sq_diff * structure_loss
        grad_mean_diff = grad_luminance * torch.addcmul(mean_d, luminance_loss, mean_p, value=-1)
        grad_mean_diff -= grad_sq_diff * torch.addcmul(mean_d, structure_loss, mean_p, value=-1)
        return torch.stack([2 * grad_mean_diff, grad_squares, grad_sq_diff]), None, None, None


class SSL(Term):
    """Structural similarity loss: BCE over the pixels with the largest structural error, weighted by that error.

    With mean m and standard deviation s in a Gaussian window, the structural error of a pixel is
    e = ``|(y - m_y + eps) / (s_y + eps) - (p - m_p + eps) / (s_p + eps)|``. The value is the mean of e * BCE over the
    pixels with e > error_threshold * max(e), where e is treated as constant in the backward pass. Range: [0, inf); 0 if
    prediction and mask are equal. The paper adds the unweighted BCE, see conf/loss/ssl.yaml.

    Args:
        window_size: Side of the Gaussian window in pixels, an odd integer.
        sigma: Standard deviation of the Gaussian in pixels.
        eps: Constant that keeps the error finite in uniform windows.
        error_threshold: Pixels up to this fraction of the largest error of the image are ignored.

    Raises:
        UserError: If `window_size` is not an odd integer.

    Source: Zhao et al., "Correlation maximized structural similarity loss", arXiv 1910.08711.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 16, 16)
        >>> mask[..., 4:12, 4:12] = 1
        >>> bool(SSL()(20 * (mask - 0.5), mask) < SSL()(torch.zeros_like(mask), mask))
        True
    """

    def __init__(
        self, window_size: int = 3, sigma: float = 1.5, eps: float = 0.01, error_threshold: float = 0.1
    ) -> None:
        super().__init__()
        self.window_size = _validate_window("ssl", window_size)
        self.sigma = sigma
        self.eps = eps
        self.error_threshold = error_threshold

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the mean weighted cross-entropy over the selected pixels of each sample."""
        with torch.no_grad():
            error = (self._standardise(mask) - self._standardise(torch.sigmoid(logits))).abs()
            threshold = self.error_threshold * error.amax(dim=(1, 2, 3), keepdim=True)
            weight = torch.where(error > threshold, error, 0)
            n_selected = (weight > 0).sum(dim=(1, 2, 3))
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        return (weight * cross_entropy).sum(dim=(1, 2, 3)) / n_selected.clamp(min=1)

    def _standardise(self, maps: Tensor) -> Tensor:
        moments = gaussian_filter2d(torch.stack([maps, maps * maps]), self.window_size, self.sigma, "same")
        mean, square = moments.unbind()
        std = (square - mean**2).clamp(min=0).sqrt()
        return (maps - mean + self.eps) / (std + self.eps)


def _validate_window(loss_name: str, window_size: int) -> int:
    """Return `window_size`; raises UserError if it is not a positive odd integer."""
    if window_size < 1 or window_size % 2 == 0:
        raise UserError(f"loss.{loss_name}.window_size must be a positive odd number of pixels, got {window_size}")
    return window_size


class RMI(Term):
    """Region mutual information loss: log-determinant in the lower bound of the mutual information (eq. 4).

    The square neighbourhood of each position of the (pooled) maps is a vector of length radius^2. With the covariance
    matrices S of the mask (y) and probability (p) vectors and M = S_yy - S_yp (S_pp + a I)^-1 S_py, the value is
    log det(M + a I) / (2 radius^2), a = 5e-4. It ranges from about -3.8 (empty mask) to 2 and is about -3.45 for a
    perfect prediction. RMI is invariant under inversion and translation of the prediction, so it must be combined with
    a pixel-level term. It is computed in float64, since near a perfect prediction M is a difference of matrices that
    are about 1e7 times larger.

    Args:
        radius: Side of the square neighbourhood in pixels; `rmi_radius` in the authors' code.
        pool: Pooling of both maps before the computation: "max" (default of the authors' code), "avg" or None.
        stride: Kernel size and stride of the pooling in pixels.
        bce_weight: Weight w in w BCE + (1 - w) RMI. The authors' code uses 0.5. The default is 0, since eq. 6 contains
            only the mutual information and the BCE is part of eq. 3.

    Raises:
        UserError: If an argument is invalid, or the pooled image is smaller than the neighbourhood.

    Source: Zhao et al., NeurIPS 2019; Aliniya et al., §3.2.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> RMI(radius=3, pool="max", stride=3)(100 * (mask - 0.5), mask)
        tensor([-3.4539])
    """

    ridge = 5e-4
    eps = 1e-6  # added to the probabilities, as in the authors' code
    log_eps = 1e-8  # added inside the logarithm, as in the authors' code

    def __init__(self, radius: int = 3, pool: str | None = "max", stride: int = 3, bce_weight: float = 0.0) -> None:
        super().__init__()
        self.radius = validate.positive_int("loss.rmi.radius", radius)
        self.pool = validate.one_of("loss.rmi.pool", pool, POOLINGS)
        self.stride = validate.positive_int("loss.rmi.stride", stride)
        self.bce_weight = bce_weight
        self.bce = BCE()

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the region mutual information loss of each sample."""
        prob, mask_pooled = self._pool(torch.sigmoid(logits) + self.eps), self._pool(mask)
        dims = self.radius**2
        joint = joint_covariance(prob[:, 0], mask_pooled[:, 0], self.radius)  # (S_pp, S_py; S_yp, S_yy)
        ridge = self.ridge * torch.eye(2 * dims, dtype=joint.dtype, device=joint.device)
        # M + a I is the Schur complement of S_pp + a I, so its pivots are the last ones of the joint matrix.
        # Unlike cholesky, cholesky_ex does not synchronise the GPU to check that the matrix is positive definite, which
        # the ridge guarantees.
        pivots = torch.linalg.cholesky_ex(joint + ridge).L.diagonal(dim1=1, dim2=2)[:, dims:]
        log_det = 2 * torch.log(pivots + self.log_eps).sum(dim=1)
        rmi = (log_det / (2 * dims)).to(logits.dtype)
        if self.bce_weight == 0:
            return rmi
        bce: Tensor = self.bce(logits, mask)
        return self.bce_weight * bce + (1 - self.bce_weight) * rmi

    def _pool(self, maps: Tensor) -> Tensor:
        if self.pool is not None:
            pooling = functional.max_pool2d if self.pool == "max" else functional.avg_pool2d
            maps = pooling(maps, self.stride, self.stride, padding=self.stride // 2)
        if min(maps.shape[-2:]) < self.radius:
            raise UserError(
                f"height and width of the pooled image must be at least loss.rmi.radius={self.radius} pixels, "
                f"got {maps.shape[-2]}x{maps.shape[-1]}; set a smaller loss.rmi.stride or a larger dataset.size"
            )
        return maps
