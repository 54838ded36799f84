"""Weights by density category, and weights interpolated at the density score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mammoseg.losses import ByDensity, DensityASP
from mammoseg.losses.density_priority import interpolate_theta

THETA = st.lists(st.floats(0, 10, width=32), min_size=4, max_size=4)
MASK = torch.zeros(4, 1, 24, 24)
MASK[:, :, 6:15, 4:12] = 1
LOGITS = torch.randn(4, 1, 24, 24, generator=torch.Generator().manual_seed(0))


@given(THETA)
def test_interpolation_equals_the_lookup_at_integers(theta: list[float]) -> None:
    lookup = ByDensity(theta, terms=["rmi"])(MASK, torch.arange(4))["rmi"]
    interpolated = ByDensity(theta, terms=["rmi"], interpolate=True)
    assert torch.equal(interpolated(MASK, torch.arange(4))["rmi"], lookup)
    assert torch.equal(interpolated(MASK, torch.arange(4.0))["rmi"], lookup)


@given(THETA, st.lists(st.floats(-1, 4, width=32), min_size=1, max_size=8))
def test_interpolation_equals_numpy(theta: list[float], density: list[float]) -> None:
    expected = np.interp(density, np.arange(4), theta)
    actual = interpolate_theta(torch.tensor(theta), torch.tensor(density))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@given(THETA, st.floats(0, 3, width=32), st.floats(0, 3, width=32))
def test_interpolation_is_monotone_for_monotone_theta(theta: list[float], first: float, second: float) -> None:
    low, high = interpolate_theta(torch.tensor(sorted(theta)), torch.tensor(sorted((first, second))))
    assert low <= high + 1e-6


def test_no_gradient_flows_into_the_density() -> None:
    density = torch.tensor([0.2, 1.5, 2.9, 3.0], requires_grad=True)
    logits = LOGITS.clone().requires_grad_()
    DensityASP([0.25, 0.25, 0.85, 0.95], interpolate=True)(logits, MASK, density).sum().backward()
    assert logits.grad is not None
    assert density.grad is None


def test_the_loss_is_linear_between_categories() -> None:
    loss = DensityASP([0.25, 0.5, 0.85, 0.95], interpolate=True)
    low, middle, high = (loss(LOGITS, MASK, torch.full((4,), value)) for value in (1.0, 1.25, 2.0))
    torch.testing.assert_close(middle, 0.75 * low + 0.25 * high)


@pytest.mark.parametrize(("interpolate", "key"), [(False, "density"), (True, "density_score")])
def test_the_criterion_names_the_entry_of_the_batch(interpolate: bool, key: str) -> None:
    assert DensityASP([1, 1, 1, 1], interpolate=interpolate).density_key == key
