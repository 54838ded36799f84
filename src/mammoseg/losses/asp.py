"""ASP: Dice against BCE, weighed for each image by the size of its mass (Aliniya et al., ICANN 2023)."""

from __future__ import annotations

from mammoseg.losses.criterion import Criterion
from mammoseg.losses.pixel import BCE, Dice
from mammoseg.losses.priority import Priority
from mammoseg.losses.term import Term


class ASP(Criterion):
    """L_i = a_i alpha Dice_i + b_i beta BCE_i, with (a_i, b_i) from the mass ratio of image i.

    `priority`: `ByRatio` for the quantile and the cluster form, `LearnedByRatio` for the learned one.

    Reconstructed. Known is that Dice and BCE are weighed by the ratio of mass to image, in groups by
    quantile, in groups by k-means, or by a parametrised function. The papers at hand leave open how many
    groups, all weights, and the function: here four groups, as there are four densities, Dice weighing
    more for small masses (it does not drown in background) and BCE more for large ones, a_i + b_i = 2 so
    that the plain hybrid loss is the mean; each of these is a setting of conf/loss/asp_*.yaml.
    """

    def __init__(
        self,
        priority: Priority,
        alpha: float = 2.0,
        beta: float = 1.0,
        *,
        dice: Term | None = None,
        bce: Term | None = None,
    ) -> None:
        super().__init__(
            terms={"dice": dice or Dice(), "bce": bce or BCE()},
            weights={"dice": alpha, "bce": beta},
            priority=priority,
        )
