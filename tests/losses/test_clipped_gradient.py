"""ClippedGradient changes the gradient of each sample by a factor and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mammoseg.errors import UserError
from mammoseg.losses import RMI, SSIM, ClippedGradient, Criterion, DensityASP, Dice, Term


@pytest.fixture
def sample() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(3, 1, 32, 32)
    for index, side in enumerate((3, 9, 20)):
        mask[index, :, 5 : 5 + side, 8 : 8 + side] = 1
    return torch.randn(3, 1, 32, 32, generator=generator, dtype=torch.float64), mask.double()


def gradient(term: nn.Module, logits: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = term(logits, *others)
    (result,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), result


@pytest.mark.parametrize("term", [RMI(), SSIM(), Dice()])
@pytest.mark.parametrize("quantile", [0.0, 0.5, 1.1])
def test_the_gradient_of_each_sample_is_clipped(term: Term, quantile: float, sample: tuple[Tensor, Tensor]) -> None:
    value, expected = gradient(term, *sample)
    norms = expected.flatten(1).norm(dim=1)
    max_norm = float(norms.max() * 1.1 if quantile > 1 else norms.quantile(quantile))
    clipped_value, clipped = gradient(ClippedGradient(term, max_norm), *sample)
    assert torch.equal(value, clipped_value)
    for index in range(3):
        factor = min(1.0, max_norm / float(norms[index]))
        torch.testing.assert_close(clipped[index], factor * expected[index])
    assert quantile > 1 or not torch.allclose(clipped, expected)


def test_the_ratio_of_priorities_is_kept(sample: tuple[Tensor, Tensor]) -> None:
    """Two equal images of ACR 1 and 4 have gradients in the ratio of theta, however strong the clipping is."""
    logits, mask = (value[:1].repeat(2, 1, 1, 1) for value in sample)
    rmi, ssim = (ClippedGradient(term, 1e-4) for term in (RMI(), SSIM()))
    loss = DensityASP([0.25, 0.25, 0.85, 0.95], alpha=0.0, beta=0.0, rmi=rmi, ssim=ssim)
    _, (first, second) = gradient(loss, logits, mask, torch.tensor([0, 3]))
    torch.testing.assert_close(second, first * 0.95 / 0.25)


def test_weights_scale_the_clipped_gradient(sample: tuple[Tensor, Tensor]) -> None:
    loss = Criterion({"rmi": ClippedGradient(RMI(), 1e-4)}, weights={"rmi": 3.0})
    _, result = gradient(loss, *sample, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(result.flatten(1).norm(dim=1), torch.full((3,), 3e-4, dtype=torch.float64))


def test_without_gradients_only_the_value_is_computed(sample: tuple[Tensor, Tensor]) -> None:
    with torch.no_grad():
        assert torch.equal(ClippedGradient(RMI(), 1e-4)(*sample), RMI()(*sample))


def test_a_gradient_of_zero_stays_zero() -> None:
    logits = torch.full((1, 1, 32, 32), 200.0)
    _, result = gradient(ClippedGradient(Dice(), 0.1), logits, torch.ones_like(logits))
    assert not result.any()


class Trainable(Term):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.scale * (logits - mask).mean(dim=(1, 2, 3))


def test_invalid_arguments_raise() -> None:
    with pytest.raises(UserError, match="no trainable parameters"):
        ClippedGradient(Trainable(), 1.0)
    for max_norm in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="must be a positive number, got"):
            ClippedGradient(Dice(), max_norm)
