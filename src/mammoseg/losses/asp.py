"""ASP loss: Dice and BCE, weighted by the size of the mass (Aliniya et al., ICANN 2023)."""

from __future__ import annotations

from mammoseg.losses.criterion import Criterion
from mammoseg.losses.pixel import BCE, Dice
from mammoseg.losses.priority import Priority
from mammoseg.losses.term import Term


class ASP(Criterion):
    """Adaptive sample-level prioritizing loss: L_i = a_i alpha Dice_i + b_i beta BCE_i.

    The weights a_i and b_i depend on the mass ratio of image i, the ratio of mass area to image area.

    This is a reconstruction. According to the published description, Dice and BCE are weighted by the mass ratio in one
    of three ways: by quantile group, by k-means cluster, or by a parametrised function. The number of groups, the
    weights and the function are not specified. Our choices are settings in conf/loss/asp_*.yaml: four groups, in
    analogy to the four density categories; a larger Dice weight for small masses, which contribute little to the BCE,
    and a larger BCE weight for large masses; and a_i + b_i = 2, so that the weights are 1 on average, as in the hybrid
    loss.

    Args:
        priority: `ByRatio` for the quantile and cluster variants; `UncertaintyByRatio` or `LearnedByRatio` for the
            learned variant.
        alpha: Weight of the Dice term.
        beta: Weight of the BCE term.
        dice: Dice term; `Dice()` by default.
        bce: BCE term; `BCE()` by default.

    Source: Aliniya et al., ICANN 2023.

    Example:
        >>> import torch
        >>> from mammoseg.losses import ByRatio
        >>> loss = ASP(ByRatio({"dice": [1.5, 0.5], "bce": [0.5, 1.5]}), alpha=2.0, beta=1.0)
        >>> loss.fit(torch.tensor([0.01, 0.02, 0.1, 0.2]))  # mass ratios of the training images
        >>> mask = torch.zeros(1, 1, 10, 10)
        >>> mask[..., 0, 0] = 1  # a mass ratio of 0.01
        >>> sorted(loss.weighted_terms(torch.zeros(1, 1, 10, 10), mask, torch.tensor([0])))
        ['bce', 'dice']
        >>> loss(torch.zeros(1, 1, 10, 10), mask, torch.tensor([0]))
        tensor([3.2600])
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
