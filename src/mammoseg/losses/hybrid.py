"""Losses of the paper (Aliniya et al.); their weights have the same symbols as in the paper."""

from __future__ import annotations

from collections.abc import Sequence

from mammoseg.losses.criterion import Criterion
from mammoseg.losses.density_priority import ByDensity
from mammoseg.losses.pixel import BCE, Dice
from mammoseg.losses.region import RMI, SSIM
from mammoseg.losses.term import Term


class HybridPixel(Criterion):
    """Hybrid pixel-level loss L_HP = alpha Dice + beta BCE (eq. 3), the loss of the AU-Net baseline.

    Args:
        alpha: Weight of the Dice term.
        beta: Weight of the BCE term.
        dice: Dice term; `Dice()` by default.
        bce: BCE term; `BCE()` by default.

    Source: Aliniya et al., "Hybrid Region and Pixel-Level Adaptive Loss", §3.1.

    Example:
        >>> import torch
        >>> HybridPixel(alpha=2.0, beta=1.0)(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8), torch.tensor([0]))
        tensor([2.0127])
    """

    def __init__(
        self, alpha: float = 2.0, beta: float = 1.0, *, dice: Term | None = None, bce: Term | None = None
    ) -> None:
        super().__init__(
            terms={"dice": dice or Dice(), "bce": bce or BCE()},
            weights={"dice": alpha, "bce": beta},  # eq. 3
        )


class HybridRegion(Criterion):
    """Hybrid region-level loss L_HR = eta RMI + gamma SSIM (eq. 6).

    Args:
        eta: Weight of the RMI term.
        gamma: Weight of the SSIM term.
        rmi: RMI term; `RMI()` by default.
        ssim: SSIM term; `SSIM()` by default.

    Source: Aliniya et al., "Hybrid Region and Pixel-Level Adaptive Loss", §3.2.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> density = torch.tensor([0])
        >>> loss = HybridRegion(eta=1.0, gamma=1.0)
        >>> bool(loss(20 * (mask - 0.5), mask, density) < loss(torch.zeros_like(mask), mask, density))
        True
    """

    def __init__(
        self, eta: float = 1.0, gamma: float = 1.0, *, rmi: Term | None = None, ssim: Term | None = None
    ) -> None:
        super().__init__(
            terms={"rmi": rmi or RMI(), "ssim": ssim or SSIM()},
            weights={"rmi": eta, "ssim": gamma},  # eq. 6
        )


class DensityASP(Criterion):
    """Density-ASP: L_i = theta[density_i] (eta RMI_i + gamma SSIM_i) + alpha Dice_i + beta BCE_i (eqs. 3, 6 and 7).

    The loss can be negative, since RMI is a log-determinant, and its range depends on theta. Checkpoints should
    therefore be selected by validation DSC rather than by validation loss.

    Args:
        theta: Weight of the region-level terms for each of the four ACR density categories.
        alpha: Weight of the Dice term.
        beta: Weight of the BCE term.
        eta: Weight of the RMI term.
        gamma: Weight of the SSIM term.
        dice: Dice term; `Dice()` by default.
        bce: BCE term; `BCE()` by default.
        rmi: RMI term; `RMI()` by default.
        ssim: SSIM term; `SSIM()` by default.
        interpolate: Whether theta is interpolated at the density score; see `ByDensity`. The paper uses categories.

    Raises:
        UserError: If `theta` is not a list of four numbers >= 0.

    Source: Aliniya et al., "Hybrid Region and Pixel-Level Adaptive Loss", §3.3.

    Example:
        >>> import torch
        >>> mask = torch.zeros(2, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> loss = DensityASP(theta=[0.5, 0.5, 0.85, 0.95])
        >>> loss(torch.zeros_like(mask), mask, torch.tensor([0, 3])).shape
        torch.Size([2])
    """

    def __init__(
        self,
        theta: Sequence[float],
        alpha: float = 2.0,
        beta: float = 1.0,
        eta: float = 1.0,
        gamma: float = 1.0,
        *,
        dice: Term | None = None,
        bce: Term | None = None,
        rmi: Term | None = None,
        ssim: Term | None = None,
        interpolate: bool = False,
    ) -> None:
        super().__init__(
            terms={
                "dice": dice or Dice(),
                "bce": bce or BCE(),
                "rmi": rmi or RMI(),
                "ssim": ssim or SSIM(),
            },
            weights={"dice": alpha, "bce": beta, "rmi": eta, "ssim": gamma},  # eqs. 3 and 6
            priority=ByDensity(theta, terms=("rmi", "ssim"), interpolate=interpolate),  # eq. 7
        )
