"""Every term that is computed in a roundabout way for speed, against the plain one of benchmarks/reference.py:
values and gradients, in single precision, under autocast, compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

import reference
from mammoseg.losses import BCE, RMI, SSIM, DensityASP, Dice
from mammoseg.losses.term import Term
from measure import THETA, batch

Loss = Callable[[Tensor, Tensor], Tensor]
SURENESS = (0.0, 3.0, 12.0, 16.0)  # of the network: undecided, half sure, nearly perfect

PAIRS: list[tuple[Term, Loss]] = [
    (BCE(), reference.bce),
    (Dice(), reference.dice),
    (SSIM(), reference.ssim),
    (SSIM(window_size=7), partial(reference.ssim, window_size=7)),
    (RMI(), reference.rmi),
    (RMI(pool="avg", stride=4), partial(reference.rmi, pool="avg", stride=4)),
    (RMI(pool=None), partial(reference.rmi, pool=None)),
    (RMI(pool=None, radius=2), partial(reference.rmi, pool=None, radius=2)),
]
NAMES = ["bce", "dice", "ssim", "ssim 7", "rmi max", "rmi avg", "rmi unpooled", "rmi radius 2"]


def inputs(sureness: float) -> tuple[Tensor, Tensor, Tensor]:
    logits, mask, density = batch(4, 96)
    mask[3] = 0  # one without a mass
    return (logits + sureness * (mask - 0.5)).requires_grad_(), mask, density


def compare(found: Tensor, wanted: Tensor, logits: Tensor) -> None:
    """Values to 1e-5, gradients to 1e-4."""
    torch.testing.assert_close(found, wanted.to(found.dtype), rtol=1e-5, atol=1e-6)
    fast, slow = (torch.autograd.grad(value.sum(), logits)[0] for value in (found, wanted))
    assert (fast - slow).norm() < 1e-4 * slow.norm()


@pytest.mark.parametrize("sureness", SURENESS)
@pytest.mark.parametrize(("fast", "slow"), PAIRS, ids=NAMES)
def test_a_term_in_single_precision(fast: Term, slow: Loss, sureness: float) -> None:
    logits, mask, _ = inputs(sureness)
    compare(fast(logits, mask), slow(logits.double(), mask.double()), logits)


@pytest.mark.parametrize("sureness", SURENESS)
@pytest.mark.parametrize(("fast", "slow"), PAIRS, ids=NAMES)
def test_a_term_of_half_precision_logits_under_autocast(fast: Term, slow: Loss, sureness: float) -> None:
    logits, mask, _ = inputs(sureness)
    half = logits.detach().bfloat16().float().requires_grad_()  # what such a network can say
    with torch.autocast("cpu", torch.bfloat16):
        found = fast(half.bfloat16(), mask)
        wanted = slow(half.double(), mask.double())
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-6)
    gradient, exact = (torch.autograd.grad(value.sum(), half)[0] for value in (found, wanted))
    assert (gradient - exact).norm() < 4e-3 * exact.norm(), "but for the rounding of the gradient itself to 8 bits"


@pytest.mark.parametrize("pool", ["max", "avg", None])
def test_rmi_where_nearly_everything_cancels(pool: str | None) -> None:
    logits, mask, _ = inputs(40.0)
    compare(RMI(pool=pool)(logits, mask), reference.rmi(logits, mask, pool=pool), logits)


@pytest.mark.parametrize("sureness", SURENESS)
@pytest.mark.parametrize("pool", ["max", None])
def test_the_criterion(pool: str | None, sureness: float) -> None:
    logits, mask, density = inputs(sureness)
    criterion = DensityASP(THETA, rmi=RMI(pool=pool))
    wanted = reference.density_asp(logits.double(), mask.double(), density, THETA, pool=pool)
    compare(criterion(logits, mask, density), wanted, logits)


@pytest.mark.parametrize("term", [SSIM(window_size=5, padding="same"), SSIM(), RMI(pool=None), RMI(radius=2)], ids=str)
def test_gradients_by_hand_are_those_of_finite_differences(term: Term) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 1, 16, 20, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = (torch.rand(2, 1, 16, 20, dtype=torch.float64, generator=generator) > 0.6).double()
    assert torch.autograd.gradcheck(lambda values: term(values, mask), logits)


# torch's own compiler makes such an object; the class's users do not.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("pool", ["max", None])
def test_the_compiler_takes_the_criterion_as_one_graph(pool: str | None) -> None:
    criterion = DensityASP(THETA, rmi=RMI(pool=pool))
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    logits, mask, density = inputs(3.0)
    compare(compiled(logits, mask, density), criterion(logits, mask, density), logits)
