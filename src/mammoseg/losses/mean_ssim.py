"""Mean SSIM loss of probabilities and masks, with an analytic backward pass.

The loss of a window is computed from four filtered maps: the mask y, the difference d = p - y, p^2 + y^2 and d^2. All
of them are filtered in one call, and the backward pass filters the gradients of the three maps that depend on p in one
call. Autograd would launch about twice as many operations, each of which takes longer to launch than to run on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mammoseg.losses.gaussian_filter import check_window, separable_filter


def mean_ssim_loss(
    prob: Tensor, mask: Tensor, window_size: int, sigma: float, padding: str, c1: float, c2: float
) -> Tensor:
    """Compute the mean over all windows of 1 - SSIM, see `mammoseg.losses.SSIM`.

    Args:
        prob: Probabilities of shape (B, 1, H, W).
        mask: Ground truth of shape (B, 1, H, W); receives no gradient.
        window_size: Side of the Gaussian window in pixels, an odd integer.
        sigma: Standard deviation of the Gaussian in pixels.
        padding: "same" or "valid", see `gaussian_filter2d`.
        c1: Constant of the luminance factor.
        c2: Constant of the structure factor.

    Returns:
        Loss of each sample, shape (B,).

    Raises:
        UserError: If a side of the image is smaller than the window.

    Example:
        >>> import torch
        >>> mask = torch.ones(1, 1, 16, 16)
        >>> mean_ssim_loss(mask, mask, window_size=11, sigma=1.5, padding="same", c1=1e-4, c2=9e-4)
        tensor([0.])
    """
    pad = check_window(prob, window_size, padding)
    loss: Tensor = _MeanSSIMLoss.apply(prob, mask, (window_size, sigma), pad, c1, c2)  # type: ignore[no-untyped-call]  # torch
    return loss


class _MeanSSIMLoss(torch.autograd.Function):
    """Mean of 1 - luminance * structure (eq. 5).

    With means m and variances s, luminance_loss = 1 - luminance = m_d^2 / (m_p^2 + m_y^2 + c1) and structure_loss =
    1 - structure = s_dd / (s_pp + s_yy + c2). These expressions avoid the cancellation in 1 - (product of ratios near
    1) for nearly perfect predictions.
    """

    @staticmethod
    def forward(
        ctx: Any, prob: Tensor, mask: Tensor, kernel: tuple[int, float], pad: int, c1: float, c2: float
    ) -> Tensor:
        diff = prob - mask
        # Eq. 5 needs only the sum of the squares.
        maps = torch.stack([mask, diff, prob * prob + mask * mask, diff * diff])
        mean_y, mean_d, squares, sq_diff = separable_filter(maps, *kernel, pad)
        mean_p = mean_y + mean_d
        squared_means = (mean_p * mean_p).addcmul_(mean_y, mean_y)
        luminance_den = squared_means + c1
        structure_den = squares - squared_means + c2
        luminance_loss = (mean_d * mean_d).div_(luminance_den)
        structure_loss = torch.addcmul(sq_diff, mean_d, mean_d, value=-1).div_(structure_den)
        ctx.backward_args = *kernel, kernel[0] - 1 - pad
        ctx.save_for_backward(prob, diff, mean_p, mean_d, luminance_den, structure_den, luminance_loss, structure_loss)
        loss = torch.addcmul(luminance_loss + structure_loss, luminance_loss, structure_loss, value=-1)
        return loss.mean(dim=(1, 2, 3))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        prob, diff, mean_p, mean_d, luminance_den, structure_den, luminance_loss, structure_loss = ctx.saved_tensors
        # The 2 is that of the derivative of a square, which all three gradients contain.
        grad_per_window = (grad_output / (mean_p[0].numel() / 2))[:, None, None, None]
        grad_luminance = grad_per_window * (1 - structure_loss) / luminance_den
        grad_sq_diff = grad_per_window * (1 - luminance_loss) / structure_den
        grad_mean_diff = grad_luminance * torch.addcmul(mean_d, luminance_loss, mean_p, value=-1)
        grad_mean_diff -= grad_sq_diff * torch.addcmul(mean_d, structure_loss, mean_p, value=-1)
        maps = torch.stack([grad_mean_diff, grad_sq_diff * structure_loss, grad_sq_diff])
        # The kernel is symmetric, so the adjoint is the same filter with the complementary padding.
        grad_diff, grad_squares, grad_sq_diff = separable_filter(maps, *ctx.backward_args)
        # Summed in the order of autograd, so that results of earlier versions are reproduced bit for bit.
        grad_sq_diff = grad_sq_diff * diff
        grad_prob = grad_diff.add(grad_sq_diff, alpha=0.5).add_(grad_sq_diff, alpha=0.5)
        grad_prob.sub_(grad_squares * prob)
        return grad_prob, None, None, None, None, None
