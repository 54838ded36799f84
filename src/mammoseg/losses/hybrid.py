"""The paper's losses, each spelled from terms, weights and a priority in the paper's letters."""

from __future__ import annotations

from collections.abc import Sequence

from mammoseg.losses.criterion import Criterion
from mammoseg.losses.pixel import BCE, Dice
from mammoseg.losses.priority import ByDensity
from mammoseg.losses.region import RMI, SSIM
from mammoseg.losses.term import Term


class HybridPixel(Criterion):
    """L_HP = alpha Dice + beta BCE (eq. 3): the loss of the AU-Net baseline."""

    def __init__(
        self, alpha: float = 2.0, beta: float = 1.0, *, dice: Term | None = None, bce: Term | None = None
    ) -> None:
        super().__init__(
            terms={"dice": dice or Dice(), "bce": bce or BCE()},
            weights={"dice": alpha, "bce": beta},  # eq. 3
        )


class HybridRegion(Criterion):
    """L_HR = eta RMI + gamma SSIM (eq. 6)."""

    def __init__(
        self, eta: float = 1.0, gamma: float = 1.0, *, rmi: Term | None = None, ssim: Term | None = None
    ) -> None:
        super().__init__(
            terms={"rmi": rmi or RMI(), "ssim": ssim or SSIM()},
            weights={"rmi": eta, "ssim": gamma},  # eq. 6
        )


class DensityASP(Criterion):
    """L_i = theta[density_i] (eta RMI_i + gamma SSIM_i) + alpha Dice_i + beta BCE_i (eqs. 3, 6, 7).

    Negative values are expected, since RMI is a log determinant: select checkpoints by validation DSC.
    Source: Aliniya et al., "Hybrid Region and Pixel-Level Adaptive Loss", §3.3.
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
    ) -> None:
        super().__init__(
            terms={
                "dice": dice or Dice(),
                "bce": bce or BCE(),
                "rmi": rmi or RMI(),
                "ssim": ssim or SSIM(),
            },
            weights={"dice": alpha, "bce": beta, "rmi": eta, "ssim": gamma},  # eqs. 3 and 6
            priority=ByDensity(theta, terms=("rmi", "ssim")),  # eq. 7
        )
