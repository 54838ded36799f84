"""Contract of every loss in conf/loss."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from choices import build, options
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mammoseg.losses import PerSample
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
