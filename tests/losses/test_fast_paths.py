"""Optimised terms compared with the plain ones of reference.py.

Values and gradients, in float32, under autocast, and compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import reference
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mammoseg.losses import BCE, RMI, SSIM, DensityASP, Dice, gaussian_filter, joint_covariance
from mammoseg.losses.term import Term

Loss = Callable[[Tensor, Tensor], Tensor]
THETA = (0.5, 0.5, 0.85, 0.95)
CONFIDENCES = (0.0, 3.0, 12.0, 16.0)  # added to the logits: from random to nearly perfect predictions

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


def inputs(confidence: float) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, masks of discs, the last of them empty, and densities."""
    logits = torch.randn(4, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    distance = (y - 43) ** 2 + (x - 38) ** 2
    mask = torch.stack([distance < radius**2 for radius in (3, 7, 10, 0)])[:, None].float()
    return (logits + confidence * (mask - 0.5)).requires_grad_(), mask, torch.arange(4)


def assert_same_loss(actual: Tensor, expected: Tensor, logits: Tensor) -> None:
    """Values agree to 1e-5, gradients to 1e-4."""
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=1e-5, atol=1e-6)
    fast, slow = (torch.autograd.grad(value.sum(), logits)[0] for value in (actual, expected))
    assert (fast - slow).norm() < 1e-4 * slow.norm()


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize(("fast", "slow"), PAIRS, ids=NAMES)
def test_float32_terms_equal_the_reference(fast: Term, slow: Loss, confidence: float) -> None:
    logits, mask, _ = inputs(confidence)
    assert_same_loss(fast(logits, mask), slow(logits.double(), mask.double()), logits)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize(("fast", "slow"), PAIRS, ids=NAMES)
def test_terms_of_bfloat16_logits_under_autocast_equal_the_reference(fast: Term, slow: Loss, confidence: float) -> None:
    logits, mask, _ = inputs(confidence)
    rounded = logits.detach().bfloat16().float().requires_grad_()  # representable in bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        actual = fast(rounded.bfloat16(), mask)
        expected = slow(rounded.double(), mask.double())
    torch.testing.assert_close(actual, expected.float(), rtol=1e-5, atol=1e-6)
    actual_grad, expected_grad = (torch.autograd.grad(value.sum(), rounded)[0] for value in (actual, expected))
    assert (actual_grad - expected_grad).norm() < 4e-3 * expected_grad.norm(), "gradient is rounded to bfloat16"


@pytest.mark.parametrize("pool", ["max", "avg", None])
def test_rmi_of_nearly_perfect_predictions_equals_the_reference(pool: str | None) -> None:
    logits, mask, _ = inputs(40.0)
    assert_same_loss(RMI(pool=pool)(logits, mask), reference.rmi(logits, mask, pool=pool), logits)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("pool", ["max", None])
def test_density_asp_equals_the_reference(pool: str | None, confidence: float) -> None:
    logits, mask, density = inputs(confidence)
    criterion = DensityASP(THETA, rmi=RMI(pool=pool))
    expected = reference.density_asp(logits.double(), mask.double(), density, THETA, pool=pool)
    assert_same_loss(criterion(logits, mask, density), expected, logits)


@pytest.fixture
def gpu_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the operations for a GPU on the CPU, in float64 instead of float32."""
    monkeypatch.setattr(gaussian_filter, "tiled_filter", gaussian_filter.untiled_filter)
    monkeypatch.setattr(joint_covariance, "covariance_by_rows", joint_covariance.covariance_by_im2col)


@pytest.mark.usefixtures("gpu_operations")
@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("pool", ["max", None])
def test_operations_for_a_gpu_equal_the_reference(pool: str | None, confidence: float) -> None:
    logits, mask, density = inputs(confidence)
    value = DensityASP(THETA, rmi=RMI(pool=pool))(logits.double(), mask.double(), density)
    assert_same_loss(value, reference.density_asp(logits.double(), mask.double(), density, THETA, pool=pool), logits)


class CountOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch
    """Counts the operations that compute something: not views, allocations or queries of data types."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch
        self.n_operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        is_view = any(value.alias_info is not None and not value.alias_info.is_write for value in func._schema.returns)
        self.n_operations += isinstance(result, Tensor) and not is_view and "empty" not in str(func)
        return result


@pytest.mark.usefixtures("gpu_operations")
def test_a_gpu_launches_few_operations() -> None:
    """On a fast GPU, launching the operations takes longer than running them."""
    logits, mask, density = inputs(0.0)
    criterion = DensityASP(THETA)
    criterion(logits, mask, density)  # caches the band matrices
    with CountOperations() as counted, torch.autograd.set_multithreading_enabled(False):
        criterion(logits, mask, density).sum().backward()
    assert counted.n_operations <= 125


@pytest.mark.parametrize("term", [SSIM(window_size=5), SSIM(padding="valid"), RMI(pool=None), RMI(radius=2)], ids=str)
def test_analytic_gradients_pass_gradcheck(term: Term) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 1, 16, 20, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = (torch.rand(2, 1, 16, 20, dtype=torch.float64, generator=generator) > 0.6).double()
    assert torch.autograd.gradcheck(lambda values: term(values, mask), logits)


# The object is created by torch's compiler.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("pool", ["max", None])
def test_density_asp_compiles_without_graph_breaks(pool: str | None) -> None:
    assert_compiles(DensityASP(THETA, rmi=RMI(pool=pool)))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.usefixtures("gpu_operations")
def test_operations_for_a_gpu_compile_without_graph_breaks() -> None:
    assert_compiles(DensityASP(THETA))


def assert_compiles(criterion: DensityASP) -> None:
    """The compiled criterion is a single graph with the same values and gradients."""
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    logits, mask, density = inputs(3.0)
    assert_same_loss(compiled(logits, mask, density), criterion(logits, mask, density), logits)
