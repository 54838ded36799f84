"""Covariances by lines and windows against neighbourhoods that are written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.losses.neighbours import joint_covariance


def written_out(prob: Tensor, mask: Tensor, radius: int) -> Tensor:
    points = torch.cat([functional.unfold(maps[:, None], radius) for maps in (prob, mask)], dim=1)
    points = points - points.mean(dim=2, keepdim=True)
    return points @ points.mT


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(5, 5), (7, 20), (33, 18)])
def test_values_and_gradients(radius: int, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    prob = torch.rand(3, *shape, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = (torch.rand(3, *shape, dtype=torch.float64, generator=generator) > 0.7).double()
    found, wanted = joint_covariance(prob, mask, radius), written_out(prob, mask, radius)
    torch.testing.assert_close(found, wanted)
    direction = torch.rand(wanted.shape, dtype=torch.float64, generator=generator)  # not a symmetric one
    torch.testing.assert_close(
        torch.autograd.grad(found, prob, direction)[0], torch.autograd.grad(wanted, prob, direction)[0]
    )


def test_single_precision_maps_are_summed_in_double() -> None:
    generator = torch.Generator().manual_seed(0)
    prob, mask = torch.rand(1, 300, 300, generator=generator), torch.zeros(1, 300, 300)
    found, exact = joint_covariance(prob, mask, 3), written_out(prob.double(), mask.double(), 3)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-10)
