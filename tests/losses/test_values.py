"""Values of each term compared with its published formula or an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytorch_msssim
import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.errors import UserError
from mammoseg.losses import BCE, RMI, SSIM, Criterion, DensityASP, Dice, HybridPixel, HybridRegion


@pytest.fixture(scope="module")
def logits() -> Tensor:
    return 3 * torch.randn(4, 1, 96, 112, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def mask() -> Tensor:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(112.0), indexing="ij")
    discs = [((y - 40) ** 2 + (x - 50) ** 2 < radius**2).float() for radius in (6, 15, 30)]
    return torch.stack([*discs, torch.zeros(96, 112)])[:, None]  # the last image has no mass


def test_bce_equals_the_mean_of_equation_1(logits: Tensor, mask: Tensor) -> None:
    prob = 1 / (1 + np.exp(-logits.double().numpy()))
    y = mask.numpy()
    expected = -(y * np.log(prob) + (1 - y) * np.log(1 - prob)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(BCE()(logits, mask).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("factor", [1, 2])
def test_dice_equals_equation_2(logits: Tensor, mask: Tensor, factor: int) -> None:
    prob, y = 1 / (1 + np.exp(-logits.double().numpy())), mask.numpy()
    intersection, total = (prob * y).sum((1, 2, 3)), prob.sum((1, 2, 3)) + y.sum((1, 2, 3))
    expected = 1 - (factor * intersection + 1) / (total + 1)
    np.testing.assert_allclose(Dice(factor=factor)(logits, mask).numpy(), expected, rtol=1e-5)


def test_printed_dice_with_alpha_2_equals_usual_dice_up_to_a_constant(mask: Tensor) -> None:
    logits = torch.randn(4, 1, 96, 112, dtype=torch.float64)
    printed, usual = Dice(factor=1, eps=0)(logits, mask), Dice(factor=2, eps=0)(logits, mask)
    torch.testing.assert_close(2 * printed, 1 + usual)


@pytest.mark.parametrize("window_size", [7, 11])
def test_ssim_equals_pytorch_msssim(logits: Tensor, mask: Tensor, window_size: int) -> None:
    similarity = pytorch_msssim.ssim(
        torch.sigmoid(logits), mask, data_range=1, size_average=False, win_size=window_size
    )
    ssim = SSIM(window_size=window_size, padding="valid")
    torch.testing.assert_close(ssim(logits, mask), 1 - similarity, rtol=1e-5, atol=1e-5)


def test_default_ssim_and_its_gradient_equal_those_of_a_zero_padded_convolution(logits: Tensor, mask: Tensor) -> None:
    """Window of 11 pixels, sigma 1.5 and zero padding, as in the SSIM loss of BASNet and U²-Net."""
    logits = logits.clone().requires_grad_()
    kernel_1d = torch.exp(-((torch.arange(11.0) - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(kernel_1d, kernel_1d)[None, None] / kernel_1d.sum() ** 2
    prob = torch.sigmoid(logits)
    mean_p, mean_y, pp, yy, py = (
        functional.conv2d(v, window, padding=5) for v in (prob, mask, prob**2, mask**2, prob * mask)
    )
    expected = (2 * mean_p * mean_y + 1e-4) * (2 * (py - mean_p * mean_y) + 9e-4)
    expected = expected / ((mean_p**2 + mean_y**2 + 1e-4) * (pp - mean_p**2 + yy - mean_y**2 + 9e-4))
    actual, expected = SSIM()(logits, mask), 1 - expected.mean(dim=(1, 2, 3))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    gradients = [torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in (actual, expected)]
    assert (gradients[0] - gradients[1]).abs().max() < 1e-3 * gradients[1].abs().max()


def test_ssim_of_a_perfect_prediction_is_0(mask: Tensor) -> None:
    assert SSIM()(100 * (mask - 0.5), mask).abs().max() < 1e-6


def published_rmi(logits: Tensor, mask: Tensor, pool: str | None, stride: int) -> np.ndarray:
    """Computation of Zhao et al., step by step: pool, unfold, centre, explicit inverse, log-determinant."""
    maps = [mask, torch.sigmoid(logits) + 1e-6]
    if pool is not None:
        pooling = functional.max_pool2d if pool == "max" else functional.avg_pool2d
        maps = [pooling(m, stride, stride, padding=stride // 2) for m in maps]
    y, p = (functional.unfold(m, 3).double().numpy() for m in maps)
    values = []
    for a, b in zip(y, p, strict=True):
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        m = a @ a.T - a @ b.T @ np.linalg.inv(b @ b.T + 5e-4 * np.eye(9)) @ b @ a.T
        values.append(0.5 * np.linalg.slogdet(m + 5e-4 * np.eye(9))[1] / 9)
    return np.array(values)


@pytest.mark.parametrize(("pool", "stride"), [("max", 3), ("avg", 4), ("avg", 2), (None, 3)])
def test_rmi_equals_the_published_computation(logits: Tensor, mask: Tensor, pool: str | None, stride: int) -> None:
    expected = published_rmi(logits, mask, pool, stride)
    np.testing.assert_allclose(RMI(pool=pool, stride=stride)(logits, mask).numpy(), expected, rtol=1e-5)


def test_rmi_of_perfect_predictions_is_minimal_and_invariant_under_inversion(mask: Tensor) -> None:
    perfect = RMI(pool=None)(100 * (mask - 0.5), mask)
    assert perfect[:3] == pytest.approx(0.5 * math.log(1e-3), abs=2e-3)
    assert perfect[3].item() == pytest.approx(0.5 * math.log(5e-4), abs=1e-3), "the minimum, for an empty mask"
    inverted = RMI(pool=None)(100 * (0.5 - mask), mask)  # RMI is invariant under inversion
    torch.testing.assert_close(inverted, perfect, rtol=1e-4, atol=1e-4)


def test_rmi_with_bce_weight_averages_rmi_and_bce(logits: Tensor, mask: Tensor) -> None:
    expected = 0.5 * BCE()(logits, mask) + 0.5 * RMI()(logits, mask)
    torch.testing.assert_close(RMI(bce_weight=0.5)(logits, mask), expected)


def test_density_asp_equals_equation_7(logits: Tensor, mask: Tensor) -> None:
    theta, density = [0.1, 0.2, 0.4, 0.8], torch.tensor([3, 0, 2, 1])
    loss = DensityASP(theta, alpha=2.5, beta=0.7, eta=1.3, gamma=0.6)
    region = 1.3 * RMI()(logits, mask) + 0.6 * SSIM()(logits, mask)
    pixel = 2.5 * Dice()(logits, mask) + 0.7 * BCE()(logits, mask)
    torch.testing.assert_close(loss(logits, mask, density), torch.tensor([0.8, 0.1, 0.4, 0.2]) * region + pixel)


def test_hybrid_losses_equal_equations_3_and_6(logits: Tensor, mask: Tensor) -> None:
    density = torch.zeros(4, dtype=torch.long)
    expected = 3 * Dice()(logits, mask) + 2 * BCE()(logits, mask)
    torch.testing.assert_close(HybridPixel(alpha=3, beta=2)(logits, mask, density), expected)
    expected = 3 * RMI()(logits, mask) + 2 * SSIM()(logits, mask)
    torch.testing.assert_close(HybridRegion(eta=3, gamma=2)(logits, mask, density), expected)


@pytest.mark.parametrize("term", [BCE(), Dice(), SSIM(window_size=5), RMI(), RMI(pool="avg", stride=2)], ids=str)
def test_terms_pass_gradcheck(term: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 1, 16, 20, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = (torch.rand(2, 1, 16, 20, dtype=torch.float64, generator=generator) > 0.6).double()
    assert torch.autograd.gradcheck(lambda values: term(values, mask), logits)


@pytest.mark.parametrize(
    "theta",
    [[0.5, 0.5, 0.85], [1, 1, 1, 1, 1], [[1, 1, 1, 1], [1, 1, 1, 1]], [1, 1, -1, 1], [1, 1, math.nan, 1], "abcd"],
)
def test_invalid_theta_raises(theta: object) -> None:
    with pytest.raises(UserError, match=r"loss.theta must be four numbers"):
        DensityASP(theta)  # type: ignore[arg-type]


def test_weight_without_a_term_and_all_weights_0_raise() -> None:
    with pytest.raises(UserError, match="rmi"):
        Criterion(terms={"bce": BCE()}, weights={"rmi": 1.0})
    with pytest.raises(UserError, match="must be nonzero"):
        Criterion(terms={"bce": BCE()}, weights={"bce": 0.0})


def test_term_of_weight_0_is_not_computed(logits: Tensor, mask: Tensor) -> None:
    density = torch.zeros(4, dtype=torch.long)
    assert set(HybridPixel(alpha=0).weighted_terms(logits, mask, density)) == {"bce"}
