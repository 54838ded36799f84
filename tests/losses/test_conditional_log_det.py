"""half_conditional_log_det compared with the log-determinant of the Schur complement."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mammoseg.losses.conditional_log_det import half_conditional_log_det


def joint_covariances(n: int) -> Tensor:
    """Positive definite matrices of shape (3, 2 n, 2 n)."""
    factor = torch.randn(3, 2 * n, 3 * n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    return factor @ factor.mT


def log_det_of_schur_complement(joint: Tensor, ridge: float) -> Tensor:
    n = joint.shape[1] // 2
    joint = joint + ridge * torch.eye(2 * n, dtype=joint.dtype)
    (pp, py), (yp, yy) = ((rows[..., :n], rows[..., n:]) for rows in (joint[:, :n], joint[:, n:]))
    log_det: Tensor = torch.linalg.slogdet(yy - yp @ torch.linalg.inv(pp) @ py).logabsdet
    return log_det / 2


@pytest.mark.parametrize("n", [1, 2, 9])
def test_values_and_gradients_equal_those_of_the_schur_complement(n: int) -> None:
    joint = joint_covariances(n).requires_grad_()
    value, expected = half_conditional_log_det(joint, 5e-4, 0.0), log_det_of_schur_complement(joint, 5e-4)
    torch.testing.assert_close(value, expected)
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    gradient, expected_gradient = (torch.autograd.grad(term, joint, weight)[0] for term in (value, expected))
    torch.testing.assert_close(gradient, expected_gradient)


def test_gradients_include_the_constant_inside_the_logarithm() -> None:
    def of_symmetric_part(matrix: Tensor) -> Tensor:
        return half_conditional_log_det((matrix + matrix.mT) / 2, ridge=0.1, log_eps=0.5)

    assert torch.autograd.gradcheck(of_symmetric_part, joint_covariances(3).requires_grad_())
