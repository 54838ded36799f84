"""Values of the losses for images without a mass, compared with explicit formulas and with the reference."""

from __future__ import annotations

import math

import pytest
import reference
import torch
from torch import Tensor

from mammoseg.losses import (
    ASP,
    BCE,
    RMI,
    SSIM,
    ByRatio,
    Criterion,
    DensityASP,
    Dice,
    HybridPixel,
    LearnedByRatio,
    PerSample,
    UncertaintyByRatio,
)

THETA = [0.25, 0.5, 0.75, 1.0]
DENSITY = torch.tensor([3])
EMPTY = torch.zeros(1, 1, 32, 32, dtype=torch.float64)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(EMPTY.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 1


def empty_prediction() -> Tensor:
    return torch.full_like(EMPTY, -50)


@pytest.mark.parametrize("factor", [1, 2])
def test_dice_is_zero_for_an_empty_prediction_and_depends_on_the_predicted_area(factor: int, logits: Tensor) -> None:
    dice = Dice(factor=factor)
    assert dice(empty_prediction(), EMPTY).item() == pytest.approx(0, abs=1e-12)
    area = torch.sigmoid(logits).sum().item()
    assert dice(logits, EMPTY).item() == pytest.approx(area / (area + 1))


def test_bce_is_that_of_the_background(logits: Tensor) -> None:
    expected = -torch.log(1 - torch.sigmoid(logits)).mean().item()
    assert BCE()(logits, EMPTY).item() == pytest.approx(expected)
    assert BCE()(empty_prediction(), EMPTY).item() == pytest.approx(0, abs=1e-12)


def test_ssim_equals_the_reference_and_is_zero_for_an_empty_prediction(logits: Tensor) -> None:
    torch.testing.assert_close(SSIM()(logits, EMPTY), reference.ssim(logits, EMPTY))
    assert SSIM()(empty_prediction(), EMPTY).item() == pytest.approx(0, abs=1e-12)


def test_rmi_is_constant_since_an_empty_mask_has_no_information(logits: Tensor) -> None:
    """M = S_yy - S_yp (S_pp + a I)^-1 S_py = 0, so the value is log det(a I) / (2 radius^2) = log(a) / 2."""
    logits.requires_grad_()
    value = RMI()(logits, EMPTY)
    assert value.item() == pytest.approx(math.log(reference.RIDGE) / 2, abs=1e-5)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert not gradient.any()


def test_the_gradient_of_density_asp_is_that_of_the_other_terms(logits: Tensor) -> None:
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(DensityASP(THETA)(logits, EMPTY, DENSITY).sum(), logits)
    others = THETA[3] * SSIM()(logits, EMPTY) + 2 * Dice()(logits, EMPTY) + BCE()(logits, EMPTY)
    torch.testing.assert_close(gradient, torch.autograd.grad(others.sum(), logits)[0])


def trained(priority: UncertaintyByRatio | LearnedByRatio) -> UncertaintyByRatio | LearnedByRatio:
    """Parameters that differ from their initial values, for which all weights are 1."""
    with torch.no_grad():
        priority.slope.fill_(0.7)
        priority.shift.fill_(-0.4)
    return priority


@pytest.mark.parametrize(
    "priority",
    [
        ByRatio({"dice": [1.5, 1.2, 0.8, 0.5], "bce": [0.5, 0.8, 1.2, 1.5]}, "quantile"),
        ByRatio({"dice": [1.5, 1.2, 0.8, 0.5], "bce": [0.5, 0.8, 1.2, 1.5]}, "cluster"),
        trained(UncertaintyByRatio()),
        trained(LearnedByRatio()),
    ],
)
def test_asp_equals_the_hybrid_loss_without_a_mass(
    priority: ByRatio | UncertaintyByRatio | LearnedByRatio, logits: Tensor
) -> None:
    mask = torch.cat([EMPTY, EMPTY.clone()])
    mask[1, :, :6, :6] = 1
    logits = torch.cat([logits, logits]).requires_grad_()
    loss, density = ASP(priority, alpha=2.0, beta=3.0), torch.tensor([0, 0])
    loss.fit(torch.linspace(0.001, 0.1, 50))
    values, hybrid = loss(logits, mask, density), HybridPixel(alpha=2.0, beta=3.0)(logits, mask, density)
    torch.testing.assert_close(values[0], hybrid[0])
    assert not torch.isclose(values[1], hybrid[1]), "the weights depend on the size of a mass"
    if parameters := list(loss.parameters()):
        gradients = torch.autograd.grad(values[0], parameters, retain_graph=True)
        assert not any(gradient.any() for gradient in gradients)
        assert all(gradient.any() for gradient in torch.autograd.grad(values[1], parameters))


class Undefined(torch.nn.Module):
    """A loss of another library that ignores empty masks."""

    def forward(self, prediction: Tensor, mask: Tensor) -> Tensor:
        return (prediction * mask).sum()


def test_a_term_for_empty_masks_replaces_the_loss_of_another_library(logits: Tensor) -> None:
    mask = torch.cat([EMPTY, EMPTY.clone()])
    mask[1, :, :6, :6] = 1
    logits = torch.cat([logits, logits]).requires_grad_()
    term = PerSample(Undefined(), empty_mask=Dice(factor=2))
    values = term(logits, mask)
    torch.testing.assert_close(values, torch.stack([Dice()(logits, mask)[0], (logits[1] * mask[1]).sum()]))
    criterion = Criterion({"term": term})
    torch.testing.assert_close(criterion(logits, mask, torch.tensor([0, 1])), values)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    torch.testing.assert_close(gradient[1], mask[1])
