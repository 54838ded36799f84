"""Contract of every loss in conf/loss."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from choices import build, options
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mammoseg.losses import Criterion, PerSample
from mammoseg.losses.gaussian_filter import cached_band_matrix

Batch = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 1, 64, 48, generator=generator)
    mask = torch.zeros(4, 1, 64, 48)
    for sample, side in enumerate((4, 9, 20, 30)):
        mask[sample, :, 5 : 5 + side, 8 : 8 + side] = 1
    return logits, mask, torch.arange(4)


@pytest.mark.parametrize("name", options("loss"))
def test_value_of_a_sample_does_not_depend_on_the_batch(name: str, batch: Batch) -> None:
    loss = build("loss", name)
    batched = loss(*batch)
    assert batched.shape == (4,)
    one_by_one = torch.cat([loss(*(v[i : i + 1] for v in batch)) for i in range(4)])
    torch.testing.assert_close(batched, one_by_one)


@pytest.mark.parametrize("name", options("loss"))
def test_weighted_terms_sum_to_the_loss(name: str, batch: Batch) -> None:
    loss = build("loss", name)
    torch.testing.assert_close(torch.stack(list(loss.weighted_terms(*batch).values())).sum(dim=0), loss(*batch))


@pytest.mark.parametrize("name", options("loss"))
@pytest.mark.parametrize("mask_value", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
def test_gradients_are_finite_for_extreme_logits(name: str, mask_value: float, logit: float) -> None:
    loss = build("loss", name)
    logits = torch.full((2, 1, 64, 64), logit, requires_grad=True)
    value = loss(logits, torch.full((2, 1, 64, 64), mask_value), torch.tensor([0, 3]))
    value.sum().backward()
    assert value.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", options("loss"))
def test_gradient_step_decreases_the_loss(name: str, batch: Batch) -> None:
    loss = build("loss", name)
    logits, mask, density = batch
    logits = logits.double().requires_grad_()
    initial = loss(logits, mask.double(), density).sum()
    (gradient,) = torch.autograd.grad(initial, logits)
    with torch.no_grad():
        updated = loss(logits - 1e-3 * gradient / gradient.norm(), mask.double(), density).sum()
    assert updated < initial


@pytest.mark.parametrize("name", options("loss"))
def test_autocast_does_not_change_the_value(name: str, batch: Batch) -> None:
    loss = build("loss", name)
    logits, mask, density = batch
    with torch.autocast("cpu", torch.bfloat16):
        float32_input = loss(logits, mask, density)
        bfloat16_input = loss(logits.bfloat16(), mask, density)
    torch.testing.assert_close(float32_input, loss(logits, mask, density))
    assert bfloat16_input.dtype == torch.float32
    torch.testing.assert_close(bfloat16_input, loss(logits.bfloat16().float(), mask, density))


@pytest.fixture
def empty_band_cache() -> Iterator[None]:
    """Clear the cache of band matrices before and after the test."""
    cached_band_matrix.cache_clear()
    yield
    cached_band_matrix.cache_clear()


@pytest.mark.usefixtures("empty_band_cache")
@pytest.mark.parametrize("name", options("loss"))
def test_forward_and_backward_do_not_synchronise_the_device(name: str, batch: Batch) -> None:
    # Fake tensors have no values, so reading a value or branching on one raises.
    loss = build("loss", name)
    if any(isinstance(term, PerSample) for term in loss.terms.values()):
        pytest.skip("losses of other libraries may read values, as MONAI does for input checks")
    if loss.priority is not None:
        loss.fit(torch.linspace(0.001, 0.1, 50))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        logits, mask, density = (mode.from_tensor(value) for value in batch)
        value = loss(logits.requires_grad_(), mask, density)
        value.sum().backward()
    assert logits.grad is not None
    assert value.shape == (4,)


def build_fitted(name: str) -> Criterion:
    loss: Criterion = build("loss", name)
    loss.fit(torch.linspace(0.001, 0.1, 50))
    return loss


@pytest.mark.parametrize("name", options("loss"))
@settings(max_examples=5)
@given(st.integers(0, 2**31), st.floats(-6, 6), st.floats(0.1, 4))
def test_without_a_mass_lower_probabilities_have_a_lower_loss(name: str, seed: int, mean: float, scale: float) -> None:
    """For an empty mask: finite, minimal for an empty prediction, and decreasing as all probabilities decrease."""
    loss, empty = build_fitted(name), torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    noise = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits = (mean + scale * noise).requires_grad_()
    density = torch.tensor([seed % 4])
    value = loss(logits, empty, density)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert value > loss(torch.full_like(empty, -40), empty, density)
    # d/dt of p (1 - t) corresponds to -1 / (1 - p) for the logits.
    assert -(gradient / (1 - torch.sigmoid(logits))).sum() < 0


@pytest.mark.parametrize("name", options("loss"))
@pytest.mark.parametrize("logit", [-6.0, 0.0, 3.0])
def test_without_a_mass_each_logit_of_a_uniform_prediction_is_lowered(name: str, logit: float) -> None:
    loss, empty = build_fitted(name), torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    logits = torch.full_like(empty, logit, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(logits, empty, torch.tensor([2])).sum(), logits)
    assert (gradient > 0).all()
