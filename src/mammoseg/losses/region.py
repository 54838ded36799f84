"""Region-level loss terms, which compare neighbourhoods of pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.losses.conditional_log_det import half_conditional_log_det
from mammoseg.losses.gaussian_filter import gaussian_filter2d
from mammoseg.losses.joint_covariance import joint_covariance
from mammoseg.losses.mean_ssim import mean_ssim_loss
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
        return mean_ssim_loss(torch.sigmoid(logits), mask, self.window_size, self.sigma, self.padding, self.c1, self.c2)


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
        joint = joint_covariance(prob[:, 0], mask_pooled[:, 0], self.radius)  # (S_pp, S_py; S_yp, S_yy)
        rmi = (half_conditional_log_det(joint, self.ridge, self.log_eps) / self.radius**2).to(logits.dtype)
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
