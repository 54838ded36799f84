"""The only place where terms are weighed and summed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mammoseg.errors import UserError
from mammoseg.losses.priority import Priority
from mammoseg.losses.term import Term


class Criterion(nn.Module):
    """L_i = sum_t weight_t * priority_t(i) * term_t(i), one value per sample.

    Shapes: logits (B, 1, H, W), mask (B, 1, H, W) in {0, 1}, density (B,) in 0..3 -> (B,).
    `weights`: one per term, 1 where none is given. A term of weight 0 is not computed.
    Raises UserError for a weight without a term, and for a criterion with nothing to minimise.
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
            raise UserError(f"loss.weights names {unknown}, but the terms are {sorted(terms)}")
        self.weights = {name: float(weights.get(name, 1.0)) for name in terms}
        self.terms = nn.ModuleDict({name: term for name, term in terms.items() if self.weights[name] != 0})
        if not self.terms:
            raise UserError("every weight of the loss is 0, so there is nothing to minimise; set one of them")
        self.priority = priority

    def fit(self, ratios: Tensor) -> None:
        """Adapt the priority to the mass ratios (N,) of the training images; losses without one ignore them."""
        if self.priority is not None:
            self.priority.fit(ratios)

    def parts(self, logits: Tensor, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
        """The weighed terms by name, each (B,); their sum is the criterion."""
        priority = {} if self.priority is None else self.priority(mask, density)
        parts = {}
        for name, term in self.terms.items():
            value = self.weights[name] * term(logits, mask)
            parts[name] = value * priority[name].to(value.dtype) if name in priority else value
        return parts

    def forward(self, logits: Tensor, mask: Tensor, density: Tensor) -> Tensor:
        parts = list(self.parts(logits, mask, density).values())
        return sum(parts[1:], start=parts[0])
