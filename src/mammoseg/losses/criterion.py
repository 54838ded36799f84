"""Weighted sum of loss terms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mammoseg.errors import UserError
from mammoseg.losses.priority import Priority
from mammoseg.losses.term import Term

PENALTY = "weight_penalty"


class Criterion(nn.Module):
    """Weighted sum of loss terms for each sample: L_i = sum_t weight_t * priority_t(i) * term_t(i).

    The penalty of the priority is added, if it has one.

    Args:
        terms: Terms by name.
        weights: Weights by name of the term; 1 for terms without an entry. Terms of weight 0 are not computed.
        priority: Sample-dependent weights, see `Priority`. If None, all samples have equal weight.

    Shapes:
        logits (B, 1, H, W), mask (B, 1, H, W) in {0, 1} and density (B,) in {0, 1, 2, 3} -> (B,).

    Raises:
        UserError: If `weights` contains an unknown name, or all weights are 0.

    Example:
        >>> import torch
        >>> from mammoseg.losses import BCE, Dice
        >>> criterion = Criterion({"dice": Dice(factor=2), "bce": BCE()}, weights={"dice": 0.5})
        >>> criterion(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8), torch.tensor([0, 3]))
        tensor([0.8581, 0.8581])
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        weights: Mapping[str, float] | None = None,
        priority: Priority | None = None,
    ) -> None:
        super().__init__()
        weights = dict(weights or {})
        if unknown := sorted(set(weights) - set(terms)):
            raise UserError(f"the keys of loss.weights must be among the terms {sorted(terms)}, got {unknown}")
        self.weights = {name: float(weights.get(name, 1.0)) for name in terms}
        self.terms = nn.ModuleDict({name: term for name, term in terms.items() if self.weights[name] != 0})
        if not self.terms:
            raise UserError(f"at least one weight of the loss must be nonzero, got {self.weights}")
        self.priority = priority

    @property
    def density_key(self) -> str:
        """Entry of the batch that is passed as `density`, see `Priority`."""
        return "density" if self.priority is None else self.priority.density_key

    def fit(self, ratios: Tensor) -> None:
        """Fit the priority to the training set; does nothing without a priority.

        Args:
            ratios: Mass ratios (mass area divided by image area) of the training images with a mass, shape (N,), in
                [0, 1].
        """
        if self.priority is not None:
            self.priority.fit(ratios)

    def weighted_terms(self, logits: Tensor, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """Compute the summands of the loss.

        Args:
            logits: See `forward`.
            mask: See `forward`.
            density: See `forward`.

        Returns:
            Weighted terms of shape (B,) by name, and the penalty of the priority as "weight_penalty" if it has one.
        """
        priority = {} if self.priority is None else self.priority(mask, density)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # once instead of in every term
        weighted = {}
        for name, term in self.terms.items():
            value = term(logits, mask)
            if self.weights[name] != 1:
                value = self.weights[name] * value
            weighted[name] = value * priority[name].to(value.dtype) if name in priority else value
        penalty = None if self.priority is None else self.priority.penalty(mask)
        return weighted if penalty is None else {**weighted, PENALTY: penalty}

    @property
    def summands(self) -> list[str]:
        """Names of the summands of the loss, in the order of `weighted_terms`."""
        has_penalty = self.priority is not None and type(self.priority).penalty is not Priority.penalty
        return [*self.terms, *([PENALTY] if has_penalty else [])]

    def forward(self, logits: Tensor, mask: Tensor, density: Tensor) -> Tensor:
        """Compute the loss of each sample.

        Args:
            logits: Network output of shape (B, 1, H, W).
            mask: Ground truth of shape (B, 1, H, W) in {0, 1}.
            density: ACR density category of each image in {0, 1, 2, 3}, shape (B,), or the entry `density_key` of the
                batch.

        Returns:
            Loss of each sample, shape (B,).
        """
        first, *others = self.weighted_terms(logits, mask, density).values()
        return sum(others, start=first)
