"""Contract of every loss and network in conf/ on the accelerator: values, gradients, bfloat16, synchronisation.

On a machine without a GPU, the tests run on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from accelerator import DEVICE
from choices import build, options
from torch import Tensor, nn

from mammoseg.losses import BCE, Criterion, DensityASP, PerSample
from mammoseg.models.deep_supervision import deep_supervision_terms, list_outputs

Batch = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(autouse=True)
def full_float32_precision() -> Iterator[None]:
    """Disable TF32, so that float32 on the accelerator can be compared with float64."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def batch() -> Batch:
    """Logits (4, 1, 64, 48), masks of squares, and one image of each density, on the CPU in float64."""
    logits = torch.randn(4, 1, 64, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.zeros_like(logits)
    for sample, side in enumerate((4, 9, 20, 30)):
        mask[sample, :, 5 : 5 + side, 8 : 8 + side] = 1
    return logits, mask, torch.arange(4)


def on_device(values: Batch, dtype: torch.dtype = torch.float32) -> Batch:
    logits, mask, density = values
    return logits.to(DEVICE, dtype), mask.to(DEVICE, torch.float32), density.to(DEVICE)


def loss_of(name: str) -> Criterion:
    """Build a loss of conf/loss, fitted to masses of all sizes if it requires it."""
    loss: Criterion = build("loss", name)
    if loss.priority is not None:
        loss.fit(torch.linspace(0.001, 0.3, 50))
    return loss


def value_and_gradient(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor], logits: Tensor, mask: Tensor, density: Tensor
) -> tuple[Tensor, Tensor]:
    logits = logits.detach().requires_grad_()
    value = loss(logits, mask, density)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    return value.detach().double().cpu(), gradient.double().cpu()


@pytest.mark.parametrize("name", options("loss"))
def test_values_and_gradients_in_float32_equal_those_in_float64_on_the_cpu(name: str) -> None:
    expected_value, expected_gradient = value_and_gradient(loss_of(name).double(), *batch())
    value, gradient = value_and_gradient(loss_of(name).to(DEVICE), *on_device(batch()))
    torch.testing.assert_close(value, expected_value, rtol=1e-4, atol=1e-5)
    assert (gradient - expected_gradient).norm() <= 1e-3 * expected_gradient.norm()


@pytest.mark.parametrize("name", options("loss"))
def test_autocast_does_not_change_the_value(name: str) -> None:
    loss = loss_of(name).to(DEVICE)
    logits, mask, density = on_device(batch(), torch.bfloat16)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        value = loss(logits, mask, density)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.float(), mask, density))


@pytest.mark.parametrize("mask_value", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-50.0, 50.0])
@pytest.mark.parametrize("name", options("loss"))
def test_gradients_are_finite_for_extreme_logits(name: str, logit: float, mask_value: float) -> None:
    shape = (2, 1, 64, 64)
    densities = torch.tensor([0, 3], device=DEVICE)
    logits, mask = (torch.full(shape, value, device=DEVICE) for value in (logit, mask_value))
    value, gradient = value_and_gradient(loss_of(name).to(DEVICE), logits, mask, densities)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@contextmanager
def synchronisation_raises() -> Iterator[None]:
    """Raise an error if an operation waits for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(DEVICE.type != "cuda", reason="requires a GPU; fake tensors are used on a CPU, see test_losses.py")
@pytest.mark.parametrize("name", options("loss"))
def test_forward_and_backward_do_not_synchronise_the_gpu(name: str) -> None:
    loss = loss_of(name).to(DEVICE)
    if any(isinstance(term, PerSample) for term in loss.terms.values()):
        pytest.skip("losses of other libraries may read values, as MONAI does for input checks")
    logits, mask, density = on_device(batch())
    loss(logits.requires_grad_(), mask, density).sum().backward()  # copies constants to the device
    with synchronisation_raises():
        loss(logits, mask, density).sum().backward()


@pytest.mark.skipif(DEVICE.type != "cuda", reason="compilation for a CPU takes minutes; see losses/test_fast_paths.py")
def test_compiled_criterion_equals_the_eager_one() -> None:
    criterion = DensityASP((0.5, 0.5, 0.85, 0.95)).to(DEVICE)
    value, gradient = value_and_gradient(torch.compile(criterion, fullgraph=True), *on_device(batch()))
    expected_value, expected_gradient = value_and_gradient(criterion, *on_device(batch()))
    torch.testing.assert_close(value, expected_value, rtol=1e-4, atol=1e-5)
    assert (gradient - expected_gradient).norm() <= 1e-3 * expected_gradient.norm()


def network(name: str, width: int) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = build("model", name, f"width={width}")
    return net


@pytest.mark.parametrize("name", options("model"))
def test_logits_in_float32_equal_those_in_float64_on_the_cpu(name: str) -> None:
    image = torch.randn(2, 1, 64, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        expected = network(name, 2).double().eval()(image)
        net = network(name, 2).to(DEVICE, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        logits = net(image.to(DEVICE, torch.float32))
    torch.testing.assert_close(logits.double().cpu(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", options("model"))
def test_optimizer_steps_decrease_the_loss(name: str, precision: torch.dtype) -> None:
    net = network(name, 4).to(DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    image = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    mask, density = (image > 1).float(), torch.zeros(4, dtype=torch.int64, device=DEVICE)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision is torch.bfloat16):
            logits = list_outputs(net(image), image)
        terms = deep_supervision_terms(Criterion({"bce": BCE()}), [out.float() for out in logits], mask, density)
        value = terms["bce"].mean()
        value.backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
        losses.append(value.item())
    assert min(losses[-2:]) < losses[0]
