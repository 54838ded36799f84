"""joint_covariance compared with neighbourhoods from im2col (torch.nn.functional.unfold)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.losses.joint_covariance import covariance_by_im2col, covariance_by_rows, joint_covariance


def covariance_by_unfold(prob: Tensor, mask: Tensor, radius: int) -> Tensor:
    points = torch.cat([functional.unfold(maps[:, None], radius) for maps in (prob, mask)], dim=1)
    points = points - points.mean(dim=2, keepdim=True)
    return points @ points.mT


@pytest.mark.parametrize("function", [covariance_by_rows, covariance_by_im2col])
@pytest.mark.parametrize("radius", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(5, 5), (7, 20), (33, 18)])
def test_values_and_gradients_equal_unfold(
    function: Callable[[Tensor, Tensor, int], Tensor], radius: int, shape: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    prob = torch.rand(3, *shape, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = (torch.rand(3, *shape, dtype=torch.float64, generator=generator) > 0.7).double()
    covariance, expected = function(prob, mask, radius), covariance_by_unfold(prob, mask, radius)
    torch.testing.assert_close(covariance, expected)
    direction = torch.rand(expected.shape, dtype=torch.float64, generator=generator)  # not symmetric
    torch.testing.assert_close(
        torch.autograd.grad(covariance, prob, direction)[0], torch.autograd.grad(expected, prob, direction)[0]
    )


def test_float32_maps_are_summed_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    prob, mask = torch.rand(1, 300, 300, generator=generator), torch.zeros(1, 300, 300)
    covariance, expected = joint_covariance(prob, mask, 3), covariance_by_unfold(prob.double(), mask.double(), 3)
    assert covariance.dtype == torch.float64
    torch.testing.assert_close(covariance, expected, rtol=1e-10, atol=1e-10)
