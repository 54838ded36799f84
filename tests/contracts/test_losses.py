"""What every loss in conf/loss must keep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from choices import build, options
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mammoseg.losses import PerSample
from mammoseg.losses.blur import kept_band

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
def test_one_value_per_sample_that_does_not_see_its_neighbours(name: str, batch: Batch) -> None:
    loss = build("loss", name)
    together = loss(*batch)
    assert together.shape == (4,)
    alone = torch.cat([loss(*(v[i : i + 1] for v in batch)) for i in range(4)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", options("loss"))
def test_parts_sum_to_the_loss(name: str, batch: Batch) -> None:
    loss = build("loss", name)
    torch.testing.assert_close(torch.stack(list(loss.parts(*batch).values())).sum(dim=0), loss(*batch))


@pytest.mark.parametrize("name", options("loss"))
@pytest.mark.parametrize("mask_value", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
def test_gradients_stay_finite_at_the_extremes(name: str, mask_value: float, logit: float) -> None:
    loss = build("loss", name)
    logits = torch.full((2, 1, 64, 64), logit, requires_grad=True)
    value = loss(logits, torch.full((2, 1, 64, 64), mask_value), torch.tensor([0, 3]))
    value.sum().backward()
    assert value.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", options("loss"))
def test_a_step_down_the_gradient_lowers_the_loss(name: str, batch: Batch) -> None:
    loss = build("loss", name)
    logits, mask, density = batch
    logits = logits.double().requires_grad_()
    before = loss(logits, mask.double(), density).sum()
    (gradient,) = torch.autograd.grad(before, logits)
    with torch.no_grad():
        after = loss(logits - 1e-3 * gradient / gradient.norm(), mask.double(), density).sum()
    assert after < before


@pytest.mark.parametrize("name", options("loss"))
def test_autocast_changes_nothing_but_the_rounding_of_its_input(name: str, batch: Batch) -> None:
    loss = build("loss", name)
    logits, mask, density = batch
    with torch.autocast("cpu", torch.bfloat16):
        under = loss(logits, mask, density)
        of_half = loss(logits.bfloat16(), mask, density)
    torch.testing.assert_close(under, loss(logits, mask, density))
    assert of_half.dtype == torch.float32
    torch.testing.assert_close(of_half, loss(logits.bfloat16().float(), mask, density))


@pytest.fixture
def no_bands() -> Iterator[None]:
    """No band is kept from before the test or for after it."""
    kept_band.cache_clear()
    yield
    kept_band.cache_clear()


@pytest.mark.usefixtures("no_bands")
@pytest.mark.parametrize("name", options("loss"))
def test_nothing_waits_for_the_device(name: str, batch: Batch) -> None:
    # Fake tensors have no values: whoever asks for one, or decides by one, fails.
    loss = build("loss", name)
    if any(isinstance(term, PerSample) for term in loss.terms.values()):
        pytest.skip("another library's loss may look at values, as MONAI's do to check them")
    if loss.priority is not None:
        loss.fit(torch.linspace(0.001, 0.1, 50))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        logits, mask, density = (mode.from_tensor(value) for value in batch)
        value = loss(logits.requires_grad_(), mask, density)
        value.sum().backward()
    assert logits.grad is not None
    assert value.shape == (4,)
