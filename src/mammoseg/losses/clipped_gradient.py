"""Clipping of the gradient of a term for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from mammoseg.errors import UserError
from mammoseg.losses.term import Term

EPS = 1e-12


class ClippedGradient(Term):
    """Term whose gradient with respect to the logits is clipped for each sample; its value does not change.

    The gradient of sample i is multiplied by min(1, max_norm / norm_i), where norm_i is its Euclidean norm over all
    pixels, before the criterion applies weight and priority. Clipping therefore limits the influence of single samples
    and leaves the ratio of the priorities as it is, unlike clipping of the gradient of the batch.

    Args:
        term: The term. It must not have trainable parameters, since they would receive no gradient.
        max_norm: Largest norm of the gradient, positive.

    Raises:
        UserError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from mammoseg.losses import Dice
        >>> logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
        >>> term = ClippedGradient(Dice(), max_norm=0.01)
        >>> term(logits, torch.ones(1, 1, 8, 8)).backward()
        >>> round(logits.grad.norm().item(), 6)
        0.01
    """

    def __init__(self, term: Term, max_norm: float) -> None:
        super().__init__()
        if any(parameter.requires_grad for parameter in term.parameters()):
            raise UserError("term of ClippedGradient must have no trainable parameters, got one that has")
        if not 0 < max_norm < float("inf"):
            raise UserError(f"max_norm of ClippedGradient must be a positive number, got {max_norm}")
        self.term = term
        self.max_norm = max_norm

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the term."""
        if not torch.is_grad_enabled() or not logits.requires_grad:
            return self.term.value(logits, mask)
        constant = logits.detach().requires_grad_()
        value = self.term.value(constant, mask)
        (gradient,) = torch.autograd.grad(value.sum(), constant)  # each value depends on the logits of its sample only
        norm = gradient.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        clipped = gradient * (self.max_norm / norm.clamp(min=EPS)).clamp(max=1)
        # Linear in the logits, with value 0 and gradient `clipped`.
        return value.detach() + (clipped * (logits - logits.detach())).sum(dim=(1, 2, 3))
